"""Shows what the rounds of `tpsctl refine` found: a table for people, or a short JSON object for scripts."""

from typing import Any

from tpsctl.console import print_table

_ANSWER = ("name", "outcome", "directory", "rounds")
_WORDS = {
    "complete": "complete",
    "collapsed": "COLLAPSED: the files are there; the guided samples of the last round are copies of their guides. Use "
    "a larger guide.bandwidth.floor, or a smaller strength",
    "no_success": "NO SUCCESS: the files are there; no guided sample of the last round has a committor in the window. "
    "Use a stronger guide (guide.strength), or tune it (guide.tune)",
    "no_transition_state": "NO TRANSITION STATE: the files are there; fewer than two images of the last round have a "
    "committor of 0.3 to 0.7. Shoot from more images (shots.around, shots.paths)",
}


def as_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """The answer of `tpsctl refine --json`."""
    return {name: manifest[name] for name in _ANSWER if name in manifest}


def show(manifest: dict[str, Any]) -> None:
    """Print a row for every round."""
    columns = [
        "round",
        "paths",
        "barrier\n(kJ/mol)",
        "guides\nof images",
        "success",
        "unguided",
        "work\n(nats)",
        "outcome",
    ]
    notes = [f"outcome: {_WORDS[manifest['outcome']]}", f"files: {manifest['directory']}"]
    print_table(f"{manifest['name']}: rounds", columns, [_row(entry) for entry in manifest["rounds"]], notes=notes)


def _row(entry: dict[str, Any]) -> list[str]:
    barrier = entry["barrier_kj_per_mol"]
    found = [str(entry["round"]), str(entry["paths"]), "-" if barrier is None else f"{barrier:.1f}"]
    found.append(f"{entry['guides']} of {entry['images']}" if "images" in entry else str(entry["guides"]))
    if "success" not in entry:
        return [*found, "-", "-", "-", entry["outcome"]]
    rates = [entry[name]["fraction"] for name in ("success", "unguided_success")]
    return [*found, *(f"{rate:.3f}" for rate in rates), f"{entry['excess_work_nats']:.1f}", entry["outcome"]]
