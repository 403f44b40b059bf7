"""From the sections of a recipe to the objects that do the work; shared by `run` and `check`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action, Dynamics
from tpsctl.action.divergence import Divergence, ExactDivergence, HutchinsonDivergence
from tpsctl.action.euler_maruyama import EulerMaruyamaAction
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.precision import ScoreInPrecision
from tpsctl.action.truncated import TruncatedAction
from tpsctl.errors import PriorError, RecipeError
from tpsctl.guess.base import Guess
from tpsctl.guess.idpp import IdppGuess
from tpsctl.guess.latent import LatentGuess
from tpsctl.guess.linear import LinearGuess
from tpsctl.guess.screen import FaultsOf, Repair, all_of, energy_below
from tpsctl.guess.torsion import TorsionGuess, Waypoint
from tpsctl.guess.trajectory import TrajectoryGuess
from tpsctl.guess.untangle import untangled
from tpsctl.optimize.base import Convergence, Optimizer
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.optimize.lbfgs import LBFGS
from tpsctl.optimize.levenberg_marquardt import LevenbergMarquardt
from tpsctl.optimize.stages import Stage
from tpsctl.output.trajectory import dummy_topology
from tpsctl.prior.base import Prior
from tpsctl.recipe import models
from tpsctl.topology import Topology
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate


@dataclass(frozen=True)
class System:
    """The two ends and what they are made of.

    Attributes:
        topology: Atoms or beads; dummy atoms for a model potential.
        ends: Positions of both ends, nm, float64.
        is_molecule: False for a point in a model potential.
        notes: What a user should know about the ends, one sentence each.
        atom_map: How the atoms of the ends were matched; None for a model potential.
    """

    topology: Topology
    ends: Float[Tensor, "2 bead dim"]
    is_molecule: bool
    notes: tuple[str, ...] = ()
    atom_map: Any = None


def make_system(section: models.MoleculeEndpoints | models.ModelEndpoints) -> System:
    """Both ends, matched and superposed."""
    if isinstance(section, models.ModelEndpoints):
        points = (section.start.position_nm, section.end.position_nm)
        if len(points[0]) != len(points[1]):
            raise RecipeError(
                f"endpoints: start has {len(points[0])} coordinates, end has {len(points[1])}. Give equally many."
            )
        return System(dummy_topology(1), torch.tensor(points, dtype=torch.float64).unsqueeze(1), is_molecule=False)
    from tpsctl.endpoints.ends import align
    from tpsctl.endpoints.load import load_structure

    def load(end: models.StructureEnd | models.TrajectoryEnd) -> Any:
        if isinstance(end, models.TrajectoryEnd):
            return load_structure(end.trajectory, frame=end.frame, topology=end.topology, select=section.select)
        return load_structure(end.structure, frame=end.frame, select=section.select)

    ends = align(load(section.start), load(section.end))
    return System(ends.topology, ends.x, is_molecule=True, notes=ends.notes, atom_map=ends.atom_map)


def make_prior(section: models.Prior, system: System, device: torch.device) -> Prior:
    """The prior on its device, in the order of the ends' beads; torch keeps the CPU threads that it can use."""
    prior = _prior(section, system).to(device=device, dtype=_precision(section))
    if prior.one_thread and device.type == "cpu":
        torch.set_num_threads(1)
    if prior.topology is not None and system.is_molecule:
        prior = _fitted(prior, section, system, device)
    shape = (prior.n_beads, prior.n_dims)
    if system.ends.shape[1:] != shape:
        raise PriorError(
            f'prior "{section.kind}" is for {shape[0]} beads in {shape[1]} dimensions, the ends have '
            f"{system.ends.shape[1]} in {system.ends.shape[2]}. Set endpoints.select, or take another prior."
        )
    return prior


def _fitted(prior: Prior, section: models.Prior, system: System, device: torch.device) -> Prior:
    """The prior, with the ends' beads put into its order where that differs."""
    from tpsctl.endpoints.fit import bead_order, winding_order
    from tpsctl.prior.reordered import ReorderedPrior

    assert prior.topology is not None
    order = bead_order(system.topology, prior.topology, name=f'prior "{section.kind}"')
    score = ScoreInPrecision(prior.at(getattr(section, "diffusion_time", 0.0)), _precision(section))
    order = winding_order(system.topology, system.ends.to(device), score, order)
    return prior if order == sorted(order) else ReorderedPrior(prior, order, system.topology)


