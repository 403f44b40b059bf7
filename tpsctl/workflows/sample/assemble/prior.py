"""The prior on its device, in the order of the ends, from the section `prior`."""

import torch

from tpsctl.errors import PriorError, RecipeError
from tpsctl.prior.base import Prior
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.prior import (
    CheckpointPriorSection,
    DoubleWellPriorSection,
    GaussianPriorSection,
    MuellerBrownPriorSection,
    OpenMMPriorSection,
    PluginPriorSection,
    PriorSection,
    SnapshotsPriorSection,
)
from tpsctl.score.precision import ScoreInPrecision, choose_products
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.assemble.diffusion_time import usable_times
from tpsctl.workflows.sample.assemble.fitness import require_fit, verdict_of
from tpsctl.workflows.sample.assemble.system import System


def make_prior(section: PriorSection, system: System, device: torch.device) -> Prior:
    """The prior on its device, in the order of the ends' beads; torch keeps the CPU threads that it can use."""
    if device.type == "cuda":
        choose_products(tf32=getattr(section, "precision", None) == "tf32")
    prior = _prior(section, system, gpu_number(device)).to(device=device, dtype=precision_of(section))
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


def _fitted(prior: Prior, section: PriorSection, system: System, device: torch.device) -> Prior:
    """The prior, with the ends' beads put into its order where that differs."""
    from tpsctl.endpoints.fit import bead_order, winding_order
    from tpsctl.prior.reordered import ReorderedPrior

    assert prior.topology is not None
    order = bead_order(system.topology, prior.topology, name=f'prior "{section.kind}"')
    if isinstance(section, SnapshotsPriorSection):
        if order != sorted(order):
            raise PriorError(
                f'prior "{section.kind}": its atoms are in another order than those of endpoints.start. Give the ends '
                "in the order of the data.topology of its training."
            )
        return prior
    score = ScoreInPrecision(prior.at(_a_time(prior, section)), precision_of(section))
    order = winding_order(system.topology, system.ends.to(device), score, order)
    return prior if order == sorted(order) else ReorderedPrior(prior, order, system.topology)


def _a_time(prior: Prior, section: PriorSection) -> float:
    """A diffusion time at which the prior knows the molecule, before the one in use is chosen."""
    given = getattr(section, "diffusion_time", 0.0)
    if given != AUTO:
        return float(given)
    stored = verdict_of(section, prior.topology).times if isinstance(section, CheckpointPriorSection) else None
    return usable_times(prior)[0] if stored is None else stored[0]


def _prior(section: PriorSection, system: System, gpu: int | None) -> Prior:
    match section:
        case CheckpointPriorSection():
            from tpsctl.workflows.checkpoints import open_prior

            require_fit(section, system.topology)
            return open_prior(section.checkpoint, system.topology)
        case OpenMMPriorSection():
            from tpsctl.prior.openmm import OpenMMPrior

            require_molecule(section.kind, system)
            return OpenMMPrior(
                system.topology,
                system_source(section.force_field),
                temperature_k=section.temperature_k,
                reference=system.ends[0],
                platform=section.platform,
                threads=torch.get_num_threads(),
                gpu=gpu,
            )
        case MuellerBrownPriorSection():
            from tpsctl.prior.mueller_brown import MuellerBrownPrior

            return MuellerBrownPrior(temperature_k=section.temperature_k)
        case DoubleWellPriorSection():
            from tpsctl.prior.double_well import DoubleWellPrior

            return DoubleWellPrior(
                temperature_k=section.temperature_k,
                barrier=section.barrier_kj_per_mol,
                half_distance_nm=section.half_distance_nm,
                stiffness=section.stiffness_kj_per_mol_nm2,
                n_dims=system.ends.shape[-1],
            )
        case SnapshotsPriorSection():
            from tpsctl.checkpoints.architectures.snapshot_potential import snapshot_prior
            from tpsctl.checkpoints.native import load_model

            require_fit(section, None)
            try:
                return snapshot_prior(load_model(section.checkpoint))
            except PriorError as error:
                raise PriorError(
                    f"{section.checkpoint}: {str(error).removeprefix(f'{section.checkpoint}: ')}"
                ) from None
        case PluginPriorSection():
            from tpsctl.prior.plugins import make_plugin

            return make_plugin(section.name, dict(section.options), system.topology if system.is_molecule else None)
        case GaussianPriorSection():
            from tpsctl.prior.gaussian import GaussianPrior

            return GaussianPrior(mean_nm=section.mean_nm, std_nm=section.std_nm)


def precision_of(section: PriorSection) -> torch.dtype:
    """Networks compute in what the recipe says, formulas and force fields in float64; paths are always float64."""
    if not isinstance(section, CheckpointPriorSection):
        return torch.float64
    return torch.float32 if section.precision == "tf32" else getattr(torch, section.precision)


def gpu_number(device: torch.device) -> int | None:
    """The GPU that OpenMM may take, as this process numbers them; None if the paths are on the CPU."""
    return (device.index or 0) if device.type == "cuda" else None


def require_molecule(kind: str, system: System) -> None:
    if not system.is_molecule:
        raise RecipeError(f'prior.kind: "{kind}" needs structures; the endpoints are points of a model potential.')
