"""Training of a perceptron on equilibrium points of a model potential, in the words of `tpsctl.training`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.networks.bridge_perceptron import BridgePerceptron
from tpsctl.networks.energy_perceptron import PointNetwork
from tpsctl.prior.potentials import mueller_brown
from tpsctl.recipe import train_potential as sections
from tpsctl.score.levels import cosine_tables
from tpsctl.score.schedule import (
    Flow,
    LinearVariancePreserving,
    NoiseSchedule,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)
from tpsctl.simulation.boltzmann import boltzmann_points
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.base import Objective
from tpsctl.training.objectives.bridge import BridgeSettings, SchroedingerBridge
from tpsctl.training.objectives.noise_prediction import NoisePrediction
from tpsctl.training.objectives.points import PointSettings
from tpsctl.training.objectives.score_matching import ScoreMatching, ScoreMatchingSettings
from tpsctl.training.objectives.velocity import VelocityRegression
from tpsctl.training.times import TIME_LAWS
from tpsctl.workflows.train import checkpoint
from tpsctl.workflows.train.card import potential_card
from tpsctl.workflows.train.judge import losses_at_both_ends
from tpsctl.workflows.train.task import TrainingTask

BOX_NM = (0.0, 50.0)


class PotentialTask(TrainingTask[Tensor, Any, checkpoint.PointModel]):
    """The parts of a training on points (count, 1, 2), nm."""

    def __init__(self, recipe: sections.TrainPotentialRecipe) -> None:
        self.recipe = recipe

    def load(self) -> Tensor:
        return boltzmann_points(
            mueller_brown,
            box_nm=BOX_NM,
            temperature_k=self.recipe.potential.temperature_k,
            count=self.recipe.potential.samples,
            generator=torch.Generator().manual_seed(self.recipe.seed),
        )

    def about(self, data: Tensor) -> str:
        potential = self.recipe.potential
        return f"{potential.kind}: {len(data)} equilibrium points at {potential.temperature_k:g} K"

    def objective(self, data: Tensor) -> Objective[Any, Any]:
        model, optimize = self.recipe.model, self.recipe.optimize
        points = ((data - data.mean((0, 1))) / data.std((0, 1))).squeeze(1).float()
        if isinstance(model, sections.PointScoreMatchingSection):
            law = TIME_LAWS[model.times](point_schedule(model), model.smallest_width, model.largest_width)
            choices = ScoreMatchingSettings(
                model.hidden, optimize.batch, model.conservative, model.form, model.weight, self.recipe.seed
            )
            return ScoreMatching(points, choices, law)
        if isinstance(model, sections.PointBridgeSection):
            steps = math.ceil(optimize.steps / model.half_steps)
            half = BridgeSettings(model.hidden, optimize.batch, model.noise, steps, seed=self.recipe.seed)
            return SchroedingerBridge(points, half)
        settings = PointSettings(model.hidden, optimize.batch, optimize.small_times, self.recipe.seed)
        if isinstance(model, sections.PointFlowSection):
            return VelocityRegression(points, settings, conservative=model.conservative)
        assert isinstance(model, sections.PointDiffusionSection)  # other kinds have tasks of their own
        tables = cosine_tables(model.levels)
        alphas, sigmas = (tables[name].float() for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"))
        return NoisePrediction(points, settings, alphas, sigmas)

    def loop_settings(self) -> LoopSettings:
        optimize = self.recipe.optimize
        return LoopSettings(
            steps=optimize.steps,
            learning_rate=WarmUpThenCosine(optimize.learning_rate, optimize.steps, ahead=1),
            average=RampedDecay(optimize.average, gained=0, span=1),
            seed=self.recipe.seed,
        )

    def model(self, network: PointNetwork | BridgePerceptron, data: Tensor) -> checkpoint.PointModel:
        model = self.recipe.model
        tables = cosine_tables(model.levels) if isinstance(model, sections.PointDiffusionSection) else {}
        return checkpoint.PointModel(network, tables)

    def judge(self, model: checkpoint.PointModel, losses: Sequence[float], data: Tensor) -> dict[str, Any]:
        return losses_at_both_ends(losses)

    def save(
        self,
        file: Path,
        model: checkpoint.PointModel,
        data: Tensor,
        quality: dict[str, Any],
        identity: dict[str, Any],
    ) -> None:
        about, widths = self.recipe.model, None
        if isinstance(about, sections.PointScoreMatchingSection):
            widths = (point_schedule(about), about.smallest_width)
        checkpoint.save_points(file, model, potential_card(self.recipe, data, quality, identity, widths))


def point_schedule(model: sections.PointScoreMatchingSection) -> NoiseSchedule:
    """The schedule of a score-matching model, in units of the spread of the data."""
    others: dict[str, NoiseSchedule] = {
        schedule.name: schedule
        for schedule in (VariancePreserving(), LinearVariancePreserving(), SubVariancePreserving(), Flow())
    }
    if model.schedule == VarianceExploding.name:
        return VarianceExploding(model.smallest_width, model.largest_width)
    return others[model.schedule]
