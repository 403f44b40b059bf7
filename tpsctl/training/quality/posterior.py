"""The score of noised data from the data themselves: the denoising posterior over all frames.

For data that are K frames x_i with weights w_i in every orientation R, noise of width sigma has the score

    s(y) = (E[R x | y] - y) / sigma^2 ,    p(i, R | y)  proportional to  w_i exp(-|y - R x_i|^2 / 2 sigma^2) .

The integral over R is taken by Laplace's method at the best superposition R_i, which is exact for sigma far below the
size of the molecule: frame i gets the factor det(tr S_i - S_i)^(-1/2) with S_i = sum_k y_k (R_i x_ik)^T, symmetric.

The average is self-normalized. It is a useful reference only where many frames take part in it: Kish's effective
number (sum p)^2 / sum p^2 has to be reported with it. It falls to 1 at widths below the distance of neighboring
frames, where s is the distance from the one nearest frame and says nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center

_PAIRS_AT_ONCE = 200_000
"""Largest number of pairs of structures that are superposed together."""


@dataclass(frozen=True)
class PosteriorScore:
    """Scores from the data with the effective number of frames behind each.

    Attributes:
        score: Scores, 1/nm.
        effective_frames: Kish's effective number of frames in each average.
    """

    score: Float[Tensor, "point bead 3"]
    effective_frames: Float[Tensor, " point"]


def denoising_posterior(
    y: Float[Tensor, "point bead 3"],
    frames: Float[Tensor, "frame bead 3"],
    width_nm: float,
    log_weights: Float[Tensor, " frame"] | None = None,
) -> PosteriorScore:
    """The score of noised data at y from all frames, nm to 1/nm.

    Args:
        y: Noised structures, nm.
        frames: Clean frames, nm; none of them should be the one that a y was made from.
        width_nm: Noise width, nm.
        log_weights: Logarithms of the weights of the frames; None for equal ones.
    """
    y, frames = center(y).double(), center(frames).double()
    prior = frames.new_zeros(len(frames)) if log_weights is None else log_weights.double()
    found = [_one(point, frames, width_nm, prior) for point in y]
    return PosteriorScore(torch.stack([s for s, _ in found]), torch.stack([n for _, n in found]))


def _one(y: Tensor, frames: Tensor, width_nm: float, prior: Tensor) -> tuple[Tensor, Tensor]:
    logs, turned = [], []
    for part in frames.split(max(1, _PAIRS_AT_ONCE // len(y))):
        u, values, vh = torch.linalg.svd(part.transpose(1, 2) @ y)
        sign = torch.linalg.det(u @ vh).sign()
        values = torch.cat((values[:, :2], (sign * values[:, 2]).unsqueeze(1)), 1)
        flip = torch.stack((torch.ones_like(sign), torch.ones_like(sign), sign), 1)
        x = part @ ((u * flip.unsqueeze(1)) @ vh)
        pairs = torch.stack((values[:, 0] + values[:, 1], values[:, 0] + values[:, 2], values[:, 1] + values[:, 2]), 1)
        spread = pairs.clamp_min(torch.finfo(y.dtype).tiny).log().sum(1)
        logs.append(-(x - y).square().sum((1, 2)) / (2 * width_nm**2) - 0.5 * spread)
        turned.append(x)
    weight = torch.softmax(torch.cat(logs) + prior, 0)
    mean = (weight[:, None, None] * torch.cat(turned)).sum(0)
    return (mean - y) / width_nm**2, 1 / weight.square().sum()
