"""Success where every observable is in its range."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.recipe.guide_success import RangesSuccessSection
from tpsctl.workflows.guide.observables import make_observable
from tpsctl.workflows.guide.success.base import WANTED, Success
from tpsctl.workflows.guide.tools import GuideTools


class RangesSuccess(Success):
    """Ranges of collective variables.

    Raises:
        RecipeError: An atom, dihedral or coordinate is not there.
    """

    name = "all observables in their ranges"

    def __init__(self, tools: GuideTools, section: RangesSuccessSection) -> None:
        self._ranges = section.ranges
        self._observables = [
            make_observable(tools, each.observable, f"guide.success.ranges.{k}.observable")
            for k, each in enumerate(section.ranges)
        ]

    def judge(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        found = torch.ones(len(x), dtype=torch.bool)
        for observable, given in zip(self._observables, self._ranges, strict=True):
            found &= in_range(observable(x), given.low, given.high, observable.period)
        return {WANTED: found}


def in_range(
    values: Float[Tensor, " sample"], low: float, high: float, period: float | None
) -> Bool[Tensor, " sample"]:
    """Whether values lie in a range; that of a periodic quantity begins at `low` and goes up to `high`."""
    if period is None:
        return (values >= low) & (values <= high)
    width = (high - low) % period if high != low + period else period
    return (values - low).remainder(period) <= width