def _prior(section: models.Prior, system: System) -> Prior:
    match section:
        case models.CheckpointPrior():
            from tpsctl.checkpoints import open_prior

            return open_prior(section.checkpoint, system.topology)
        case models.OpenMMPrior():
            from tpsctl.prior.openmm import OpenMMPrior

            _require_molecule(section.kind, system)
            return OpenMMPrior(
                system.topology,
                section.force_field,
                temperature_k=section.temperature_k,
                threads=torch.get_num_threads(),
            )
        case models.MuellerBrownPrior():
            from tpsctl.prior.mueller_brown import MuellerBrownPrior

            return MuellerBrownPrior(temperature_k=section.temperature_k)
        case models.DoubleWellPrior():
            from tpsctl.prior.double_well import DoubleWellPrior

            return DoubleWellPrior(
                temperature_k=section.temperature_k,
                barrier=section.barrier_kj_per_mol,
                half_distance_nm=section.half_distance_nm,
                stiffness=section.stiffness_kj_per_mol_nm2,
                n_dims=system.ends.shape[-1],
            )
        case models.PluginPrior():
            from tpsctl.prior.plugins import make_plugin

            return make_plugin(section.name, dict(section.options), system.topology if system.is_molecule else None)
        case models.GaussianPrior():
            from tpsctl.prior.gaussian import GaussianPrior

            return GaussianPrior(mean_nm=section.mean_nm, std_nm=section.std_nm)


def _precision(section: models.Prior) -> torch.dtype:
    """Networks compute in what the recipe says, formulas and force fields in float64; paths are always float64."""
    return getattr(torch, section.precision) if isinstance(section, models.CheckpointPrior) else torch.float64


def _require_molecule(kind: str, system: System) -> None:
    if not system.is_molecule:
        raise RecipeError(f'prior.kind: "{kind}" needs structures; the endpoints are points of a model potential.')


