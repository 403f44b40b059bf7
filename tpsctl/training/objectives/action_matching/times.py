"""Times of a batch: evenly spread, denser where the loss varies more, with the density that makes up for it.

A batch takes u_n = (u_0 + sqrt(2) n) mod 1 with a random u_0. These numbers fill the interval more evenly than
independent ones, so that the mean over them varies less. They are carried to times by the inverse of the distribution
function of a density that is constant between knots. Its value there is proportional to the running standard
deviation of the loss, which is the best choice for means over strata (Neyman's allocation), plus one per cent of the
uniform density; a fraction of all times may be kept for the last tenth, next to the data. Every term of the loss is
divided by the density, so that its expectation stays the integral over time.

Source: Neklyudov et al., arXiv:2210.06662, appendix on adaptive time sampling; Neyman, J. R. Stat. Soc. 97 (1934) 558.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

KNOTS = 100
"""Number of knots, so that there are 99 intervals of constant density."""

_UNIFORM = 0.01
_DECAY = 0.99
"""Decay per step of the running moments of the loss."""

_ENOUGH = 20.0
"""Running number of values in an interval from which its standard deviation is used."""


class AdaptiveTimes:
    """Draws times in [0, 1] and learns from the losses where to draw more of them.

    Args:
        late: Fraction of all times that is drawn from the last tenth, whatever the losses.
    """

    def __init__(self, *, late: float = 0.0) -> None:
        last_tenth = (torch.arange(KNOTS - 1) >= round(0.9 * (KNOTS - 1))).double()
        self._late = late * last_tenth / last_tenth.mean()
        self._learned = 1 - late
        self._moments = torch.zeros(3, KNOTS - 1, dtype=torch.float64)  # running number, sum and sum of squares

    def density(self) -> Float[Tensor, " interval"]:
        """Density in each interval; its mean is 1."""
        return self._learned * self._by_spread() + self._late

    def _by_spread(self) -> Float[Tensor, " interval"]:
        """The density that follows the losses."""
        number, total, squares = self._moments
        known = number >= _ENOUGH
        if not bool(known.any()):
            return torch.ones(KNOTS - 1, dtype=torch.float64)
        mean = total / number.clamp_min(1)
        spread = (squares / number.clamp_min(1) - mean.square()).clamp_min(0).sqrt()
        spread = torch.where(known, spread, spread[known].mean())
        if float(spread.sum()) == 0:
            return torch.ones_like(spread)
        return (1 - _UNIFORM) * spread / spread.mean() + _UNIFORM

    def draw(self, count: int, generator: torch.Generator) -> tuple[Float[Tensor, " count"], Float[Tensor, " count"]]:
        """Times and their densities, float64."""
        density = self.density()
        edges = torch.cat((density.new_zeros(1), density.cumsum(0))) / density.sum()
        start = torch.rand(1, generator=generator, dtype=torch.float64)
        u = (start + math.sqrt(2) * torch.arange(count, dtype=torch.float64)) % 1
        interval = (torch.searchsorted(edges, u, right=True) - 1).clamp(0, KNOTS - 2)
        within = (u - edges[interval]) / (edges[interval + 1] - edges[interval])
        return (interval + within) / (KNOTS - 1), density[interval]

    def learn(self, t: Float[Tensor, " count"], losses: Float[Tensor, " count"]) -> None:
        """Move the running moments towards the losses of the last batch, undivided by the density."""
        interval = (t * (KNOTS - 1)).long().clamp(0, KNOTS - 2).cpu()
        values = losses.detach().double().cpu()
        added = torch.zeros_like(self._moments)
        for row, power in zip(added, (torch.ones_like(values), values, values.square()), strict=True):
            row.index_add_(0, interval, power)
        self._moments = _DECAY * self._moments + added

    @property
    def effective_fraction(self) -> float:
        """Effective number of times in a batch over their number, (sum 1/p)^2 / (n sum 1/p^2); 1 for even times."""
        return float(1 / self.density().reciprocal().mean())

    def store(self) -> Tensor:
        """The running moments."""
        return self._moments

    def restore(self, moments: Tensor) -> None:
        """Take over moments that `store` returned."""
        self._moments = moments.clone()
