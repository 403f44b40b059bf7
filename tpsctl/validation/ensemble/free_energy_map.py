"""The free energy over two slow coordinates of a simulation.

F = -kT ln p(bin),      lowest value 0

A bin that the simulation never visited has an unknown free energy. It counts with that of a bin with a single frame,
which is the least that a longer simulation would find there.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class FreeEnergyMap:
    """A free energy in bins of equal size over two coordinates.

    Attributes:
        low: Lower edges of the map.
        width: Widths of a bin.
        values: Free energies, kJ/mol, the lowest 0; infinite where the simulation never was.
        floor: The least free energy of bins without frames, kJ/mol: that of one frame.
    """

    low: Float[Tensor, "2"]
    width: Float[Tensor, "2"]
    values: Float[Tensor, "bin bin"]
    floor: float

    def at(self, slow: Float[Tensor, "point dim"]) -> tuple[Float[Tensor, " point"], Bool[Tensor, " point"]]:
        """Free energy at points, kJ/mol, with the floor where it is unknown, and whether the simulation was there."""
        bins = ((_plane(slow) - self.low) / self.width).floor().long()
        inside = ((bins >= 0) & (bins < len(self.values))).all(1)
        bins = bins.clamp(0, len(self.values) - 1)
        values = torch.where(inside, self.values[bins[:, 0], bins[:, 1]], torch.inf)
        known = values.isfinite()
        return torch.where(known, values, torch.as_tensor(self.floor, dtype=values.dtype)), known


def free_energy_map(
    slow: Float[Tensor, "frame dim"], weights: Float[Tensor, " frame"], *, bins: int, temperature_k: float
) -> FreeEnergyMap:
    """The free energy over the first two slow coordinates; of a single one, over this one.

    Args:
        slow: Slow coordinates of all frames.
        weights: Weights of the frames in equilibrium.
        bins: Number of bins per coordinate.
        temperature_k: Temperature of the simulation, K.
    """
    plane = _plane(slow)
    low, high = plane.amin(0), plane.amax(0)
    width = ((high - low) / bins).clamp_min(1e-12) * (1 + 1e-9)
    place = ((plane - low) / width).floor().long().clamp(0, bins - 1)
    mass = torch.zeros(bins * bins, dtype=weights.dtype).index_add_(0, place[:, 0] * bins + place[:, 1], weights)
    mass = (mass / weights.sum()).view(bins, bins)
    kt = thermal_energy(temperature_k)
    values = -kt * mass.log()
    lowest = values.min()
    return FreeEnergyMap(low, width, values - lowest, float(kt * torch.tensor(float(len(slow))).log() - lowest))


def _plane(slow: Tensor) -> Float[Tensor, "point 2"]:
    """The first two coordinates; a missing second one is 0."""
    return torch.nn.functional.pad(slow, (0, max(0, 2 - slow.shape[1])))[:, :2]
