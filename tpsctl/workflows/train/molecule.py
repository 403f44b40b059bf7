"""Training of an energy on frames of a molecule, in the words of `tpsctl.training`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpsctl.prior.network import NetworkPrior, energy_prior
from tpsctl.recipe import train as sections
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.action_matching.energy import EnergyActionMatching, NoisedMolecule, NoiseToDataPath
from tpsctl.training.objectives.action_matching.objective import ActionMatchingSettings
from tpsctl.training.objectives.base import Objective
from tpsctl.workflows.train import checkpoint
from tpsctl.workflows.train.card import molecule_card
from tpsctl.workflows.train.frames import MoleculeFrames, about, load_frames
from tpsctl.workflows.train.judge import held_out_quality, judge_for_paths, losses_at_both_ends
from tpsctl.workflows.train.networks import TrainedNetwork, chosen_network
from tpsctl.workflows.train.task import Compared, TrainingTask

_ADAM_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT_NORM = 1.0


class MoleculeTask(TrainingTask[MoleculeFrames, Any, NetworkPrior]):
    """The parts of a training on frames."""

    def __init__(self, recipe: sections.TrainRecipe) -> None:
        self.recipe = recipe
        self._compared: Compared | None = None
        self._matching: EnergyActionMatching[Any] | None = None

    def compared(self) -> dict[str, Compared]:
        return {} if self._compared is None else {"": self._compared}

    def load(self) -> MoleculeFrames:
        section = self.recipe.data
        assert not isinstance(section, sections.SeveralDatasetsSection)  # these have a task of their own
        return load_frames(section, self.recipe.seed)

    def about(self, data: MoleculeFrames) -> str:
        return f"{about(data)}; network {chosen_network(self.recipe, data.topology).name}"

    def objective(self, data: MoleculeFrames) -> Objective[Any, Any]:
        chosen = chosen_network(self.recipe, data.topology)
        model = self.recipe.model
        if not isinstance(model, sections.ActionMatchingModelSection):
            return chosen.objective(data)
        self._matching = action_matching(chosen, model, data)
        return self._matching

    def loop_settings(self) -> LoopSettings:
        return molecule_loop(self.recipe)

    def model(self, network: Any, data: MoleculeFrames) -> NetworkPrior:
        chosen = chosen_network(self.recipe, data.topology)
        field = chosen.field(network, data.topology.n_atoms)
        kind, temperature_k = self.recipe.model.kind, data.temperature_k
        return energy_prior(kind, field, chosen.schedule, data.topology, temperature_k=temperature_k)

    def judge(self, model: NetworkPrior, losses: Sequence[float], data: MoleculeFrames) -> dict[str, Any]:
        largest = chosen_network(self.recipe, data.topology).largest_width_nm
        verdict, self._compared = judge_for_paths(model, data, largest)
        effective = None if self._matching is None else round(self._matching.times.effective_fraction, 4)
        return {
            "metrics": {
                "held_out_torque_r2": held_out_quality(model, data, largest),
                "loss": losses_at_both_ends(losses),
                **({} if effective is None else {"effective_fraction_of_times": effective}),
            },
            "verdict": verdict.as_json(),
            **({} if verdict.range is None else {"diffusion_times": [w.diffusion_time for w in verdict.range]}),
        }

    def save(
        self,
        file: Path,
        model: NetworkPrior,
        data: MoleculeFrames,
        quality: dict[str, Any],
        identity: dict[str, Any],
    ) -> None:
        card = molecule_card(self.recipe, identity, data, quality)
        chosen = chosen_network(self.recipe, data.topology)
        checkpoint.save_prior(file, model, chosen.name, chosen.sizes, card)


def molecule_loop(recipe: sections.TrainRecipe) -> LoopSettings:
    """How the energy of one molecule, or of several, is minimized."""
    optimize = recipe.optimize
    return LoopSettings(
        steps=optimize.steps,
        learning_rate=WarmUpThenCosine(optimize.learning_rate, optimize.steps),
        average=RampedDecay(optimize.average),
        betas=_ADAM_BETAS,
        largest_gradient_norm=_LARGEST_GRADIENT_NORM,
        seed=recipe.seed,
    )


def action_matching(
    chosen: TrainedNetwork[Any], model: sections.ActionMatchingModelSection, data: MoleculeFrames
) -> EnergyActionMatching[Any]:
    """Action Matching of the energy of a network."""
    energy = chosen.objective(data)
    path = NoiseToDataPath(model.scale_nm, chosen.smallest_width_nm, chosen.largest_width_nm, model.noise)
    settings = ActionMatchingSettings(
        noise=model.noise,
        weight_first=model.weight_at_noise,
        weight_last=model.weight_at_data,
        batch=chosen.recipe.optimize.batch,
        late=model.small_times,
    )
    marginals = NoisedMolecule(data.training, path, turned=energy.sees_directions)
    return EnergyActionMatching(energy, marginals, path, settings)
