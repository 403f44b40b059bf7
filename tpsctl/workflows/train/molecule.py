"""Training of an internal energy on frames of a molecule, in the words of `tpsctl.training`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.prior.network import NetworkPrior
from tpsctl.recipe import train as sections
from tpsctl.score.schedule import Flow, NoiseSchedule, VarianceExploding, VariancePreserving
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.internal_energy import InternalEnergyDenoising, InternalEnergySettings
from tpsctl.training.widths import WidthLaw
from tpsctl.workflows.train import checkpoint
from tpsctl.workflows.train.card import molecule_card
from tpsctl.workflows.train.frames import MoleculeFrames, about, load_frames
from tpsctl.workflows.train.judge import held_out_quality, sound_times
from tpsctl.workflows.train.task import TrainingTask

_ADAM_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT_NORM = 1.0


class MoleculeTask(TrainingTask[MoleculeFrames, InternalEnergy, NetworkPrior]):
    """The parts of a training on frames."""

    def __init__(self, recipe: sections.TrainRecipe) -> None:
        self.recipe = recipe

    def load(self) -> MoleculeFrames:
        return load_frames(self.recipe.data, self.recipe.seed)

    def about(self, data: MoleculeFrames) -> str:
        return about(data)

    def objective(self, data: MoleculeFrames) -> InternalEnergyDenoising:
        model, optimize = self.recipe.model, self.recipe.optimize
        uniform_time = model.uniform_time if isinstance(model, sections.FlowMatchingModelSection) else 0.0
        widths = WidthLaw(model.smallest_width_nm, model.largest_width_nm, make_schedule(model), uniform_time)
        settings = InternalEnergySettings(
            optimize.batch, optimize.torsion_weight, optimize.linear_samples, self.recipe.seed
        )
        return InternalEnergyDenoising(data.topology, data.training, network_sizes(model), widths, settings)

    def loop_settings(self) -> LoopSettings:
        optimize = self.recipe.optimize
        return LoopSettings(
            steps=optimize.steps,
            learning_rate=WarmUpThenCosine(optimize.learning_rate, optimize.steps),
            average=RampedDecay(optimize.average),
            betas=_ADAM_BETAS,
            largest_gradient_norm=_LARGEST_GRADIENT_NORM,
            seed=self.recipe.seed,
        )

    def model(self, network: InternalEnergy, data: MoleculeFrames) -> NetworkPrior:
        model = self.recipe.model
        return checkpoint.make_prior(
            model.kind,
            network,
            make_schedule(model),
            data.topology,
            data.temperature_k,
            model.smallest_width_nm,
        )

    def judge(self, model: NetworkPrior, losses: Sequence[float], data: MoleculeFrames) -> dict[str, Any]:
        return held_out_quality(model, data, self.recipe.model.largest_width_nm)

    def save(
        self,
        file: Path,
        model: NetworkPrior,
        data: MoleculeFrames,
        quality: dict[str, Any],
        identity: dict[str, Any],
    ) -> None:
        card = molecule_card(self.recipe, identity, data, quality)
        times = sound_times(model, quality)
        card |= {} if times is None else {"diffusion_times": times}
        checkpoint.save_prior(file, model, network_sizes(self.recipe.model), card)


def network_sizes(model: sections.NetworkSection) -> InternalEnergySizes:
    """Shapes of the network."""
    return InternalEnergySizes(model.hidden, model.layers, model.levels, model.embedding)


def make_schedule(model: sections.DiffusionModelSection | sections.FlowMatchingModelSection) -> NoiseSchedule:
    """What diffusion time means for this model."""
    if isinstance(model, sections.FlowMatchingModelSection):
        return Flow(model.scale_nm)
    if isinstance(model.schedule, sections.VariancePreservingSection):
        return VariancePreserving(model.schedule.scale_nm)
    return VarianceExploding(model.smallest_width_nm, model.largest_width_nm)
