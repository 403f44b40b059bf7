"""Weights of the user's frames: from files of weights, or of the energies of a known bias.

Files have one number per frame of their trajectory: NumPy arrays (.npy), or text. Text may be a COLVAR file of PLUMED,
whose line `#! FIELDS time phi metad.bias` names the columns, or have one number per line. Lines that begin with # are
comments. Of a bias V that did not change with time, the weights are exp(V / kT).
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.recipe import train as sections
from tpsctl.units import thermal_energy


def log_weights(
    section: sections.TrajectoryDataSection, frames: tuple[int, ...], stride: int
) -> list[Float[Tensor, " frame"]] | None:
    """Logarithms of the weights of the frames that are kept, by trajectory; None if all are equal.

    Args:
        section: The data of a recipe.
        frames: Number of frames in the file of every trajectory.
        stride: Frames whose number is a multiple of it are kept.

    Raises:
        DataError: A file is missing a value, has others than numbers, or does not fit its trajectory.
    """
    reweighting = section.reweighting
    if isinstance(reweighting, sections.EqualWeightsSection):
        return None
    if len(reweighting.files) != len(section.trajectories):
        raise DataError(
            f"data.reweighting.files: got {len(reweighting.files)} for {len(section.trajectories)} trajectories, "
            "expected one file for each, in the same order."
        )
    column = reweighting.column if isinstance(reweighting, sections.BiasSection) else None
    found = []
    for file, trajectory, count in zip(reweighting.files, section.trajectories, frames, strict=True):
        values = read_numbers(file, column)
        if len(values) != count:
            raise DataError(
                f"{file}: has {len(values)} values, but {trajectory.name} has {count} frames. Give one value per frame "
                "(write both with the same stride)."
            )
        found.append(_logarithms(file, values[::stride], reweighting, section.temperature_k))
    return found


def read_numbers(file: Path, column: str | None = None) -> np.ndarray:
    """One number per frame, float64, from a .npy file or from a column of a text file.

    Raises:
        DataError: The file cannot be read, has no such column, or has values that are not finite numbers.
    """
    try:
        values = np.load(file, allow_pickle=False) if file.suffix == ".npy" else _column(file, column)
        values = np.asarray(values, dtype=np.float64)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise DataError(f"{file}: cannot be read as numbers ({error}).") from error
    if values.ndim != 1 or not len(values):
        raise DataError(f"{file}: has shape {values.shape}, expected one number per frame.")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f"{file}: value {bad[0]} is {values[bad[0]]}, expected a finite number.")
    return values


def _logarithms(
    file: Path, values: np.ndarray, section: sections.WeightsSection | sections.BiasSection, temperature_k: float
) -> Tensor:
    if isinstance(section, sections.BiasSection):
        return torch.from_numpy(values / thermal_energy(temperature_k))
    if values.min() <= 0:
        number = int(values.argmin())
        raise DataError(
            f"{file}: a weight is {values[number]:g}, expected values > 0. Leave out frames without weight."
        )
    return torch.from_numpy(np.log(values))


def _column(file: Path, name: str | None) -> np.ndarray:
    fields = _fields(file)
    table = np.loadtxt(file, comments="#", ndmin=2)
    if name is None:
        if table.shape[1] != 1:
            raise DataError(
                f"{file}: has {table.shape[1]} columns{_named(fields)}. Name the one to take with "
                "data.reweighting.column (kind: bias), or write a file with one number per line."
            )
        return table[:, 0]
    if name not in fields:
        raise DataError(f"{file}: has no column {name}{_named(fields)}.")
    return table[:, fields.index(name)]


def _fields(file: Path) -> list[str]:
    """Names of the columns by the first line `#! FIELDS ...`; none without it."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("#! FIELDS"):
                return line.split()[2:]
            if not line.startswith("#"):
                break
    return []


def _named(fields: list[str]) -> str:
    return f" ({', '.join(fields)})" if fields else ", without names (no line #! FIELDS)"
