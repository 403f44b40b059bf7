"""Exact equilibrium samples of a two-dimensional potential."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.units import thermal_energy


def boltzmann_points(
    potential: Callable[[Tensor], Tensor],
    *,
    box_nm: tuple[float, float],
    temperature_k: float,
    count: int,
    generator: torch.Generator,
    cells: int = 2000,
) -> Float[Tensor, "count 1 2"]:
    """Independent points with density exp(-U/kT) in a square, nm.

    The square is divided into a grid of cells. A cell is drawn with the Boltzmann weight of its center, and a point
    uniformly inside it, so the samples are exact up to the variation of U over one cell (1/`cells` of the square).
    """
    low, high = box_nm
    step = (high - low) / cells
    centers = low + step * (torch.arange(cells, dtype=torch.float64) + 0.5)
    grid = torch.stack(torch.meshgrid(centers, centers, indexing="ij"), dim=-1).reshape(-1, 1, 2)
    weight = torch.exp(-(potential(grid) - potential(grid).min()) / thermal_energy(temperature_k))
    cumulative = weight.cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    chosen = torch.searchsorted(cumulative, drawn).clamp(max=len(grid) - 1)
    within = torch.rand(count, 1, 2, generator=generator, dtype=torch.float64) - 0.5
    return grid[chosen] + step * within
