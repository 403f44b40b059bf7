"""Shows the result of a guided run: a table for people, or a short JSON object for scripts."""

from typing import Any

from tpsctl.console import print_table

_ANSWER = (
    *("outcome", "directory", "samples", "excess_work_nats", "excess_work_error_nats", "effective_size_unguided"),
    *("entropy_loss_nats", "observables", "criterion", "success", "collapse", "bandwidth", "coordinate", "numbers"),
)
_WORDS = {
    "complete": "complete",
    "not_achieved": "NOT ACHIEVED: the files are there; a guided average misses its target by more than its error. "
    "Tune the strength (guide.tune), raise sampling.steps, or draw more samples",
    "no_success": "NO SUCCESS: the files are there; no guided sample is wanted. Use a stronger guide "
    "(guide.strength), tune it (guide.tune), or give guides that are wanted themselves",
    "collapsed": "COLLAPSED: the files are there; the samples are copies of the guides. Use a larger "
    "guide.bandwidth.floor, or a smaller strength",
}


def as_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """The answer of `tpsctl guide --json`; for a shard, all its facts."""
    if "shard" in manifest:
        return manifest
    return {name: manifest[name] for name in _ANSWER if name in manifest}


def show(manifest: dict[str, Any]) -> None:
    """Print the summary of a finished run, or the result of one shard."""
    if "shard" in manifest:
        note, name = f"finish with: tpsctl gather {manifest['directory']}", manifest["shard"]
        print_table(f"shard {name}", ["shard", "outcome"], [[name, manifest["outcome"]]], notes=[note])
        return
    if "observables" in manifest:
        _show_observables(manifest)
    else:
        _show_success(manifest)


def _show_observables(manifest: dict[str, Any]) -> None:
    names = list(manifest["observables"][0]["averages"])
    rows = [_observable_row(entry, names) for entry in manifest["observables"]]
    columns = ["observable", "role", "target", *names, "achieved"]
    entropy, share = manifest["entropy_loss_nats"], manifest["effective_size_reweighting"]
    notes = [
        *_work_notes(manifest),
        f"entropy loss of the nearest ensemble: {entropy:.3g} nats; plain reweighting keeps {share:.0%} of the samples",
    ]
    print_table(f"{manifest['name']}: averages", columns, rows, notes=[*notes, *_last_notes(manifest)])


def _observable_row(entry: dict[str, Any], names: list[str]) -> list[str]:
    label = f"{entry['observable']} ({entry['unit']})" if entry["unit"] else entry["observable"]
    averages = [f"{entry['averages'][n]['value']:.3f} ± {entry['averages'][n]['error']:.3f}" for n in names]
    target = "-" if entry["target"] is None else f"{entry['target']:g}"
    if entry["target"] is not None and entry["target_error"] is not None:
        target += f" ± {entry['target_error']:g}"
    achieved = {None: "-", True: "yes", False: "no"}[entry["achieved"]]
    if entry["held_out"]:
        achieved = {None: "-", True: "nearer", False: "not nearer"}[entry["better_than_unguided"]]
    return [label, "held out" if entry["held_out"] else "fitted", target, *averages, achieved]


def _show_success(manifest: dict[str, Any]) -> None:
    rows = [
        [name, f"{entry['fraction']:.3f}", f"{entry['low']:.3f} to {entry['high']:.3f}", f"{entry['work_nats']:.2f}"]
        for name, entry in manifest["success"].items()
    ]
    columns = ["samples", "success", "95 % interval", "excess work\n(nats)"]
    notes = [f"success: {manifest['criterion']}", *_work_notes(manifest), manifest["collapse"]["words"]]
    if "bandwidth" in manifest:
        notes.append(manifest["bandwidth"]["words"])
    if "coordinate" in manifest:
        notes.append(manifest["coordinate"]["words"])
    print_table(f"{manifest['name']}: success", columns, rows, notes=[*notes, *_last_notes(manifest)])


def _work_notes(manifest: dict[str, Any]) -> list[str]:
    work, error = manifest["excess_work_nats"], manifest["excess_work_error_nats"]
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in manifest["numbers"].items())
    return [
        f"excess work: {work:.3g} ± {error:.2g} nats; effective share of the unguided ensemble: "
        f"{manifest['effective_size_unguided']:.1%}",
        f"schedule{' (tuned)' if manifest['tuned'] else ''}: {numbers}",
    ]


def _last_notes(manifest: dict[str, Any]) -> list[str]:
    return [f"outcome: {_WORDS[manifest['outcome']]}", f"files: {manifest['directory']}"]
