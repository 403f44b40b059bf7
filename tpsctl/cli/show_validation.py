"""Shows what a later validation of a run found."""

from typing import Any

from tpsctl.cli.show_run import number, protocol, remedies, tops_cells
from tpsctl.console import print_table

_OUTCOMES = {
    "complete": "complete",
    "not_saddle": "NOT A SADDLE: the top of a path is no saddle of this force field, see the column on tops",
    "not_valid": "NOT VALID: a path fails the gate or has an unknown energy, see the gate column and images.csv",
}


def show(manifest: dict[str, Any]) -> None:
    """Print one line per path, what it was judged with, and the outcome."""
    kinds = [kind for kind in ("raw", "minimized") if kind in manifest["paths"][0]]
    judged = list(manifest["paths"][0]["tops"])
    columns = ["path", "gate", *(f"{kind}\n{way}" for kind in kinds for way in ("A->B", "B->A"))]
    columns += [f"top on the\n{name.replace('_', ' ')}" for name in judged]
    rows = []
    for entry in manifest["paths"]:
        barriers = [entry[kind][f"barrier_{way}_kj_per_mol"] for kind in kinds for way in ("forward", "backward")]
        gate = entry["gate"].partition(" ")[0].rstrip(":")
        rows.append([str(entry["path"]), gate, *(number(b, ".1f") for b in barriers), *tops_cells(entry, judged)])
    notes = [
        f"energies: {protocol(manifest['energies'])}",
        *remedies(manifest["paths"]),
        *(f"note: {note}" for note in manifest["notes"]),
        f"outcome: {_OUTCOMES[manifest['outcome']]} ({manifest['seconds']:.1f} s)",
        f"files: {manifest['directory']}",
    ]
    print_table(f"{manifest['run']['name']} on {manifest['name']}: barriers in kJ/mol", columns, rows, notes=notes)
