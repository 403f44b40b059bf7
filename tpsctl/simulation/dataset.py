"""A data set of configurations with physical forces, and the known bias they were sampled under.

Frames of one trajectory are correlated, so a data set is split by trajectory. Frames sampled under a
bias V stand for the unbiased ensemble with weights proportional to exp(+V/kT); how many independent
unbiased frames that is worth (before correlation in time) is Kish's effective sample size
(sum w)^2 / sum w^2.

On disk it is one .npz archive of plain arrays (no pickled objects); `metadata` is a JSON text.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.files import atomic
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.simulation.bias import BiasGrid
from tpsctl.simulation.parallel_bias import Bias, ParallelBias
from tpsctl.units import thermal_energy

FORMAT_VERSION, PARALLEL_FORMAT_VERSION = 1, 2
"""Format of data sets, and of those whose bias has several grids, which earlier versions must not read without it."""

_ARRAYS = ("positions", "forces", "energies", "bias_energies", "trajectories", "times_ps")


@dataclass(frozen=True)
class Dataset:
    """Frames of one molecule at one temperature.

    Attributes:
        topology: The molecule.
        temperature_k: Temperature of the simulation, K.
        positions: nm.
        forces: Physical forces, without bias, kJ/mol/nm.
        energies: Physical potential energies, kJ/mol.
        bias_energies: V of each frame, kJ/mol; zeros without a bias.
        trajectories: Number of the trajectory that each frame belongs to.
        times_ps: Time within the trajectory, ps.
        bias: The bias as a function, or None.
        settings: How the data were made; JSON-compatible.
    """

    topology: Topology
    temperature_k: float
    positions: Float[Tensor, "frame atom 3"]
    forces: Float[Tensor, "frame atom 3"]
    energies: Float[Tensor, " frame"]
    bias_energies: Float[Tensor, " frame"]
    trajectories: Int[Tensor, " frame"]
    times_ps: Float[Tensor, " frame"]
    bias: Bias | None
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        expected = (len(self), self.topology.n_atoms, 3)
        for name in ("positions", "forces"):
            found = tuple(getattr(self, name).shape)
            if found != expected:
                raise DataError(f"data set: {name} have shape {found}, expected {expected} (frame, atom, 3).")
        for name in _ARRAYS[2:]:
            if getattr(self, name).shape != (len(self),):
                raise DataError(
                    f"data set: {name} have shape {tuple(getattr(self, name).shape)}, expected {expected[:1]}."
                )
        for name in _ARRAYS:
            if not torch.isfinite(getattr(self, name)).all():
                raise DataError(f"data set: {name} contain non-finite values.")

    def __len__(self) -> int:
        return self.positions.shape[0]

    def weights(self) -> Float[Tensor, " frame"]:
        """Weights of the frames in the unbiased ensemble, proportional to exp(+V/kT), sum 1."""
        return torch.softmax(self.bias_energies.double() / thermal_energy(self.temperature_k), 0)

    def effective_size(self) -> float:
        """Kish's effective number of independent unbiased frames; correlation in time is not taken into account."""
        return float(1 / self.weights().square().sum())

    def take(self, frames: Tensor) -> "Dataset":
        """The data set with only these frames, given by their indices or by a mask."""
        arrays = {name: getattr(self, name)[frames] for name in _ARRAYS}
        return Dataset(self.topology, self.temperature_k, bias=self.bias, settings=self.settings, **arrays)

    def split(self, held_out: int, *, seed: int) -> tuple["Dataset", "Dataset"]:
        """Split into training and held-out data; `seed` chooses the `held_out` whole trajectories that are held out.

        Raises:
            DataError: `held_out` is not between 1 and the number of trajectories minus 1.
        """
        numbers = self.trajectories.unique()
        if not 0 < held_out < len(numbers):
            raise DataError(
                f"data set: cannot hold out {held_out} of {len(numbers)} trajectories; "
                "simulate more trajectories, or hold out fewer (at least 1 must stay on each side)."
            )
        order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
        mask = torch.isin(self.trajectories, numbers[order[:held_out]])
        return self.take(~mask), self.take(mask)

    def save(self, path: str | Path) -> None:
        """Write the data set to an .npz file; the file appears only when it is complete."""
        arrays = {name: getattr(self, name).numpy() for name in _ARRAYS}
        parallel = isinstance(self.bias, ParallelBias)
        for suffix, grid in () if self.bias is None else zip(_suffixes(self.bias), self.bias.grids, strict=True):
            arrays |= {f"bias_grid{suffix}": grid.values, f"bias_dihedrals{suffix}": np.array(grid.dihedrals)}
        metadata = {
            "format": PARALLEL_FORMAT_VERSION if parallel else FORMAT_VERSION,
            "temperature_k": self.temperature_k,
            "atoms": [vars(atom) for atom in self.topology.atoms],
            "bonds": self.topology.bonds,
            "units": {"length": "nm", "energy": "kJ/mol", "force": "kJ/mol/nm", "time": "ps", "angle": "rad"},
            "settings": self.settings,
        }
        write_arrays(Path(path), arrays | {"metadata": np.array(json.dumps(metadata))})

    @classmethod
    def load(cls, path: str | Path) -> "Dataset":
        """Read a data set that `save` wrote.

        Raises:
            DataError: The file is missing or damaged, or it is no tpsctl data set.
        """
        arrays = read_arrays(Path(path))
        try:
            metadata = json.loads(str(arrays["metadata"]))
            if metadata["format"] not in (FORMAT_VERSION, PARALLEL_FORMAT_VERSION):
                raise DataError(
                    f"{path}: data set format {metadata['format']}, this tpsctl reads {FORMAT_VERSION} and "
                    f"{PARALLEL_FORMAT_VERSION}."
                )
            topology = Topology(
                tuple(Atom(**atom) for atom in metadata["atoms"]), tuple((i, j) for i, j in metadata["bonds"])
            )
            tensors = {name: torch.from_numpy(arrays[name]) for name in _ARRAYS}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no tpsctl data set ({type(error).__name__}: {error}).") from error
        bias = _bias(arrays, metadata["temperature_k"])
        return cls(topology, metadata["temperature_k"], bias=bias, settings=metadata["settings"], **tensors)


def _suffixes(bias: Bias) -> list[str]:
    """Suffixes of the names of the arrays of a bias's grids; a single grid has none."""
    return [f"_{n}" for n in range(len(bias.grids))] if isinstance(bias, ParallelBias) else [""]


def _bias(arrays: dict[str, np.ndarray], temperature_k: float) -> Bias | None:
    suffixes = [name.removeprefix("bias_grid") for name in arrays if name.startswith("bias_grid")]
    grids = []
    for suffix in sorted(suffixes, key=lambda s: int(s.removeprefix("_") or 0)):
        dihedrals = tuple((int(i), int(j), int(k), int(m)) for i, j, k, m in arrays[f"bias_dihedrals{suffix}"])
        grids.append(BiasGrid(arrays[f"bias_grid{suffix}"], dihedrals))
    if len(grids) < 2:
        return grids[0] if grids else None
    return ParallelBias(tuple(grids), temperature_k)


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz file atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such data file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:
        raise DataError(f"{path}: damaged, or no .npz archive ({error}).") from error
