"""The maker of initial paths, and what they are screened for, from the section `path`."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.base import Guess
from tpsctl.guess.idpp import IdppGuess
from tpsctl.guess.latent import LatentGuess
from tpsctl.guess.linear import LinearGuess
from tpsctl.guess.ratchet import RatchetGuess
from tpsctl.guess.screen import FaultsOf, Repair, all_of, energy_below
from tpsctl.guess.torsion import TorsionGuess, Waypoint
from tpsctl.guess.trajectory import TrajectoryGuess
from tpsctl.guess.untangle import untangled
from tpsctl.output.dcd import read_dcd
from tpsctl.prior.base import Prior
from tpsctl.recipe.endpoints import MoleculeEndpointsSection, PointEndpointsSection
from tpsctl.recipe.path import (
    IdppGuessSection,
    LatentGuessSection,
    LinearGuessSection,
    RatchetGuessSection,
    TorsionGuessSection,
    TrajectoryGuessSection,
)
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.assemble.system import System


def path_seed(seed: int, path: int) -> int:
    """Seed of one path: a function of the recipe's seed and the path's number only."""
    return int(np.random.SeedSequence([seed, path]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_guess(
    recipe: SampleRecipe, prior: Prior, system: System, diffusion_time: float, device: torch.device
) -> Guess:
    """The guess of the recipe's kind.

    Args:
        recipe: The recipe.
        prior: Its prior.
        system: The ends.
        diffusion_time: The diffusion time of its score, for dynamics in it.
        device: Where the prior computes.
    """
    section = recipe.path.guess
    match section:
        case LinearGuessSection():
            return LinearGuess()
        case LatentGuessSection():
            _require_generative(prior, recipe.prior.kind)
            return LatentGuess(prior, level=section.level, interpolation=section.interpolation, steps=section.steps)
        case IdppGuessSection():
            return IdppGuess(system.topology, spread_nm=section.spread_nm)
        case TorsionGuessSection():
            waypoints = [Waypoint(point.fraction, point.torsions_deg) for point in section.waypoints]
            return TorsionGuess(
                system.topology, spread_deg=section.spread_deg, long_way=section.long_way, waypoints=waypoints
            )
        case TrajectoryGuessSection():
            return _trajectory_guess(section, recipe.endpoints, system)
        case RatchetGuessSection():
            if not system.is_molecule:
                raise RecipeError(
                    'path.guess.kind: "ratchet" measures progress by distances of beads, and a model potential has one '
                    "point. Use linear."
                )
            return RatchetGuess(
                ScoreInPrecision(prior.at(diffusion_time), precision_of(recipe.prior)),
                system.topology,
                strength_kt=section.strength_kt,
                range_nm=section.range_nm,
                steps=section.steps,
                device=device,
            )


def _require_generative(prior: Prior, kind: str) -> None:
    if not prior.generative:
        raise RecipeError(
            f'path.guess.kind: "latent" needs a generative prior; "{kind}" is none. Use idpp, linear or trajectory.'
        )


def _trajectory_guess(
    section: TrajectoryGuessSection,
    endpoints: MoleculeEndpointsSection | PointEndpointsSection,
    system: System,
) -> Guess:
    if isinstance(endpoints, PointEndpointsSection):
        return TrajectoryGuess([_frames_of_points(file, system) for file in section.trajectories])
    from tpsctl.endpoints.load import load_ensemble
    from tpsctl.endpoints.match import match
    from tpsctl.endpoints.structure import Structure

    topology, trajectories = load_ensemble(section.trajectories, topology=section.topology, select=endpoints.select)
    start = Structure(system.topology, system.ends[0], "the ends")
    order = list(match(start, Structure(topology, trajectories[0][0], str(section.trajectories[0]))).order)
    return TrajectoryGuess([frames[:, order] for frames in trajectories])


def _frames_of_points(file: Path, system: System) -> Tensor:
    """The frames of a DCD file of a model potential's points, as this program writes them, nm."""
    if file.suffix != ".dcd":
        raise RecipeError(f"path.guess.trajectories: {file}: expected a DCD file, as paths of model potentials are.")
    frames = torch.from_numpy(read_dcd(file).astype("float64")) * NM_PER_ANGSTROM
    beads, dims = system.ends.shape[1:]
    if frames.shape[1] != beads:
        raise RecipeError(f"path.guess.trajectories: {file}: has {frames.shape[1]} points, the ends have {beads}.")
    return frames[..., :dims].contiguous()


def make_faults(recipe: SampleRecipe, gate: GeometryGate, energy_model: EnergyModel | None) -> FaultsOf:
    """A function that lists the faults of guesses: those of the gate, and too high energies if there is a limit."""

    def gate_faults(paths: Tensor) -> list[str]:
        return list(gate.check(paths).faults)

    limit = recipe.path.screen.max_energy_kj_per_mol
    if limit is None:
        return gate_faults
    if energy_model is None:
        raise RecipeError("path.screen.max_energy_kj_per_mol: needs validation.energy, whose force field it is in.")
    return all_of(gate_faults, energy_below(energy_model.energies, limit))


def make_repair(system: System) -> Repair | None:
    """A function that mends broken bonds and clashes of a guess; None for points of a model potential."""
    if not system.is_molecule:
        return None
    return lambda paths: torch.stack([untangled(path, system.topology) for path in paths])
