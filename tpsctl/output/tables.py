"""paths.csv and images.csv: one row per path, one row per image, units in the column names.

Floats are written with all their digits, so that reading them gives the same numbers again; an unknown
value is written as `nan`, a truth value as `true` or `false`. Rows are never left out.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from tpsctl.errors import OutputError
from tpsctl.files import write_text

Column = Sequence[str] | Tensor
"""One value per row: text as it is written, or numbers or truth values."""


class EnergyProfile(Protocol):
    """What the tables need of the energies along a batch of paths, kJ/mol (see `tpsctl.validation.energy.Profile`)."""

    @property
    def energy(self) -> Float[Tensor, "path image"]: ...

    @property
    def above_start(self) -> Float[Tensor, "path image"]: ...

    @property
    def above_end(self) -> Float[Tensor, "path image"]: ...

    @property
    def highest_image(self) -> Int[Tensor, " path"]: ...

    @property
    def barrier_forward(self) -> Float[Tensor, " path"]: ...

    @property
    def barrier_backward(self) -> Float[Tensor, " path"]: ...


class Terms(Protocol):
    """What the tables need of the action terms, dimensionless (see `tpsctl.action.base.ActionTerms`)."""

    @property
    def total(self) -> Float[Tensor, " path"]: ...

    @property
    def kinetic(self) -> Float[Tensor, " path"]: ...

    @property
    def drift(self) -> Float[Tensor, " path"]: ...

    @property
    def cross(self) -> Float[Tensor, " path"]: ...

    @property
    def divergence(self) -> Float[Tensor, " path"]: ...

    @property
    def divergence_error(self) -> Float[Tensor, " path"]: ...


def path_columns(
    *,
    status: Sequence[str],
    terms: Terms,
    steps: Sequence[int],
    gradient_max: Float[Tensor, " path"],
    profiles: Mapping[str, EnergyProfile],
    dihedrals: Mapping[str, Float[Tensor, "path image"]],
    valid: Sequence[str],
    seconds: Float[Tensor, " path"],
) -> dict[str, Column]:
    """The columns of paths.csv by name, one row per path.

    Args:
        status: How the optimization of each path ended.
        terms: Final action terms.
        steps: Optimization steps taken.
        gradient_max: Final max |dS/dx|, 1/nm.
        profiles: Energies by kind, "raw" and, if there are any, "minimized".
        dihedrals: Backbone dihedrals by label ("phi ALA2"), rad; the table has them at the highest image of each
            profile.
        valid: Verdict of the geometry gate on each path: "valid" or its faults.
        seconds: Wall time spent on each path, s.
    """
    columns: dict[str, Column] = {
        "path": [str(i) for i in range(len(status))],
        "status": status,
        "gate": valid,
        "steps": [str(n) for n in steps],
        **{f"action_{name}": getattr(terms, name) for name in ("total", "kinetic", "drift", "cross", "divergence")},
        "action_divergence_error": terms.divergence_error,
        "gradient_max_per_nm": gradient_max,
    }
    columns |= energy_columns(profiles, dihedrals)
    columns["seconds"] = seconds
    return columns


def energy_columns(
    profiles: Mapping[str, EnergyProfile], dihedrals: Mapping[str, Float[Tensor, "path image"]]
) -> dict[str, Column]:
    """The columns of paths.csv about energies: for each kind the highest image, barriers, and dihedrals at the top."""
    columns: dict[str, Column] = {}
    for kind, profile in profiles.items():
        top = profile.highest_image.unsqueeze(1)
        columns[f"highest_image_{kind}"] = profile.highest_image
        columns[f"highest_energy_{kind}_kj_per_mol"] = profile.energy.gather(1, top).squeeze(1)
        columns[f"barrier_forward_{kind}_kj_per_mol"] = profile.barrier_forward
        columns[f"barrier_backward_{kind}_kj_per_mol"] = profile.barrier_backward
        for label, angle in dihedrals.items():
            columns[f"{_identifier(label)}_at_highest_{kind}_deg"] = angle.gather(1, top).squeeze(1).rad2deg()
    return columns


def image_columns(
    *,
    profiles: Mapping[str, EnergyProfile],
    displacement_nm: Float[Tensor, "path image"] | None,
    gap_nm: Float[Tensor, "path gap"],
    dihedrals: Mapping[str, Float[Tensor, "path image"]],
    gate: Mapping[str, Shaped[Tensor, "path image"]],
) -> dict[str, Column]:
    """The columns of images.csv by name, one row per image, path after path.

    Args:
        profiles: Energies by kind, "raw" and, if there are any, "minimized".
        displacement_nm: Root-mean-square displacement of each image by minimization, nm; None if there was none.
        gap_nm: Distance from each image to the next, nm; each path has one gap fewer than images.
        dihedrals: Backbone dihedrals by label ("phi ALA2"), rad.
        gate: Columns of the geometry gate by name, truth values or numbers.
    """
    n_paths, n_images = gap_nm.shape[0], gap_nm.shape[1] + 1
    columns: dict[str, Column] = {
        "path": [str(p) for p in range(n_paths) for _ in range(n_images)],
        "image": [str(i) for _ in range(n_paths) for i in range(n_images)],
    }
    for kind, profile in profiles.items():
        columns[f"energy_{kind}_kj_per_mol"] = profile.energy.flatten()
        columns[f"energy_{kind}_above_start_kj_per_mol"] = profile.above_start.flatten()
        columns[f"energy_{kind}_above_end_kj_per_mol"] = profile.above_end.flatten()
    if displacement_nm is not None:
        columns["displacement_nm"] = displacement_nm.flatten()
    columns["gap_to_next_nm"] = torch.nn.functional.pad(gap_nm, (0, 1), value=math.nan).flatten()
    columns |= {f"{_identifier(label)}_deg": angle.flatten().rad2deg() for label, angle in dihedrals.items()}
    columns |= {name: values.flatten() for name, values in gate.items()}
    return columns


def step_columns(
    steps: Sequence[int], stages: Sequence[str], terms: Mapping[str, Float[Tensor, "step path"]]
) -> dict[str, Column]:
    """The columns of steps.csv by name, one row per path and step, the paths of a step together.

    Args:
        steps: Numbers of the optimizer steps.
        stages: Name of the stage of every step.
        terms: The total action and its terms, dimensionless.
    """
    n_paths = next(iter(terms.values())).shape[1]
    return {
        "step": [str(step) for step in steps for _ in range(n_paths)],
        "stage": [stage for stage in stages for _ in range(n_paths)],
        "path": [str(path) for _ in steps for path in range(n_paths)],
        **{name: values.flatten().double() for name, values in terms.items()},
    }


def write_table(file: Path, columns: Mapping[str, Column]) -> None:
    """Write a CSV file from columns of equal length; the file appears complete or not at all.

    Raises:
        OutputError: The columns differ in length, or the file cannot be written.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise OutputError(f"{file}: columns differ in length: {lengths}.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_cells(values) for values in columns.values()), strict=True))
    write_text(file, text.getvalue())


def _cells(values: Column) -> Iterable[str]:
    if not isinstance(values, Tensor):
        return values
    return (str(v).lower() if isinstance(v, bool) else repr(v) for v in values.detach().cpu().tolist())


def _identifier(label: str) -> str:
    """A label as part of a column name: phi_ala2 for "phi ALA2"."""
    return "_".join(label.lower().split())
