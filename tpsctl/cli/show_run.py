"""Shows the result of a run: a table for people, or a short JSON object for scripts."""

from typing import Any

from tpsctl.cli import show_shoot
from tpsctl.cli.show_routes import search_notes, show_routes
from tpsctl.console import print_table
from tpsctl.errors import ExitCode


def as_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """The answer of `tpsctl sample --json`: outcome, counts, directory and paths; for a shard, all its facts."""
    if "shard" in manifest:
        return manifest
    committor = {} if "committor" not in manifest else {"committor": show_shoot.as_json(manifest["committor"])}
    names = ("outcome", "directory", "requested", "produced", "valid", "converged", "paths")
    routes = ("routes", "saddles", "search") if "routes" in manifest else ()
    return {name: manifest.get(name) for name in (*names, *routes)} | committor


def exit_code(manifest: dict[str, Any]) -> ExitCode:
    """How a run ended, with its committor if that was asked for."""
    outcomes = {manifest["outcome"], manifest.get("committor", manifest)["outcome"]}
    return ExitCode.COMPLETE if outcomes == {"complete"} else ExitCode.NOT_VALID


def show(manifest: dict[str, Any]) -> None:
    """Print the summary table of a finished run and that of its committor, or the result of one shard."""
    if "shard" in manifest:
        _show_shard(manifest)
        return
    _show_paths(manifest)
    if "committor" in manifest:
        show_shoot.show(manifest["committor"])


def _show_paths(manifest: dict[str, Any]) -> None:
    if "routes" in manifest:
        show_routes(manifest, _notes(manifest))
        return
    kinds = [kind for kind in ("raw", "minimized") if kind in manifest["paths"][0]]
    columns = ["path", "status", "gate", "steps", "action"]
    for kind in kinds:
        columns += [f"{kind}\nA->B", f"{kind}\nB->A"]
    angles = list(manifest["paths"][0]["raw"]["dihedrals_deg"]) if kinds else []
    shown = [name for name in angles if not name.startswith("omega")][:4]
    columns += [f"{name}\nat top" for name in shown] + (["channel"] if shown else [])
    judged = _judged(manifest["paths"][0])
    columns += [f"top on\n{name.replace('_', ' ')}" for name in judged]
    rows = [_row(entry, kinds, shown) + tops_cells(entry, judged) for entry in manifest["paths"]]
    print_table(f"{manifest['name']}: barriers in kJ/mol", columns, rows, notes=_notes(manifest))


def _show_shard(done: dict[str, Any]) -> None:
    missing = done["batches_missing_of_all_shards"]
    left = f"{missing} batches of other shards are missing" if missing else "all batches are there"
    notes = [f"{left}; join them with: tpsctl gather {done['directory']}"]
    rows = [[done["shard"], str(len(done["batches"])), str(done["paths"]), done["outcome"]]]
    print_table(f"shard {done['shard']}", ["shard", "batches", "paths", "outcome"], rows, notes=notes)


def _row(entry: dict[str, Any], kinds: list[str], angles: list[str]) -> list[str]:
    gate = entry["gate"].partition(" ")[0].rstrip(":")
    cells = [str(entry["path"]), entry["status"], gate, str(entry["steps"]), f"{entry['action']['total']:.1f}"]
    for kind in kinds:
        cells += [number(entry[kind][f"barrier_{way}_kj_per_mol"], ".1f") for way in ("forward", "backward")]
    cells += [number(entry["raw"]["dihedrals_deg"][name], ".0f") for name in angles]
    return cells + ([str(entry["channel"])] if angles else [])


def _judged(entry: dict[str, Any]) -> list[str]:
    """The landscapes on which tops were judged; those of equal results, as of a force field that is the prior, once."""
    tops = entry.get("tops", {})
    return [name for k, name in enumerate(tops) if tops[name] not in list(tops.values())[:k]]


def tops_cells(entry: dict[str, Any], names: list[str]) -> list[str]:
    """For each landscape what the top is, and for a saddle its energy above the start."""
    cells = []
    for name in names:
        top = entry["tops"][name]
        saddle = top["saddle"] if top["words"] == "saddle" else None
        cells.append(top["words"] if saddle is None else f"saddle {saddle['energy_kj_per_mol']:.2f}")
    return cells


def number(value: float | None, form: str) -> str:
    """A number for a cell of a table; "-" where it is unknown."""
    return "-" if value is None or value != value else format(value, form)


def _notes(manifest: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{manifest[name]} {name}" for name in ("requested", "produced", "converged", "valid"))
    words = {
        "complete": "complete",
        "not_converged": "NOT CONVERGED: the files are there, "
        + ("the search is not complete" if "routes" in manifest else "the paths are no minima"),
        "not_saddle": "NOT A SADDLE: the files are there, see the columns on tops",
        "not_valid": "NOT VALID: the files are there, see the gate column and images.csv",
    }
    lines = search_notes(manifest) if "routes" in manifest else [f"paths: {counts}"]
    if (energies := manifest["energies"]) is not None:
        lines.append(f"energies: {protocol(energies)}")
    lines += [f"prior: {protocol(forces)}" for forces in manifest["prior_force_fields"]]
    lines += [] if "routes" in manifest else remedies(manifest["paths"])
    lines += [f"note: {note}" for note in manifest["notes"]]
    seconds = manifest["seconds"]["total"]
    outcome = f"outcome: {words[manifest['outcome']]} ({seconds:.1f} s of work)"
    return [*lines, outcome, f"files: {manifest['directory']}"]


def protocol(values: dict[str, Any]) -> str:
    """A force field and how it was evaluated."""
    how = f"{values['solvent'] or 'vacuum'}; {values['platform']} platform, {values['precision']} precision"
    return " + ".join(values["force_field"]) + (f" ({how})" if values["platform"] else "")


def remedies(entries: list[dict[str, Any]]) -> list[str]:
    """Remedies for paths with a fault: one for each kind of fault, with the numbers of its first path."""
    remedies: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        if entry["remedy"]:
            tops = (top["words"] for top in entry.get("tops", {}).values())
            kind = (entry.get("status", ""), entry["gate"].partition(" ")[0], *tops)
            remedies.setdefault(kind, []).append(f"path {entry['path']}: {entry['remedy']}")
    return [texts[0] + (f" (and {len(texts) - 1} more)" if texts[1:] else "") for texts in remedies.values()]