def path_seed(seed: int, path: int) -> int:
    """Seed of one path: a function of the recipe's seed and the path's number only."""
    return int(np.random.SeedSequence([seed, path]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_guess(recipe: models.Recipe, prior: Prior, system: System) -> Guess:
    """The initial path's maker."""
    section = recipe.path.guess
    match section:
        case models.LinearGuess():
            return LinearGuess()
        case models.LatentGuess():
            _require_generative(prior, recipe.prior.kind)
            return LatentGuess(prior, level=section.level, interpolation=section.interpolation, steps=section.steps)
        case models.IdppGuess():
            return IdppGuess(system.topology, spread_nm=section.spread_nm)
        case models.TorsionGuess():
            waypoints = [Waypoint(point.fraction, point.torsions_deg) for point in section.waypoints]
            return TorsionGuess(
                system.topology, spread_deg=section.spread_deg, long_way=section.long_way, waypoints=waypoints
            )
        case models.TrajectoryGuess():
            return _trajectory_guess(section, recipe.endpoints, system)


def _require_generative(prior: Prior, kind: str) -> None:
    if not prior.generative:
        raise RecipeError(
            f'path.guess.kind: "latent" needs a generative prior; "{kind}" is none. Use idpp, linear or trajectory.'
        )


def _trajectory_guess(
    section: models.TrajectoryGuess, endpoints: models.MoleculeEndpoints | models.ModelEndpoints, system: System
) -> Guess:
    from tpsctl.endpoints.load import load_ensemble
    from tpsctl.endpoints.match import match
    from tpsctl.endpoints.structure import Structure

    if isinstance(endpoints, models.ModelEndpoints):
        raise RecipeError('path.guess.kind: "trajectory" needs structures; the endpoints are points of a potential.')
    topology, trajectories = load_ensemble(section.trajectories, topology=section.topology, select=endpoints.select)
    start = Structure(system.topology, system.ends[0], "the ends")
    order = list(match(start, Structure(topology, trajectories[0][0], str(section.trajectories[0]))).order)
    return TrajectoryGuess([frames[:, order] for frames in trajectories])


def make_gate(system: System) -> GeometryGate:
    """The geometry gate of a molecule; of a model potential, finite positions and jumps only."""
    return GeometryGate(system.topology if system.is_molecule else None, system.ends)


def make_energy_model(section: models.ValidationSection, system: System, threads: int) -> EnergyModel | None:
    """The force field that judges the paths; None if the recipe names none, or there is no molecule."""
    if section.energy is None or not system.is_molecule:
        return None
    return EnergyModel(system.topology, section.energy.force_field, system.ends[0], threads=threads)


def make_faults(recipe: models.Recipe, gate: GeometryGate, energy_model: EnergyModel | None) -> FaultsOf:
    """What a guess is screened for: the gate, and the energy if the recipe sets a limit."""

    def gate_faults(paths: Tensor) -> list[str]:
        return list(gate.check(paths).faults)

    limit = recipe.path.screen.max_energy_kj_per_mol
    if limit is None:
        return gate_faults
    if energy_model is None:
        raise RecipeError("path.screen.max_energy_kj_per_mol: needs validation.energy, whose force field it is in.")
    return all_of(gate_faults, energy_below(energy_model.energies, limit))


def make_repair(system: System) -> Repair | None:
    """What mends broken bonds and clashes of a guess; None for points of a model potential."""
    if not system.is_molecule:
        return None
    return lambda paths: torch.stack([untangled(path, system.topology) for path in paths])


def make_dynamics(section: models.TruncatedAction | models.Action, prior: Prior, topology: Topology) -> Dynamics:
    """Step and diffusion coefficients of the beads."""
    if section.diffusion_nm2_per_ps is not None:
        return Dynamics.uniform(
            dt_ps=section.dt_ps, diffusion_nm2_per_ps=section.diffusion_nm2_per_ps, n_beads=prior.n_beads
        )
    temperature_k = section.temperature_k or prior.temperature_k
    if temperature_k is None:
        raise RecipeError("action.temperature_k: missing, and this prior has no temperature of its own. Give it (K).")
    assert section.friction_per_ps is not None  # the recipe has exactly one of the two
    return Dynamics.langevin(
        dt_ps=section.dt_ps,
        masses_amu=topology.masses_amu,
        friction_per_ps=section.friction_per_ps,
        temperature_k=temperature_k,
    )


def make_action(recipe: models.Recipe, stage: models.Stage, prior: Prior, dynamics: Dynamics) -> Action:
    """The action of one stage, at its own diffusion time and physical step."""
    time = stage.diffusion_time if stage.diffusion_time is not None else diffusion_time(recipe)
    score = ScoreInPrecision(prior.at(time), _precision(recipe.prior))
    dynamics = dynamics if stage.dt_ps is None else dynamics.with_dt(stage.dt_ps)
    match recipe.action:
        case models.TruncatedAction():
            return TruncatedAction(score, dynamics)
        case models.EulerMaruyamaAction():
            return EulerMaruyamaAction(score, dynamics)
        case models.OnsagerMachlupAction():
            return OnsagerMachlupAction(score, dynamics, _divergence(recipe.action.divergence, recipe.seed))


def make_stages(recipe: models.Recipe, prior: Prior, system: System) -> list[Stage]:
    """The stages of the optimization."""
    dynamics = make_dynamics(recipe.action, prior, system.topology)
    return [
        Stage(
            name=f"{number}. {stage.method}",
            optimizer=make_optimizer(stage),
            action=make_action(recipe, stage, prior, dynamics),
            images=stage.images or recipe.path.images,
        )
        for number, stage in enumerate(recipe.stages, start=1)
    ]


def diffusion_time(recipe: models.Recipe) -> float:
    """The diffusion time of the final path; 0 for priors that are a force field."""
    return getattr(recipe.prior, "diffusion_time", 0.0)


def _divergence(section: models.ExactDivergence | models.HutchinsonDivergence, seed: int) -> Divergence:
    if isinstance(section, models.HutchinsonDivergence):
        return HutchinsonDivergence(probes=section.probes, seed=seed)
    return ExactDivergence()


def make_optimizer(stage: models.Method) -> Optimizer:
    """The minimizer of one stage."""
    convergence = Convergence(
        action_tolerance=stage.action_tolerance, gradient_tolerance_per_nm=stage.gradient_tolerance_per_nm
    )
    match stage:
        case models.LevenbergMarquardt():
            return LevenbergMarquardt(max_steps=stage.max_steps, convergence=convergence)
        case models.Lbfgs():
            return LBFGS(
                max_steps=stage.max_steps, convergence=convergence, max_displacement_nm=stage.max_displacement_nm
            )
        case models.Adam():
            return Adam(learning_rate_nm=stage.learning_rate_nm, max_steps=stage.max_steps, convergence=convergence)
        case models.Sgd():
            return SGD(
                learning_rate_nm2=stage.learning_rate_nm2,
                momentum=stage.momentum,
                max_steps=stage.max_steps,
                convergence=convergence,
            )
