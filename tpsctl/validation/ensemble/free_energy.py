"""The free energy along a reaction coordinate from an equilibrium simulation, and its highest value on paths.

F(q) = -kT ln p(q),      lowest value 0
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class FreeEnergy:
    """A free energy in bins of equal width.

    Attributes:
        edges: Limits of the bins, one more than bins.
        values: Free energy of every bin, kJ/mol, its lowest value 0; infinite where the simulation never was.
    """

    edges: Float[Tensor, " edge"]
    values: Float[Tensor, " bin"]

    def at(self, q: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The free energy of the bin that each value lies in, kJ/mol; infinite outside all bins."""
        bins = torch.bucketize(q, self.edges, right=True) - 1
        bins = torch.where(q == self.edges[-1], len(self.values) - 1, bins)
        inside = (bins >= 0) & (bins < len(self.values))
        return torch.where(inside, self.values[bins.clamp(0, len(self.values) - 1)], torch.inf)

    def barrier(self, low: float, high: float) -> float:
        """Highest free energy between two values of the coordinate, kJ/mol above the lower of the two states.

        The states lie below `low` and above `high`; each has its lowest bin's free energy.
        """
        centers = (self.edges[1:] + self.edges[:-1]) / 2
        between = (centers > low) & (centers < high)
        states = [self.values[centers <= low].min(), self.values[centers >= high].min()]
        return float(self.values[between].max() - torch.stack(states).min())


def free_energy(
    q: Float[Tensor, " frame"], *, bins: int, temperature_k: float, weights: Float[Tensor, " frame"] | None = None
) -> FreeEnergy:
    """F(q) on [0, 1] from equilibrium frames.

    Args:
        q: The coordinate of every frame, in [0, 1].
        bins: Number of bins.
        temperature_k: Temperature of the simulation, K.
        weights: Weight of every frame, for a simulation under a bias; equal weights if None.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=q.dtype)
    place = (torch.bucketize(q, edges, right=True) - 1).clamp(0, bins - 1)
    mass = torch.zeros(bins, dtype=q.dtype).index_add_(0, place, torch.ones_like(q) if weights is None else weights)
    values = -thermal_energy(temperature_k) * mass.log()
    return FreeEnergy(edges, values - values.min())
