"""Action Matching on equilibrium points of a model potential, in the words of `tpsctl.training`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import save_model
from tpsctl.environment import versions
from tpsctl.networks.potential_perceptron import PotentialPerceptron
from tpsctl.recipe.train_potential import PointActionMatchingSection, TrainPotentialRecipe
from tpsctl.score.schedule import Flow
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.action_matching.marginals import NoiseToData
from tpsctl.training.objectives.action_matching.objective import (
    ActionMatching,
    ActionMatchingSettings,
    matching_of_points,
)
from tpsctl.workflows.train.judge import losses_at_both_ends
from tpsctl.workflows.train.potential import PotentialTask
from tpsctl.workflows.train.task import TrainingTask


class PointActionMatchingTask(TrainingTask[Tensor, PotentialPerceptron, PotentialPerceptron]):
    """The parts of a training on points (count, 1, 2), nm.

    Args:
        recipe: The recipe.
        section: Its model.
    """

    def __init__(self, recipe: TrainPotentialRecipe, section: PointActionMatchingSection) -> None:
        self.recipe, self._section, self._points = recipe, section, PotentialTask(recipe)

    def load(self) -> Tensor:
        return self._points.load()

    def about(self, data: Tensor) -> str:
        return self._points.about(data)

    def objective(self, data: Tensor) -> ActionMatching[PotentialPerceptron]:
        section, optimize = self._section, self.recipe.optimize
        settings = ActionMatchingSettings(
            noise=section.noise,
            weight_first=section.weight_at_noise,
            weight_last=section.weight_at_data,
            hidden=section.hidden,
            batch=optimize.batch,
            late=optimize.small_times,
            seed=self.recipe.seed,
        )
        points = ((data - data.mean((0, 1))) / _spread(data)).squeeze(1).float()
        self._objective = matching_of_points(NoiseToData(points, Flow()), settings)
        return self._objective

    def loop_settings(self) -> LoopSettings:
        return self._points.loop_settings()

    def model(self, network: PotentialPerceptron, data: Tensor) -> PotentialPerceptron:
        return network

    def judge(self, model: PotentialPerceptron, losses: Sequence[float], data: Tensor) -> dict[str, Any]:
        effective = round(self._objective.times.effective_fraction, 4)
        return {**losses_at_both_ends(losses), "effective_fraction_of_times": effective}

    def save(
        self,
        file: Path,
        model: PotentialPerceptron,
        data: Tensor,
        quality: dict[str, Any],
        identity: dict[str, Any],
    ) -> None:
        about = ModelDescription(
            kind=self._section.kind,
            network="potential_perceptron",
            sizes=model.sizes.to_dict(),
            temperature_k=self.recipe.potential.temperature_k,
            scale_nm=(_spread(data),),
            offset_nm=tuple(data.mean((0, 1)).tolist()),
            potential=self.recipe.potential.kind,
            layout="tpsctl points",
            clock="time from noise (0) to data (1) is 1 - t",
            provenance={
                "name": self.recipe.name,
                "digest": identity["digest"],
                "recipe": identity["recipe"],
                "loss": quality,
                "versions": versions(),
            },
            facts={"noise": self._section.noise},
        )
        save_model(file, Model(about, model.state_dict()))


def _spread(data: Tensor) -> float:
    """One length unit for all dimensions, so that the gradient of the learned scalar is a gradient in nm too."""
    return float(torch.sqrt(data.var((0, 1)).mean()))
