"""A kernel density over the guides' points, in all coordinates or in torsions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.torsions import Torsion, named_torsions
from tpsctl.optimize.tuning import Interval
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.guide import (
    CommittorKernelSection,
    PathGuidanceSection,
    SuperposedKernelSection,
    TorsionKernelSection,
)
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.kernel import KernelGuide, flow_to_noise
from tpsctl.score.guidance.metrics import InTorsions, KernelMetric, Superposition
from tpsctl.score.guidance.schedules import SigmoidBandwidth, SigmoidStrength
from tpsctl.workflows.guide.diversity import natural_bandwidth
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.kernels.base import GuideKernel, KernelSchedules
from tpsctl.workflows.guide.tools import GuideTools


class DensityKernel(GuideKernel):
    """The score of Gaussian kernels over guides that follow the probability flow to noise.

    Args:
        tools: The prior.
        section: The guidance of the recipe.
        kernel: Its kernel.
        guides: The guides (guide, bead, dim), nm.
    """

    box = (
        Interval(0.05, 10.0, logarithmic=True),
        Interval(0.05, 0.9),
        Interval(0.05, 1.0, logarithmic=True),
        Interval(0.2, 1.2),
    )

    def __init__(
        self,
        tools: GuideTools,
        section: PathGuidanceSection,
        kernel: SuperposedKernelSection | TorsionKernelSection,
        guides: Tensor,
    ) -> None:
        self._tools, self._section, self._guides = tools, section, guides
        self._metric = metric_of(tools, kernel)

    def learn(self, unguided: Drawn, clock: GuidanceClock) -> None:
        self._clock, model = clock, self._tools.model
        strength, bandwidth = self._section.strength, self._section.bandwidth
        floor = bandwidth.floor
        if floor == AUTO:
            floor = natural_bandwidth(self._guides, unguided.x, self._metric)
            floor /= clock.spread * model.unit_nm if self._metric.is_length else 1.0
        self.given = (strength.height, strength.midpoint, float(floor), bandwidth.midpoint)
        self._widths = self._tools.widths[::-1]
        start = model.from_nm(self._guides).to(model.like)
        self._points = flow_to_noise(model.law, start, self._widths).double()

    def guide(self, numbers: Sequence[float], factor: float = 1.0) -> KernelGuide:
        schedules, clock = self.schedules(numbers), self._clock

        def width_of_kernel(width: float) -> float:
            unit = clock.spread / clock.alpha(width) if self._metric.is_length else 1.0
            return factor * schedules.bandwidth(clock.time(width)) * unit

        return KernelGuide(
            self._widths,
            self._points,
            strength=lambda width: schedules.strength(clock.time(width)),
            bandwidth=width_of_kernel,
            metric=self._metric,
        )

    def schedules(self, numbers: Sequence[float]) -> KernelSchedules:
        return sigmoid_schedules(self._section, numbers)


def sigmoid_schedules(
    section: PathGuidanceSection | CommittorKernelSection, numbers: Sequence[float]
) -> KernelSchedules:
    """The sigmoids of a recipe with these numbers, in the order of `GuideKernel.names`."""
    height, when, floor, widening = numbers
    return KernelSchedules(
        SigmoidStrength(height, section.strength.slope, when),
        SigmoidBandwidth(floor, section.bandwidth.slope, widening),
    )


def metric_of(tools: GuideTools, section: SuperposedKernelSection | TorsionKernelSection) -> KernelMetric:
    """In what samples are drawn to the guides.

    Raises:
        RecipeError: The prior has no torsions, or not one of this name.
    """
    if isinstance(section, SuperposedKernelSection):
        return Superposition(tools.prior.n_beads * tools.prior.n_dims, superposed=tools.model.law.centered)
    by_name = turning_torsions(tools)
    require_names(section.torsions or (), by_name, "guide.kernel.torsions")
    chosen = section.torsions or tuple(by_name)
    return InTorsions(torch.tensor([by_name[name].atoms for name in chosen]))


def turning_torsions(tools: GuideTools) -> dict[str, Torsion]:
    """The torsions of the prior's molecule by name, groups of three hydrogens left out.

    Raises:
        RecipeError: There are none.
    """
    usual = [torsion for torsion in named_torsions(tools.topology) if not torsion.rotor] if tools.is_molecule else []
    if not usual:
        raise RecipeError("guide.kernel: torsions: no bond of this prior's molecule can turn. Use kind: superposed.")
    return {torsion.name: torsion for torsion in usual}


def require_names(names: Sequence[str], by_name: dict[str, Torsion], key: str) -> None:
    """Refuse a name that no torsion has."""
    for name in names:
        if name not in by_name:
            raise RecipeError(f"{key}: got {name!r}, expected some of {', '.join(by_name)}.")
