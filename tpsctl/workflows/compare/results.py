"""Writes a comparison into a folder of its run: table, JSON and figure, complete or not at all."""

from pathlib import Path
from typing import Any

import torch

from tpsctl.files import whole_folder
from tpsctl.output import figures
from tpsctl.output.manifest import write_json
from tpsctl.output.tables import Column, write_table
from tpsctl.validation.ensemble.measures import MEASURES
from tpsctl.workflows.compare.ensembles import PathEnsemble
from tpsctl.workflows.compare.reference import Reference

JSON, TABLE, FIGURE = "comparison.json", "comparison.csv", "comparison"

REMEDY = "Replace it with --overwrite, or move it away."
"""What to do about an earlier comparison."""


def write_comparison(
    target: Path,
    answer: dict[str, Any],
    ensembles: list[PathEnsemble],
    reference: Reference | None,
    *,
    overwrite: bool,
) -> None:
    """Write all files of a comparison into a new folder, which then takes its place.

    Raises:
        OutputError: There is an earlier comparison, which is not to be replaced, or a file cannot be written.
    """
    with whole_folder(target, overwrite=overwrite, remedy=REMEDY) as folder:
        write_json(folder / JSON, answer)
        write_table(folder / TABLE, columns(answer["ensembles"]))
        _draw(folder / FIGURE, answer, ensembles, reference)


def columns(rows: list[dict[str, Any]]) -> dict[str, Column]:
    """The columns of comparison.csv, one row per ensemble; what an ensemble does not have is nan."""
    found: dict[str, Column] = {
        "ensemble": [row["name"] for row in rows],
        "paths": [str(row["paths"]) for row in rows],
        "valid": _numbers(row.get("valid") for row in rows),
    }
    for kind in rows[0]["highest_above_start"]:
        found[f"highest_energy_{kind}_above_start_kj_per_mol"] = _numbers(
            _within(row, "highest_above_start", kind, "median_kj_per_mol") for row in rows
        )
    for landscape in rows[0]["tops"]:
        for number in ("saddles", "judged"):
            found[f"{number}_{landscape}"] = _numbers(_within(row, "tops", landscape, number) for row in rows)
    for name in MEASURES if "measures" in rows[0] else ():
        for key, ending in (("value", ""), ("low", "_low"), ("high", "_high")):
            found[f"{name}{ending}"] = _numbers(_within(row, "measures", name, key) for row in rows)
    return found


def _within(row: dict[str, Any], *keys: str) -> Any:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _numbers(values: Any) -> torch.Tensor:
    return torch.tensor([float("nan") if value is None else float(value) for value in values], dtype=torch.float64)


def _draw(stem: Path, answer: dict[str, Any], ensembles: list[PathEnsemble], reference: Reference | None) -> None:
    if reference is None:
        above = {
            row["name"]: torch.tensor(next(iter(row["highest_above_start"].values()))["of_paths_kj_per_mol"])
            for row in answer["ensembles"]
            if row["highest_above_start"]
        }
        if above:
            figures.highest_energies(stem, above, title=answer["run"])
        return
    observed, microstates = reference.reader.observables, reference.reader.microstates
    slow = {each.name: [microstates.project(observed.features(path)) for path in each.paths] for each in ensembles}
    panels = {
        name: {row["name"]: tuple(row["measures"][name].values()) for row in answer["ensembles"]} for name in MEASURES
    }
    words = {name: answer["measures"][name]["discriminates"] for name in MEASURES}
    figures.comparison(stem, reference.slow, slow, panels, words, title=answer["run"])
