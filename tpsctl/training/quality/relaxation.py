"""How strained the structures are that a prior prefers: relaxed frames against the data's own fluctuations.

A path runs along the valley of the landscape -log p at the noise width in use. There its bonds and angles have the
model's ideal values, and an error of the model in a stiff direction shows as a displacement from the data's mean. With

    z = (q - mean) / std          of every bond length and stiff angle q, mean and std those of the data,

a thermal frame has a mean square of z of 1, and a frame relaxed on the true landscape has almost 0. In a harmonic
molecule with n such degrees of freedom the strain energy of relaxed structures is n z^2 kT / 2.

Frames are relaxed down the score with steps of Barzilai and Borwein, each structure with its own step length.

Source: Barzilai and Borwein, IMA J. Numer. Anal. 8 (1988) 141.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.score.base import Score
from tpsctl.training.quality.distributions import internal_coordinates

_STEPS = 150
_FIRST_STEP_NM2 = 1e-6
_LONGEST_MOVE_NM = 0.005
"""Farthest move of a bead in one step, nm."""

_SMALLEST_STD = {"bonds": 1e-4, "angles": 1e-3}
"""Least standard deviation, nm or rad, so that constrained bonds give no infinite z."""

_STIFF_ANGLE_RAD = 0.15
"""Largest standard deviation of an angle that has one ideal value; angles of coarse-grained chains have several."""


def relaxed(score: Score, x: Float[Tensor, "frame bead 3"], steps: int = _STEPS) -> Float[Tensor, "frame bead 3"]:
    """Frames, nm, moved up a score, 1/nm, towards the nearest maximum of its density."""
    x = center(x)
    uphill = score(x)
    length = torch.full((len(x), 1, 1), _FIRST_STEP_NM2, dtype=x.dtype)
    for _ in range(steps):
        move = length * uphill
        farthest = move.norm(dim=-1).amax(1)[:, None, None]
        move = move * (_LONGEST_MOVE_NM / farthest.clamp_min(_LONGEST_MOVE_NM))
        after = score(x + move)
        bend = ((uphill - after) * move).sum((1, 2), keepdim=True)
        long = move.square().sum((1, 2), keepdim=True)
        length = torch.where(bend > 0, long / bend.clamp_min(torch.finfo(x.dtype).tiny), 2 * length)
        x, uphill = x + move, after
    return x


def strain(
    topology: Topology, structures: Float[Tensor, "structure bead 3"], data: Float[Tensor, "frame bead 3"]
) -> float:
    """Mean square of z over all bonds and stiff angles of structures; 1 for thermal frames, 0 for ideal ones."""
    found, reference = internal_coordinates(topology, structures), internal_coordinates(topology, data)
    squares = []
    for sort, least in _SMALLEST_STD.items():
        for here, there in zip(found.get(sort, []), reference.get(sort, []), strict=True):
            spread = there.values.std()
            if sort == "bonds" or spread <= _STIFF_ANGLE_RAD:
                z = (here.values - there.values.mean()) / spread.clamp_min(least)
                squares.append(z.square().mean())
    return float(torch.stack(squares).mean()) if squares else 0.0
