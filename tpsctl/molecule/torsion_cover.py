"""A cover of structures by regions of their torsions, to tell whether another structure is like any of them.

Regions are balls on the torus in the metric of the largest angular difference. Their centers are structures chosen
farthest-first (Gonzalez, Theor. Comput. Sci. 38 (1985) 293): each is the one
that is farthest from all centers before it. Every structure lies within the radius from a center.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST_REGIONS, RADIUS_DEG = 400, 30.0
"""Regions are added until their radius is below this one, or until there are so many."""


@dataclass(frozen=True)
class TorsionCover:
    """Regions that cover all frames.

    Attributes:
        centers: Torsions of the centers, rad.
        radius: Largest distance of a frame from the nearest center, rad.
    """

    centers: Float[Tensor, "region torsion"]
    radius: float

    def nearest(self, angles: Float[Tensor, "frame torsion"]) -> tuple[Int[Tensor, " frame"], Float[Tensor, " frame"]]:
        """The nearest center of every frame, and its distance, rad."""
        distance = torch.stack([torus_distance(angles, center) for center in self.centers])
        found = distance.min(0)
        return found.indices, found.values


def torus_distance(
    angles: Float[Tensor, "frame torsion"], center: Float[Tensor, " torsion"]
) -> Float[Tensor, " frame"]:
    """Largest difference of all torsions from those of a center, rad, between 0 and pi."""
    return (torch.remainder(angles - center + math.pi, 2 * math.pi) - math.pi).abs().amax(1)


def cover(
    angles: Float[Tensor, "frame torsion"], *, radius: float = math.radians(RADIUS_DEG), most: int = MOST_REGIONS
) -> TorsionCover:
    """Cover frames by as few regions as farthest-first choice needs for a radius, rad, but at most so many."""
    distance, chosen = torch.full_like(angles[:, 0], math.inf), [0]
    while True:
        distance = torch.minimum(distance, torus_distance(angles, angles[chosen[-1]]))
        farthest = int(distance.argmax())
        if float(distance[farthest]) <= radius or len(chosen) == most:
            return TorsionCover(angles[chosen], float(distance[farthest]))
        chosen.append(farthest)
