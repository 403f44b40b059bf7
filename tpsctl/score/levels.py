"""The discrete noise levels of published diffusion models, as a schedule and as tables.

At level i of n a configuration is x_i = sqrt(ac_i) x_0 + sqrt(1 - ac_i) eps, ac_i = prod_{j <= i} (1 - beta_j), with

    beta_i = min(0.999, 1 - f(i+1)/f(i)) ,      f(i) = cos^2( (i/n + s)/(1 + s) pi/2 ) ,  s = 0.008

tpsctl's diffusion time is t = i/n: level 20 of 1000 is t = 0.02. Between levels the tables are interpolated linearly,
and t above (n - 1)/n is the last level. A checkpoint stores its tables in single precision; they are used as stored.

Source: Ho et al., arXiv:2006.11239, eqs. 4 to 7; Nichol and Dhariwal, arXiv:2102.09672, eq. 17.
"""

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.score.schedule import NoiseSchedule

TABLES = (
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_log_variance_clipped",
)
"""Names of the tables of a checkpoint that tpsctl uses."""


def cosine_tables(levels: int, *, offset: float = 0.008, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The `TABLES` of the cosine schedule, (level,) each.

    Args:
        levels: Number of levels n.
        offset: s of the cosine law.
        dtype: Precision in which the tables are computed and returned.

    Source: Nichol and Dhariwal, arXiv:2102.09672, eq. 17.
    """
    place = torch.linspace(0, levels, levels + 1, dtype=dtype)
    f = torch.cos((place / levels + offset) / (1 + offset) * math.pi * 0.5) ** 2
    f = f / f[0]
    betas = (1 - f[1:] / f[:-1]).clamp(0, 0.999)
    cumprod = torch.cumprod(1 - betas, dim=0)
    before = torch.cat([torch.ones(1, dtype=dtype), cumprod[:-1]])
    variance = betas * (1 - before) / (1 - cumprod)
    return {
        "sqrt_alphas_cumprod": cumprod.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - cumprod).sqrt(),
        "sqrt_recip_alphas_cumprod": (1 / cumprod).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / cumprod - 1).sqrt(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - cumprod),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - cumprod),
        "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
    }


class Levels(NoiseSchedule):
    """The schedule that a checkpoint's tables define, in the length unit of its network.

    Args:
        tables: The `TABLES`, (level,) each; sqrt(ac_i) falls and sqrt(1 - ac_i) rises with the level.

    Attributes:
        tables: The given tables in float64.

    Raises:
        PriorError: The noise does not rise from level to level.
    """

    name: ClassVar[str] = "levels"

    def __init__(self, tables: dict[str, Tensor]) -> None:
        self.tables = {name: table.double() for name, table in tables.items()}
        self._alphas: Float[Tensor, " level"] = self.tables["sqrt_alphas_cumprod"]
        self._sigmas: Float[Tensor, " level"] = self.tables["sqrt_one_minus_alphas_cumprod"]
        rising = (self._sigmas / self._alphas).diff() > 0
        if not (len(self._alphas) == len(self._sigmas) >= 2 and bool(rising.all()) and float(self._sigmas[0]) > 0):
            raise PriorError("noise tables: expected noise that rises from level to level. The checkpoint is damaged.")

    def __len__(self) -> int:
        """Number of levels."""
        return len(self._alphas)

    def alpha(self, t: Tensor) -> Tensor:
        return self._interpolate(self._alphas, t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        return self._interpolate(self._sigmas, t)[0]

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self._interpolate(self._alphas, t)[1]

    def sigma_dot(self, t: Tensor) -> Tensor:
        return self._interpolate(self._sigmas, t)[1]

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        alphas, sigmas = self._alphas.to(relative_sigma), self._sigmas.to(relative_sigma)
        low = (torch.searchsorted(sigmas / alphas, relative_sigma.contiguous()) - 1).clamp(0, len(alphas) - 2)
        # sigma - r alpha is linear between two levels, and zero at the wanted place
        before = sigmas[low] - relative_sigma * alphas[low]
        after = sigmas[low + 1] - relative_sigma * alphas[low + 1]
        return (low + (before / (before - after)).clamp(0, 1)) / len(alphas)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "levels": len(self._alphas)}

    def _interpolate(self, table: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slope (per unit t) at t; exactly the table's entry at t = i/levels."""
        table, n = table.to(t), len(table)
        place = (t * n).clamp(0, n - 1)
        place = torch.where((place - place.round()).abs() < 1e-9 * n, place.round(), place)
        low = place.floor().long().clamp(max=n - 2)
        step = table[low + 1] - table[low]
        value = torch.where(place == low + 1, table[low + 1], table[low] + (place - low) * step)
        return value, step * n
