"""Path collective variables: progress s along reference structures, and distance z from them.

    s(x) = sum_i i exp(-lambda d_i^2) / sum_i exp(-lambda d_i^2),   i = 1 .. n
    z(x) = -(1/lambda) ln sum_i exp(-lambda d_i^2)

d_i is the root-mean-square deviation from reference i after superposition. The references must be equally far from
their neighbors, and lambda = 2.3 / <d^2 of neighbors>, so that a neighbor weighs a tenth.

Source: Branduardi, Gervasio, Parrinello, J. Chem. Phys. 126 (2007) 054103, eqs. 8 and 9; PLUMED's PATHMSD.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import rmsd, superpose

WEIGHT_OF_NEIGHBOR = 2.3
"""lambda times the mean squared distance of neighbors: exp(-2.3) is 0.1."""

_ROUNDS = 500
_EVEN = 1e-6


def progress_and_distance(
    x: Float[Tensor, "frame atom 3"], references: Float[Tensor, "reference atom 3"], lambda_per_nm2: float
) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
    """s, from 1 to n, and z, nm^2, of every frame (nm).

    Args:
        x: Positions of the atoms of the references, nm.
        references: The reference structures, nm.
        lambda_per_nm2: lambda, 1/nm^2.
    """
    count = len(references)
    pairs = (len(x), count, *x.shape[1:])
    squared = rmsd(x.unsqueeze(1).expand(pairs), references.unsqueeze(0).expand(pairs)).square()
    weights = torch.softmax(-lambda_per_nm2 * squared, dim=1)
    s = (weights * torch.arange(1, count + 1, dtype=x.dtype)).sum(1)
    return s, -torch.logsumexp(-lambda_per_nm2 * squared, dim=1) / lambda_per_nm2


def lambda_of(references: Float[Tensor, "reference atom 3"]) -> float:
    """lambda for these references, 1/nm^2."""
    return WEIGHT_OF_NEIGHBOR / float(rmsd(references[:-1], references[1:]).square().mean())


def equidistant(x: Float[Tensor, "image atom 3"], count: int) -> Float[Tensor, "reference atom 3"]:
    """Structures on a path that are equally far from their neighbors after superposition; the ends are its ends.

    Between images the path is the straight line of the superposed structures.

    Args:
        x: The path, nm.
        count: Number of structures, at least 2.
    """
    curve = x.clone()
    for k in range(1, len(curve)):
        curve[k] = superpose(curve[k], curve[k - 1])
    length = _along(curve)
    place = _inverse(length, torch.linspace(0, float(length[-1]), count, dtype=x.dtype))
    for _ in range(_ROUNDS):
        covered = _along(_at(curve, place))
        steps = covered.diff()
        if float(steps.max() - steps.min()) <= _EVEN * float(steps.mean()):
            break
        even = torch.linspace(0, float(covered[-1]), count, dtype=x.dtype)
        place = _interpolated(covered, place, even)
    return _at(curve, place)


def _along(x: Float[Tensor, "image atom 3"]) -> Float[Tensor, " image"]:
    """Sum of the distances of neighbors up to each structure, nm."""
    return torch.cat((torch.zeros(1, dtype=x.dtype), rmsd(x[:-1], x[1:]).cumsum(0)))


def _inverse(length: Float[Tensor, " image"], wanted: Float[Tensor, " reference"]) -> Float[Tensor, " reference"]:
    """Places on the curve, in images, at which these lengths are covered."""
    return _interpolated(length, torch.arange(len(length), dtype=length.dtype), wanted)


def _interpolated(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """The values y, known at ascending x, between them."""
    upper = torch.searchsorted(x.contiguous(), at.contiguous()).clamp(1, len(x) - 1)
    span = (x[upper] - x[upper - 1]).clamp_min(1e-30)
    weight = ((at - x[upper - 1]) / span).clamp(0, 1)
    return y[upper - 1] + weight * (y[upper] - y[upper - 1])


def _at(curve: Float[Tensor, "image atom 3"], place: Float[Tensor, " reference"]) -> Float[Tensor, "reference atom 3"]:
    """Structures at these places of the curve."""
    lower = place.floor().long().clamp(0, len(curve) - 2)
    weight = (place - lower)[:, None, None]
    return curve[lower] + weight * (curve[lower + 1] - curve[lower])
