"""The guided reverse process, its excess work, and the weights that undo the guidance.

In y = x_t / alpha, data plus noise of width s, with tau = s^2, the process with score and term h draws q, without h it
draws p. Both start from the same noise. The excess work is what q costs above p, in nats:

    stochastic    W = KL(path of q | path of p) = 1/2 int E|h|^2 dtau        (1/2 int g^2 E|h|^2 dt in x_t: Girsanov)
    ODE           W = KL(q | p) at the end      = -1/2 int E[div h + h . score] dtau

Each sample has its own log q/p, of which W is the mean. For the stochastic process it is that of the Gaussian
transition kernels that are really drawn from: with the mean shifted by d and the variance v of the step,

    log q/p  +=  |d|^2 / (2 v) + d . z / v^(1/2) ,       d = s_i^2 (1 - r^2) h ,   v = s_{i+1}^2 (1 - r^2) ,

r = s_{i+1} / s_i; its mean over the noise z, |d|^2 / (2 v), is the step's part of W. A Langevin step between two widths
(`tpsctl.score.reverse_process`) has d = e h and v = 2 e. For the ODE, log q falls by div(score + h) along the guided
trajectory and log p by div(score) - h . score; this takes the score for the gradient of log p, as it is for diffused
data. The last, deterministic step to clean data is the same without guidance and costs nothing.

Weights exp(-log q/p) turn averages over guided samples into averages over the unguided ensemble.

Source: arXiv:2505.13375 (excess work; here g squared, and every schedule once); Girsanov's theorem.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.guidance.base import Guide, PotentialGuide
from tpsctl.score.likelihood import Diffusion, divergence
from tpsctl.score.reverse_process import CORRECTION, bounded, standard_normal


@dataclass(frozen=True)
class GuidedSamples:
    """What a guided process drew.

    Attributes:
        y: Clean configurations, in the length unit of the law, (sample, bead, dim).
        log_ratio: log q/p of each sample, nats, (sample,).
        work: The expected part of each step in the excess work, nats, at the configurations of each sample,
            (step, sample); for the ODE, the part of each step in log q/p. Step k leads from width k to width k + 1.
    """

    y: Float[Tensor, "sample bead dim"]
    log_ratio: Float[Tensor, " sample"]
    work: Float[Tensor, "step sample"]


def initial_noise(law: Diffusion, like: Float[Tensor, "sample bead dim"], generator: torch.Generator) -> Tensor:
    """Independent draws from the Gaussian law of the largest width, which the guidance does not change."""
    scale = (law.largest_width**2 + law.spread**2) ** 0.5
    return scale * standard_normal(like, generator, centered=law.centered)


def guided_diffusion(
    law: Diffusion,
    guide: Guide,
    y: Float[Tensor, "sample bead dim"],
    widths: list[float],
    generator: torch.Generator,
    *,
    corrections: int = 0,
) -> GuidedSamples:
    """Draw by the stochastic process with guidance.

    Args:
        law: The diffused law of a model.
        guide: The term that is added to its score.
        y: Configurations at the largest width (`initial_noise`).
        widths: Descending noise widths.
        generator: Source of the noise, on the CPU.
        corrections: Number of guided Langevin steps at every width; each costs work, too.
    """
    ledger = _Ledger(law, guide, generator, len(y))
    for here, there in zip(widths[:-1], widths[1:], strict=True):
        kept = 1 - (there / here) ** 2
        y = ledger.step(y, here, drift=here**2 * kept, variance=there**2 * kept)
        for _ in range(corrections):
            length = CORRECTION * there**2
            y = ledger.step(y, there, drift=length, variance=2 * length, same=True)
    return GuidedSamples(_clean(law, y, widths[-1]), ledger.log_ratio, torch.stack(ledger.work))


def guided_flow(
    law: Diffusion, guide: PotentialGuide, y: Float[Tensor, "sample bead dim"], widths: list[float]
) -> GuidedSamples:
    """Draw by the probability-flow ODE with guidance, in classical Runge-Kutta steps of log(s); see `guided_diffusion`.

    The divergence of h is exact, which takes as many products with its Jacobian as there are coordinates.
    """
    work = []
    for here, there in zip(widths[:-1], widths[1:], strict=True):
        h = float(torch.tensor(there / here, dtype=torch.float64).log())
        middle = (here * there) ** 0.5
        k1, w1 = _flow(law, guide, y, here)
        k2, w2 = _flow(law, guide, y + h / 2 * k1, middle)
        k3, w3 = _flow(law, guide, y + h / 2 * k2, middle)
        k4, w4 = _flow(law, guide, y + h * k3, there)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        work.append(h / 6 * (w1 + 2 * w2 + 2 * w3 + w4))
    gained = torch.stack(work).double()
    return GuidedSamples(_clean(law, y, widths[-1]), gained.sum(0), gained)


class _Ledger:
    """Takes steps of the guided process, and keeps the books of its work."""

    def __init__(self, law: Diffusion, guide: Guide, generator: torch.Generator, count: int) -> None:
        self._law, self._guide, self._generator = law, guide, generator
        self.log_ratio = torch.zeros(count, dtype=torch.float64)
        self.work: list[Tensor] = []

    def step(self, y: Tensor, width: float, *, drift: float, variance: float, same: bool = False) -> Tensor:
        """One Gaussian step; `same` adds its work to that of the step before."""
        score, h = self._guide.guided(self._law.score_at(width), y, width)
        h = bounded(center(h) if self._law.centered else h, width)
        noise = standard_normal(y, self._generator, centered=self._law.centered)
        shift = drift / variance**0.5 * h.double()
        cost = (shift.square().sum((1, 2)) / 2).cpu()
        self.log_ratio = self.log_ratio + cost + (shift * noise.double()).sum((1, 2)).cpu()
        self.work[-1:] = [self.work[-1] + cost] if same else [*self.work[-1:], cost]
        y = y + drift * (bounded(score, width) + h) + variance**0.5 * noise
        return center(y) if self._law.centered else y


def _flow(law: Diffusion, guide: PotentialGuide, y: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """dy/dlog(s), and the derivative of log q/p by log(s)."""
    score, addition = law.score_at(width)(y), guide.at(width)
    h = addition(y)
    rate = divergence(addition, y) + (h * score).sum((1, 2))
    return -(width**2) * (score + h), width**2 * rate


def _clean(law: Diffusion, y: Tensor, width: float) -> Tensor:
    y = y + width**2 * bounded(law.score_at(width)(y), width)
    return center(y) if law.centered else y
