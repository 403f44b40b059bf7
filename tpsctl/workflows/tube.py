"""The tube of transition paths that `tpsctl shoot --ensemble` left in a run, and the path of the run beside it."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.torsions import named_torsions
from tpsctl.output.figures import TubeCourse
from tpsctl.output.manifest import file_sha256
from tpsctl.simulation.shooting.tube import progress
from tpsctl.workflows.run_refusals import damaged
from tpsctl.workflows.shoot.features import coordinates_of, torsions_of
from tpsctl.workflows.stored_run import StoredRun

MANIFEST, TABLE = "ensemble/manifest.json", "ensemble/tube.csv"

_PATH_KEY = "run: paths/"
"""How the key of the path that shots began at begins, among the inputs of shooting."""


@dataclass(frozen=True)
class StoredTube:
    """An ensemble of transition paths, as it is stored in a run.

    Attributes:
        manifest: What `ensemble/manifest.json` says.
        course: The tube and the path, for a figure.
    """

    manifest: dict[str, Any]
    course: TubeCourse


def stored_tube(run: StoredRun) -> StoredTube | None:
    """The ensemble of a run; None if it has none, or one of other paths than those that are there now.

    Raises:
        RecipeError: A file of the ensemble is damaged.
    """
    manifest = shooting_manifest(run, MANIFEST)
    if manifest is None or not run.has(TABLE):
        return None
    read = run.table(TABLE)
    table = {name: read.numbers(name) for name in read.columns}
    names = [name.removesuffix("_deg").removesuffix("_nm").removesuffix("_mean") for name in table if "_mean_" in name]
    path = run.path(manifest["recipe"]["path"])
    values, angles = _variables(run, manifest["recipe"]["turning_torsions"], path)
    embedded = torch.cat((values.cos(), values.sin()), 1) if angles else values
    unit = "deg" if angles else "nm"
    found = manifest["ensemble"]
    members = found["members"]
    course = TubeCourse(
        names=tuple(manifest["recipe"]["turning_torsions"] or (name.replace("_", " ") for name in names)),
        angles=angles,
        levels=table["progress"],
        mean=np.stack([table[f"{name}_mean_{unit}"] for name in names], 1),
        deviation=np.stack([table[f"{name}_deviation_{unit}"] for name in names], 1),
        path_progress=progress(embedded, embedded[[0, -1]]).numpy(),
        path=(values.rad2deg() if angles else values).numpy(),
        distances={name: table[f"{'_'.join(name.split())}_in_spreads"] for name in found["distances"]},
        members=(members["low"], members["median"], members["high"]),
        accepted=found["accepted"],
    )
    return StoredTube(manifest, course)


def shooting_manifest(run: StoredRun, name: str) -> dict[str, Any] | None:
    """What shooting says of a run; None if it did not shoot, or from a path that was replaced since.

    Raises:
        RecipeError: The manifest is damaged.
    """
    if not run.has(name):
        return None
    file = run.directory / name
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        began_at, entry = next(pair for pair in manifest["inputs"].items() if pair[0].startswith(_PATH_KEY))
        digest = entry["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise damaged(file, str(error) or "names no path") from None
    path = run.directory / began_at.removeprefix("run: ")
    return manifest if path.is_file() and file_sha256(path) == digest else None


def _variables(run: StoredRun, torsions: list[str], path: Tensor) -> tuple[Float[Tensor, "image cv"], bool]:
    """The collective variables of a path, rad or nm, as shooting had them, and whether they are angles."""
    if not torsions:
        return coordinates_of(path)(path), False
    by_name = {torsion.name: torsion for torsion in named_torsions(run.topology)}
    return torsions_of([by_name[name] for name in torsions])(path), True
