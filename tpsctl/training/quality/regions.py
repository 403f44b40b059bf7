"""Where the data of a prior were, and how far its energies are from those of the force field there.

A prior can only know barriers that its data have crossed. The torsions of all training frames are covered by regions
(`tpsctl.molecule.torsion_cover`): a structure that lies in none of them is one that the prior has never seen.

Where the data have energies, the residual r = U_prior - U of held-out frames is averaged over each region. Noise of
stiff bonds averages out; what is left differs between two regions by the error of their energy difference, and hence
of a barrier between them. Frames of a biased simulation serve here as they are, since barriers are what counts.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.torsion_cover import TorsionCover, cover

LARGEST_RADIUS_DEG = 60.0
"""A cover that is coarser than this says nothing."""

LEAST_FRAMES = 20
"""Held-out frames of a region from which on its mean residual counts."""


@dataclass(frozen=True)
class RegionMeasures:
    """What is known of a prior region by region.

    Attributes:
        torsions: Names of the torsions.
        cover: The regions of the training frames.
        residual_kj_per_mol: Mean U_prior - U of the held-out frames of every region, from its mean over all regions,
            kJ/mol; not a number where there are too few frames. None if the data have no energies.
        error_kj_per_mol: The standard error of these means, by the spread within a region.
    """

    torsions: tuple[str, ...]
    cover: TorsionCover
    residual_kj_per_mol: Float[Tensor, " region"] | None
    error_kj_per_mol: Float[Tensor, " region"] | None

    @property
    def largest_error_kj_per_mol(self) -> float | None:
        """The largest error of the energy difference of two regions, kJ/mol; None if fewer than two are known."""
        if self.residual_kj_per_mol is None:
            return None
        known = self.residual_kj_per_mol[self.residual_kj_per_mol.isfinite()]
        if len(known) < 2:
            return None
        return float(known.max() - known.min())

    @property
    def words(self) -> str:
        """What to expect of barriers, in sentences that begin with a space; empty without energies."""
        error = self.largest_error_kj_per_mol
        if error is None:
            return ""
        return (
            f" Between regions of held-out frames, energy differences are wrong by up to {error:.2g} kJ/mol: expect as "
            "much of barriers, and more where there are no data."
        )

    def as_json(self) -> dict[str, Any]:
        """The measures in JSON values, for a model card; angles in degrees."""
        return {
            "torsions": list(self.torsions),
            "radius_deg": round(math.degrees(self.cover.radius), 2),
            "centers_deg": [[round(math.degrees(angle)) for angle in center] for center in self.cover.centers.tolist()],
            "largest_error_kj_per_mol": None
            if self.largest_error_kj_per_mol is None
            else float(f"{self.largest_error_kj_per_mol:.3g}"),
            "residual_kj_per_mol": _numbers(self.residual_kj_per_mol),
            "error_kj_per_mol": _numbers(self.error_kj_per_mol),
        }


def measure_regions(
    names: tuple[str, ...],
    training: Float[Tensor, "frame torsion"],
    held_out: Float[Tensor, "other torsion"],
    residual_kj_per_mol: Float[Tensor, " other"] | None,
) -> RegionMeasures | None:
    """Cover the training frames, and average the residuals of held-out frames over the regions.

    Args:
        names: Names of the torsions.
        training: Torsions of the training frames, rad.
        held_out: Torsions of the held-out frames, rad.
        residual_kj_per_mol: U_prior - U of the held-out frames, kJ/mol; None without energies.

    Returns:
        The measures; None if no cover of at most 400 regions is finer than 60 degrees.
    """
    found = cover(training)
    if found.radius > math.radians(LARGEST_RADIUS_DEG):
        return None
    if residual_kj_per_mol is None:
        return RegionMeasures(names, found, None, None)
    nearest, distance = found.nearest(held_out)
    mean, error = torch.full((2, len(found.centers)), math.nan, dtype=torch.float64)
    for region in range(len(found.centers)):
        values = residual_kj_per_mol[(nearest == region) & (distance <= found.radius)].double()
        if len(values) >= LEAST_FRAMES:
            mean[region], error[region] = values.mean(), values.std() / math.sqrt(len(values))
    return RegionMeasures(names, found, mean - mean.nanmean(), error)


def _numbers(values: Tensor | None) -> list[float | None] | None:
    return None if values is None else [None if math.isnan(value) else round(value, 3) for value in values.tolist()]
