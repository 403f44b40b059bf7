"""Writes a comparison into a folder of its run: table, JSON and figure, complete or not at all."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import OutputError, RecipeError
from tpsctl.output import figures
from tpsctl.output.manifest import write_json
from tpsctl.output.tables import Column, write_table
from tpsctl.validation.ensemble.measures import MEASURES
from tpsctl.workflows.compare.ensembles import PathEnsemble
from tpsctl.workflows.compare.reference import Reference

JSON, TABLE, FIGURE = "comparison.json", "comparison.csv", "comparison"


def require_free(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace an earlier comparison unasked.

    Raises:
        RecipeError: There is one.
    """
    if target.exists() and not overwrite:
        raise RecipeError(f"{target}: holds an earlier comparison. Replace it with --overwrite, or move it away.")


def write_comparison(
    target: Path, answer: dict[str, Any], ensembles: list[PathEnsemble], reference: Reference | None
) -> None:
    """Write all files of a comparison into a new folder, which then takes its place.

    Raises:
        OutputError: A file cannot be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".comparison.", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror}). Choose a run that may be changed."
        ) from None
    try:
        write_json(folder / JSON, answer)
        write_table(folder / TABLE, columns(answer["ensembles"]))
        _draw(folder / FIGURE, answer, ensembles, reference)
        folder.chmod(0o777 & ~_umask())
        if target.exists():
            shutil.rmtree(target)
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
