"""A simulation of a run's molecule as the background of its paths: free energies in the planes that show them.

The simulation is a trajectory with the atoms of the run, or a data set of `tpsctl simulate`, whose frames count with
the weights that undo its bias. Peptides are shown in the planes of phi and psi. Other molecules are shown in the plane
of the two slowest coordinates of the simulation (TICA), of the features that `tpsctl compare` uses.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.streaming import stream_ensemble
from tpsctl.errors import EndpointError, RecipeError, ValidationError
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.output.figures import Background
from tpsctl.units import thermal_energy
from tpsctl.validation.ensemble.markov import require_deeptime, slow_axes
from tpsctl.validation.ensemble.observables import observables_of
from tpsctl.workflows.stored_run import StoredRun

MOST_FRAMES = 200_000
"""Of more frames than these, evenly spread ones are taken."""

SLOW_CELLS = 50
"""Cells of a map along each slow coordinate."""


@dataclass(frozen=True)
class Density:
    """Frames of a simulation of a run's molecule.

    Attributes:
        file: Where they are from.
        trajectories: Positions of every trajectory, nm.
        weights: Weights of the frames of all trajectories in equilibrium, sum 1.
        kT: Thermal energy of the simulation as far as it is known, else that of the run, kJ/mol.
        biased: Whether the simulation ran under a bias, which the weights undo.
    """

    file: Path
    trajectories: tuple[Float[Tensor, "_ bead 3"], ...]
    weights: Float[Tensor, " frame"]
    kT: float
    biased: bool

    @property
    def positions(self) -> Float[Tensor, "frame bead 3"]:
        """All frames, one trajectory after another."""
        return torch.cat(self.trajectories)


@dataclass(frozen=True)
class SlowMap:
    """The paths of a run in the plane of the two slowest coordinates of a simulation.

    Attributes:
        x: First slow coordinate of every image.
        y: Second slow coordinate of every image; zeros if there is only one.
        background: The free energy over both.
        lag_frames: Lag time of the slow coordinates, frames.
        features: "torsions" or "distances": what the slow coordinates are made of.
    """

    x: Float[np.ndarray, "path image"]
    y: Float[np.ndarray, "path image"]
    background: Background
    lag_frames: int
    features: str


def read_density(run: StoredRun, file: Path) -> Density:
    """The frames of a simulation of the run's molecule.

    Raises:
        RecipeError: The run is of no molecule.
        EndpointError: The file cannot be read, or is of another molecule.
        DataError: A data set is damaged.
    """
    if not run.is_molecule:
        raise RecipeError(
            f"{file}: a density needs a molecule; this run has a point in a model potential. Leave it out."
        )
    if file.suffix == ".npz":
        return _of_dataset(run, file)
    found = stream_ensemble([file], topology=run.topology_file, most_frames=MOST_FRAMES)
    x = found.trajectories[0].double()
    return Density(
        file, (x,), torch.full((len(x),), 1 / len(x), dtype=torch.float64), thermal_energy(run.temperature_k), False
    )


def _of_dataset(run: StoredRun, file: Path) -> Density:
    from tpsctl.simulation.dataset import Dataset

    found = Dataset.load(file)
    _require_same_atoms(run.topology, found.topology, file)
    found = found.take(torch.arange(0, len(found), -(-len(found) // MOST_FRAMES)))
    x = found.positions.double()
    parts = [found.trajectories == number for number in found.trajectories.unique()]
    return Density(
        file,
        tuple(x[part] for part in parts),
        torch.cat([found.weights()[part] for part in parts]),
        thermal_energy(found.temperature_k),
        found.bias is not None,
    )


def _require_same_atoms(of_run: Topology, found: Topology, file: Path) -> None:
    pairs = zip(of_run.atoms, found.atoms, strict=False)
    other = next((f"{a.residue} {a.name} and {b.residue} {b.name}" for a, b in pairs if a.name != b.name), "")
    if other or of_run.n_atoms != found.n_atoms:
        first = f"; the first that differ are {other}" if other else ""
        raise EndpointError(
            f"{file}: has {found.n_atoms} atoms, expected the {of_run.n_atoms} atoms of the run in their order{first}. "
            "Name a simulation of this molecule."
        )


def ramachandran_backgrounds(run: StoredRun, density: Density) -> dict[str, Background]:
    """Free energies in the plane of every residue's phi and psi, by the name of the residue in images.csv."""
    if not run.topology.backbone_dihedrals:
        return {}
    labels, atoms = zip(*run.topology.backbone_dihedrals, strict=True)
    values = dihedral(density.positions, torch.tensor(atoms)).rad2deg().numpy()
    by_name = {"_".join(label.lower().split()): values[:, k] for k, label in enumerate(labels)}
    weights = density.weights.numpy()
    return {
        name.removeprefix("phi_"): Background.of_frames(
            phi, by_name[name.replace("phi_", "psi_", 1)], kT=density.kT, weights=weights
        )
        for name, phi in by_name.items()
        if name.startswith("phi_") and name.replace("phi_", "psi_", 1) in by_name
    }


def slow_map(run: StoredRun, density: Density) -> SlowMap:
    """The paths over the two slowest coordinates of a simulation.

    Raises:
        RecipeError: The run has no trajectory files, or the simulation is too short.
        MissingDependencyError: deeptime is not installed.
    """
    require_deeptime("--density of a molecule without phi and psi")
    if not run.has_trajectories:
        raise RecipeError(f"{density.file}: the run has no trajectory files, so its paths have no slow coordinates.")
    paths = run.paths
    try:
        observed = observables_of(run.topology, paths[:, 0], paths[:, -1])
    except ValidationError as error:
        raise RecipeError(f"{density.file}: {error}") from None
    if max(map(len, density.trajectories)) < 20:
        raise RecipeError(f"{density.file}: has fewer than 20 frames in a row, too few for slow coordinates.")
    features = [observed.features(x) for x in density.trajectories]
    axes = slow_axes(features, dimensions=2)
    frames = _plane(axes.project(torch.cat(features)))
    along = _plane(torch.stack([axes.project(observed.features(path)) for path in paths]))
    ranges = [_range(frames[:, k], along[..., k]) for k in range(2)]
    background = Background.of_frames(
        *frames.T, kT=density.kT, weights=density.weights.numpy(), cells=SLOW_CELLS, ranges=(ranges[0], ranges[1])
    )
    return SlowMap(along[..., 0], along[..., 1], background, axes.lag, observed.kind)


def _plane(slow: Tensor) -> np.ndarray:
    """The first two slow coordinates; a missing second one is 0."""
    return torch.nn.functional.pad(slow, (0, max(0, 2 - slow.shape[-1])))[..., :2].numpy()


def _range(frames: np.ndarray, paths: np.ndarray) -> tuple[float, float]:
    """From the least to the largest value of frames and paths; not empty."""
    low, high = min(frames.min(), paths.min()), max(frames.max(), paths.max())
    extra = 0.03 * max(high - low, 1e-6)
    return float(low - extra), float(high + extra)
