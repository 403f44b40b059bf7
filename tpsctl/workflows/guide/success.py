"""Which samples are wanted: the section `success`, made into a function of configurations."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.recipe.guide import RangesSuccessSection
from tpsctl.workflows.guide.observables import make_observable
from tpsctl.workflows.guide.tools import GuideTools

Success = Callable[[Tensor], Bool[Tensor, " sample"]]
"""Configurations (sample, bead, dim), nm, to whether each is wanted."""


def make_success(tools: GuideTools, section: RangesSuccessSection) -> Success:
    """Success by ranges of collective variables; another criterion, such as a committor, is another section.

    Raises:
        RecipeError: An atom, dihedral or coordinate is not there.
    """
    observables = [
        make_observable(tools, each.observable, f"guide.success.ranges.{k}.observable")
        for k, each in enumerate(section.ranges)
    ]

    def is_wanted(x: Tensor) -> Tensor:
        found = torch.ones(len(x), dtype=torch.bool)
        for observable, given in zip(observables, section.ranges, strict=True):
            found &= in_range(observable(x), given.low, given.high, observable.period)
        return found

    return is_wanted


def in_range(
    values: Float[Tensor, " sample"], low: float, high: float, period: float | None
) -> Bool[Tensor, " sample"]:
    """Whether values lie in a range; that of a periodic quantity begins at `low` and goes up to `high`."""
    if period is None:
        return (values >= low) & (values <= high)
    width = (high - low) % period if high != low + period else period
    return (values - low).remainder(period) <= width


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a probability by Wilson's score; count > 0.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    z, p = 1.959964, successes / count
    middle, factor = p + z**2 / (2 * count), 1 + z**2 / count
    half = z * (p * (1 - p) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, (middle - half) / factor), min(1.0, (middle + half) / factor)
