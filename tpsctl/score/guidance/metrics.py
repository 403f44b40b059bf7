"""How near configurations are to guides: after superposition, or in torsions.

    superposed   |y - R g|^2 summed over coordinates, least over rotations R, and over translations for molecules
    torsions     sum over torsions of 2 - 2 cos(difference), rad^2, which is the squared difference where that is small

A kernel in all coordinates of a molecule drives every coordinate to the guides, and the work of that grows with their
number. A kernel in torsions drives what turns, and leaves bonds, angles and the other torsions as the model has them.

Source: Kabsch, Acta Cryst. A 32 (1976) 922 (superposition); Mardia and Jupp, Directional Statistics (2000), sec. 3.5
(kernels on a circle).
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center, dihedral


class KernelMetric(ABC):
    """Squared distances of configurations from guides.

    Attributes:
        features: Number of coordinates or angles over which squared distances are summed.
        is_length: Whether distances have the unit of the configurations; else they are in rad.
    """

    features: int
    is_length: bool

    @abstractmethod
    def squared(
        self, y: Float[Tensor, "batch bead dim"], guides: Float[Tensor, "guide bead dim"]
    ) -> Float[Tensor, "batch guide"]:
        """The squared distances, differentiable by y."""


class Superposition(KernelMetric):
    """Coordinates, of molecules after superposition.

    Args:
        features: Number of coordinates.
        superposed: Whether configurations are molecules, which are centered and may turn.
    """

    is_length = True

    def __init__(self, features: int, *, superposed: bool) -> None:
        self.features, self._superposed = features, superposed

    def squared(self, y: Tensor, guides: Tensor) -> Tensor:
        return squared_distances(y, guides, superposed=self._superposed)


class InTorsions(KernelMetric):
    """Torsions.

    Args:
        atoms: The four atoms of every torsion.
    """

    is_length = False

    def __init__(self, atoms: Tensor) -> None:
        self.features, self._atoms = len(atoms), atoms

    def squared(self, y: Tensor, guides: Tensor) -> Tensor:
        change = dihedral(y, self._atoms).unsqueeze(1) - dihedral(guides, self._atoms)
        return (2 - 2 * change.cos()).sum(-1)


def squared_distances(
    y: Float[Tensor, "batch bead dim"], guides: Float[Tensor, "guide bead dim"], *, superposed: bool
) -> Float[Tensor, "batch guide"]:
    """Squared distances, summed over coordinates; of molecules after superposition without reflection.

    Since d^2 = |y|^2 + |g|^2 - 2 (c_1 + c_2 +- c_3) with the singular values c of g^T y, no rotation has to be
    differentiated; the sign is that of the determinant.
    """
    if not superposed:
        return (y.unsqueeze(1) - guides).square().sum((2, 3))
    y, guides = center(y), center(guides)
    covariance = torch.einsum("nai,gaj->ngij", y, guides)
    overlap = torch.linalg.svdvals(covariance)
    handedness = torch.linalg.det(covariance.detach()).sign().unsqueeze(-1)  # constant wherever it has a gradient
    handed = torch.cat((overlap[..., :2], overlap[..., 2:] * handedness), -1)
    sizes = y.square().sum((1, 2)).unsqueeze(1) + guides.square().sum((1, 2))
    return (sizes - 2 * handed.sum(-1)).clamp_min(0)
