"""The collective variables in which an ensemble of paths is described: the turning torsions, or coordinates."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import dihedral, superpose
from tpsctl.molecule.torsions import Torsion


def torsions_of(torsions: Sequence[Torsion]) -> Callable[[Tensor], Tensor]:
    """Torsions (frame, torsion) of frames, rad."""
    atoms = torch.tensor([torsion.atoms for torsion in torsions])
    return lambda frames: dihedral(frames, atoms)


def coordinates_of(path: Float[Tensor, "image bead dim"]) -> Callable[[Tensor], Tensor]:
    """All coordinates (frame, bead * dim), nm; of a molecule, after superposition on the first image of a path."""
    reference = path[0]
    if path.shape[2] < 3 or path.shape[1] < 3:
        return lambda frames: frames.flatten(1)
    return lambda frames: superpose(frames, reference.expand_as(frames)).flatten(1)


def straight_torsions(angles: Float[Tensor, "image torsion"]) -> Float[Tensor, "image torsion"]:
    """The straight line between the first and the last torsions, the short way round, rad, with as many images."""
    change = (angles[-1] - angles[0] + math.pi).remainder(2 * math.pi) - math.pi
    return angles[0] + torch.linspace(0, 1, len(angles), dtype=angles.dtype).unsqueeze(1) * change
