"""Training of one model on frames of several molecules, in the words of `tpsctl.training`."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.molecules import find_molecule
from tpsctl.checkpoints.native import save_model
from tpsctl.errors import DataError
from tpsctl.networks.chain_energy.shared import SharedEnergy
from tpsctl.prior.network import NetworkPrior, energy_prior
from tpsctl.recipe import train as sections
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.shared_denoising import SharedDenoising
from tpsctl.training.quality.verdict import Verdict
from tpsctl.workflows.train.card import molecules_card
from tpsctl.workflows.train.frames import MoleculeFrames, about, load_frames
from tpsctl.workflows.train.judge import held_out_quality, judge_for_paths, losses_at_both_ends
from tpsctl.workflows.train.molecule import molecule_loop
from tpsctl.workflows.train.networks.transformer_energy import TrainedTransformerEnergy
from tpsctl.workflows.train.task import Compared, TrainingTask

Frames = dict[str, MoleculeFrames]
"""The frames of every molecule, by its name."""


class MoleculesTask(TrainingTask[Frames, SharedEnergy, SharedEnergy]):
    """The parts of a training on frames of several molecules.

    Args:
        recipe: The recipe.
        section: Its data.

    Raises:
        RecipeError: The noise widths of the model are in the wrong order.
    """

    def __init__(self, recipe: sections.TrainRecipe, section: sections.SeveralDatasetsSection) -> None:
        self.recipe, self._section = recipe, section
        self._chosen = TrainedTransformerEnergy(recipe)
        self._compared: dict[str, Compared] = {}

    def compared(self) -> dict[str, Compared]:
        return self._compared

    def load(self) -> Frames:
        frames = {one.label: load_frames(self._alone(one), self.recipe.seed) for one in self._section.datasets}
        _require_one_temperature(frames)
        for (name, one), (other_name, other) in combinations(frames.items(), 2):
            if find_molecule([one.topology], other.topology) is not None:
                raise DataError(
                    f"data.datasets: {name} and {other_name} have the same beads, {one.topology.n_atoms} of the same "
                    "names, by which tpsctl tells molecules apart. Give one data set per molecule."
                )
        return frames

    def about(self, data: Frames) -> str:
        each = "; ".join(f"{name} ({about(frames)})" for name, frames in data.items())
        return f"{len(data)} molecules: {each}; network shared_transformer"

    def objective(self, data: Frames) -> SharedDenoising:
        self._objective = self._chosen.shared_objective(data)
        return self._objective

    def loop_settings(self) -> LoopSettings:
        return molecule_loop(self.recipe)

    def model(self, network: SharedEnergy, data: Frames) -> SharedEnergy:
        return network

    def judge(self, model: SharedEnergy, losses: Sequence[float], data: Frames) -> dict[str, Any]:
        largest, held_out = self._chosen.largest_width_nm, self._held_out_losses()
        verdicts, of_each = {}, {}
        for name, prior in self._priors(model, data).items():
            verdicts[name], self._compared[name] = judge_for_paths(prior, data[name], largest)
            of_each[name] = {
                "metrics": {
                    "held_out_loss": held_out.get(name),
                    "held_out_torque_r2": held_out_quality(prior, data[name], largest),
                },
                "verdict": verdicts[name].as_json(),
                **_times(verdicts[name]),
            }
        return {
            "metrics": {"loss": losses_at_both_ends(losses)},
            "verdict": {
                "fit_for_paths": all(verdict.as_json()["fit_for_paths"] for verdict in verdicts.values()),
                "words": "; ".join(f"{name}: {v.as_json()['words'].rstrip('.')}" for name, v in verdicts.items()) + ".",
            },
            "molecules": of_each,
        }

    def save(
        self, file: Path, model: SharedEnergy, data: Frames, quality: dict[str, Any], identity: dict[str, Any]
    ) -> None:
        description = ModelDescription(
            kind=self.recipe.model.kind,
            network="shared_transformer",
            sizes=self._chosen.sizes,
            temperature_k=next(iter(data.values())).temperature_k,
            schedule=self._chosen.schedule,
            smallest_width_nm=self._chosen.smallest_width_nm,
            molecules=tuple(frames.topology for frames in data.values()),
            facts=molecules_card(self.recipe, identity, data, quality),
        )
        save_model(file, Model(description, model.state_dict()))

    def _alone(self, one: sections.NamedDatasetSection) -> sections.DatasetSection:
        """The section of a data set as if it were the only one."""
        shared = self._section
        return sections.DatasetSection(
            kind="dataset",
            dataset=one.dataset,
            use_forces=shared.use_forces,
            held_out=shared.held_out,
            split=shared.split,
        )

    def _priors(self, network: SharedEnergy, data: Frames) -> dict[str, NetworkPrior]:
        """The prior of every molecule."""
        priors = {}
        for (name, frames), member in zip(data.items(), network.members, strict=True):
            field = self._chosen.field(member, frames.topology.n_atoms)
            priors[name] = energy_prior(
                self.recipe.model.kind,
                field,
                self._chosen.schedule,
                frames.topology,
                temperature_k=frames.temperature_k,
            )
        return priors

    def _held_out_losses(self) -> dict[str, float]:
        """The loss of every molecule on held-out frames, on the batch of the report."""
        batch = self._objective.held_out_batch(torch.Generator().manual_seed(self.recipe.seed))
        if batch is None:
            return {}
        return {name: float(loss.detach()) for name, loss in self._objective.losses(batch).items()}


def _times(verdict: Verdict) -> dict[str, Any]:
    return {} if verdict.range is None else {"diffusion_times": [width.diffusion_time for width in verdict.range]}


def _require_one_temperature(frames: Frames) -> None:
    temperatures = {name: one.temperature_k for name, one in frames.items()}
    if len(set(temperatures.values())) > 1:
        found = ", ".join(f"{name} {value:g} K" for name, value in temperatures.items())
        raise DataError(
            f"data.datasets: the data sets have different temperatures: {found}. A checkpoint has one temperature; "
            "train them apart."
        )
