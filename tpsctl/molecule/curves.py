"""Curves through configurations: lengths, directions, and images at equal distances along them.

A curve is a row of images x_0 ... x_L joined by straight lines. Distances are taken in y = root * x, where `root` is a
scale for the coordinates of each atom: 1 for plain distances, sqrt(m) for mass-weighted ones, 1/sqrt(D) for those in
which a diffusing molecule is equally fast in all directions.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def gaps(x: Float[Tensor, "path image atom dim"]) -> Float[Tensor, "path gap"]:
    """Distances of neighboring images, at least 1e-12."""
    return (x[:, 1:] - x[:, :-1]).flatten(2).norm(dim=2).clamp_min(1e-12)


def tangents(x: Float[Tensor, "path image atom dim"]) -> Float[Tensor, "path image n"]:
    """Unit vectors from the image before to the image after each image; one-sided at the ends."""
    flat = x.flatten(2)
    ahead = torch.cat((flat[:, 1:], flat[:, -1:]), 1) - torch.cat((flat[:, :1], flat[:, :-1]), 1)
    return ahead / ahead.norm(dim=2, keepdim=True).clamp_min(1e-30)


def respaced(x: Float[Tensor, "path image atom dim"], root: Float[Tensor, "atom 1"]) -> Tensor:
    """The same curves with as many images at equal distances; the ends stay bit-identical.

    The result depends differentiably on x, except where an image passes a corner of the old curve.

    Args:
        x: Curves, nm.
        root: Scale of each atom's coordinates in distances.
    """
    flat, count = x.flatten(2), x.shape[1]
    length = gaps(x * root)
    along = torch.cat((torch.zeros_like(length[:, :1]), length.cumsum(1)), 1)
    wanted = torch.linspace(0, 1, count, dtype=x.dtype, device=x.device) * along[:, -1:]
    upper = torch.searchsorted(along.detach().contiguous(), wanted.detach().contiguous()).clamp(1, count - 1)
    span = (along.gather(1, upper) - along.gather(1, upper - 1)).clamp_min(1e-30)
    weight = ((wanted - along.gather(1, upper - 1)) / span).unsqueeze(2)
    before = flat.gather(1, (upper - 1).unsqueeze(2).expand_as(flat))
    behind = flat.gather(1, upper.unsqueeze(2).expand_as(flat))
    inner = (before + weight * (behind - before))[:, 1:-1]
    return torch.cat((flat[:, :1], inner, flat[:, -1:]), 1).reshape(x.shape)
