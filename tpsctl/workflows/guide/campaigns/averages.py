"""Guidance to averages of observables: multipliers from unguided samples, then a score that tilts the ensemble."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.molecule.observables.base import stacked
from tpsctl.optimize.tuning import Interval
from tpsctl.recipe.guide import ObservableGuidanceSection
from tpsctl.score.guidance.base import DenoisedGuide, Guide, NoisedGuide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.maximum_entropy import Multipliers, maximum_entropy
from tpsctl.score.guidance.schedules import ExponentialStrength
from tpsctl.score.guidance.work import mean_and_error
from tpsctl.score.transport import effective_size
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED, Campaign, CampaignReport, clock_of
from tpsctl.workflows.guide.campaigns.comparison import Comparison, comparison_columns, plane_of, weighted
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.observables import Measured, make_measured
from tpsctl.workflows.guide.tools import GuideTools
from tpsctl.workflows.sample.assemble import path_seed

CLASSIFIER = "classifier"
"""Name of the samples by classifier guidance."""

_UNKNOWN_ERROR = 0.1
"""Error of a target that has none, in the standard deviation of the observable over the unguided samples."""

_BOOTSTRAP = 999_999
"""Random stream of the bootstrap."""


class ObservableCampaign(Campaign):
    """Guidance to averages.

    Attributes:
        measured: All observables.
        fitted: Those that are guided to.
        multipliers: Their maximum-entropy multipliers, once learned.
        clock: The clock of the guidance, once learned.
    """

    names = ("height", "decay")
    box = (Interval(0.2, 10.0, logarithmic=True), Interval(0.0, 20.0))
    multipliers: Multipliers
    clock: GuidanceClock

    def __init__(self, tools: GuideTools, section: ObservableGuidanceSection) -> None:
        self._tools, self._section = tools, section
        self.measured = make_measured(tools, section.observables, "guide.observables")
        self.fitted = [each for each in self.measured if not each.held_out]
        self.given = (section.strength.height, section.strength.decay)
        self.tune = section.tune
        self._targets = torch.tensor([_averaged(each) for each in self.fitted], dtype=torch.float64)

    def learn(self, unguided: Drawn) -> None:
        values = self.values(self.fitted, unguided.x)
        self._require_reported(unguided.x)
        generator = torch.Generator().manual_seed(path_seed(self._tools.recipe.seed, _BOOTSTRAP))
        names = [each.observable.label for each in self.fitted]
        try:
            self.multipliers = maximum_entropy(values, self._targets, names=names, generator=generator)
        except TpsctlError as error:
            raise RecipeError(f"guide.observables: {error}") from None
        self.clock = clock_of(unguided)
        self._variance = float(torch.linalg.eigvalsh(torch.atleast_2d(torch.cov(unguided.samples.y.flatten(1).T)))[-1])
        spread = values.std(0)
        given = [_averaged_error(each) for each in self.fitted]
        errors = [_UNKNOWN_ERROR * float(s) if e is None else e for e, s in zip(given, spread, strict=True)]
        self._errors = torch.tensor(errors, dtype=torch.float64)

    def guide(self, numbers: Sequence[float]) -> Guide:
        schedule = ExponentialStrength(*numbers)

        def strength(width: float) -> float:
            return schedule(self.clock.time(width))

        if self._section.evaluate == "noised":
            return NoisedGuide(self._tilt, strength)
        return DenoisedGuide(self._tilt, strength, self._variance)

    def misfit(self, drawn: Drawn) -> float:
        away = (self.values(self.fitted, drawn.x).mean(0) - self._targets) / self._errors
        return float(away.square().mean())

    def beside(self, numbers: Sequence[float]) -> dict[str, Guide]:
        if not self._section.baseline or self._tools.recipe.sampling.process == "ode":
            return {}
        return {CLASSIFIER: DenoisedGuide(self._likelihood, lambda width: 1.0, self._variance)}

    def course(self, widths: Sequence[float], numbers: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
        times, schedule = [self.clock.time(width) for width in widths], ExponentialStrength(*numbers)
        return times, {"strength": [schedule(t) for t in times]}

    def outcome(self, drawn: Mapping[str, Drawn]) -> str:
        return "complete" if all(self._comparison(each, drawn).achieved for each in self.fitted) else "not_achieved"

    def report(self, drawn: Mapping[str, Drawn], numbers: Sequence[float]) -> CampaignReport:
        rows = [self._comparison(each, drawn) for each in self.measured]
        guided = drawn[GUIDED]
        return CampaignReport(
            facts={
                "entropy_loss_nats": self.multipliers.entropy_loss,
                "effective_size_reweighting": self.multipliers.effective_size,
                "effective_size_corrected": effective_size(self._to_target(guided)),
                "observables": [row.as_json() for row in rows],
            },
            tables={"observables.csv": comparison_columns(rows)},
            columns={each.observable.label: each.observable(guided.x) for each in self.measured},
            comparison=tuple(row.for_figure() for row in rows),
            plane=plane_of(self._tools, drawn[UNGUIDED].x, guided.x, [each.observable for each in self.measured]),
        )

    def _comparison(self, measured: Measured, drawn: Mapping[str, Drawn]) -> Comparison:
        """Averages of one observable over all ensembles."""
        f, guided = {name: measured.observable(samples.x) for name, samples in drawn.items()}, drawn[GUIDED]
        averages = {name: mean_and_error(values) for name, values in f.items()}
        averages["reweighted"] = weighted(f[UNGUIDED], -self.values(self.fitted, drawn[UNGUIDED].x) @ self._lambda)
        averages["corrected"] = weighted(f[GUIDED], self._to_target(guided))
        k = next((k for k, each in enumerate(self.fitted) if each is measured), None)
        multiplier = None if k is None else (float(self._lambda[k]), float(self.multipliers.errors[k]))
        return Comparison(measured, averages, multiplier)

    def _to_target(self, guided: Drawn) -> Tensor:
        """Log-weights that turn the guided ensemble into the maximum-entropy one."""
        return -guided.log_ratio - self.values(self.fitted, guided.x) @ self._lambda

    @property
    def _lambda(self) -> Tensor:
        return self.multipliers.values

    def values(self, measured: Sequence[Measured], x: Tensor) -> Tensor:
        """Observables (sample, observable) of configurations in nm."""
        return stacked([each.observable for each in measured], x)

    def _tilt(self, y: Tensor) -> Tensor:
        """-lambda . f of configurations in the length unit of the law."""
        return -(self.values(self.fitted, self._tools.model.to_nm(y)) @ self.multipliers.values.to(y))

    def _likelihood(self, y: Tensor) -> Tensor:
        """The log-likelihood of each single configuration as if it had to reproduce the targets alone."""
        away = self.values(self.fitted, self._tools.model.to_nm(y)) - self._targets.to(y)
        return -(away / self._errors.to(y)).square().sum(1) / 2

    def _require_reported(self, x: Tensor) -> None:
        """Refuse held-out observables that are no numbers; those that are fitted are looked at by the fit."""
        for each in self.measured:
            bad = int((~each.observable(x).isfinite()).sum())
            if bad:
                raise RecipeError(
                    f"guide.observables: {each.observable.label}: is not a number for {bad} of {len(x)} samples. "
                    "Check its atoms."
                )


def _averaged(measured: Measured) -> float:
    assert measured.target is not None  # the recipe says so for all that are fitted
    return measured.observable.averaged(measured.target)


def _averaged_error(measured: Measured) -> float | None:
    if measured.error is None or measured.target is None:
        return None
    return measured.observable.averaged_error(measured.target, measured.error)
