"""Whether the ends of paths are minima of an energy landscape, and the minima below them if they are not.

Structure files round coordinates, which gives stiff bonds a force of tens of kJ/mol/nm and an energy of hundredths of
kJ/mol. So an end counts as a minimum if the minimum below it is near in energy and structure, whatever the force.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.stationary import curvatures, evaluate
from tpsctl.molecule.geometry import rmsd
from tpsctl.validation.saddle import TopJudge

SAME_KJ_PER_MOL = 0.5
"""Largest energy of an end above its minimum, kJ/mol; rounding to 1e-4 nm costs 60 atoms 0.1 kJ/mol."""

SAME_NM = 0.01
"""Largest root-mean-square distance per atom of an end from its minimum, nm."""


@dataclass(frozen=True)
class EndReport:
    """An end and the minimum below it.

    Attributes:
        name: "A" or "B".
        gradient_kj_per_mol_per_nm: |grad U| at the end.
        lowest_curvature_kj_per_mol_nm2: Lowest curvature at the end, without rigid motions.
        found: Whether a minimum was found.
        energy_kj_per_mol: Energy of the end above this minimum.
        distance_nm: Root-mean-square distance per atom from it.
    """

    name: str
    gradient_kj_per_mol_per_nm: float
    lowest_curvature_kj_per_mol_nm2: float
    found: bool
    energy_kj_per_mol: float
    distance_nm: float

    @property
    def is_minimum(self) -> bool:
        """Whether the end is the minimum, up to the rounding of coordinates in files."""
        return self.found and self.energy_kj_per_mol <= SAME_KJ_PER_MOL and self.distance_nm <= SAME_NM

    @property
    def words(self) -> str:
        """The end in words; a remedy follows if it is no minimum."""
        size = f"|grad U| {self.gradient_kj_per_mol_per_nm:.3g} kJ/mol/nm"
        size += f", lowest curvature {self.lowest_curvature_kj_per_mol_nm2:.3g} kJ/mol/nm^2"
        if not self.found:
            return f"{self.name}: {size}; no minimum was found below it. Look for clashes and at the force field"
        below = f"{self.energy_kj_per_mol:.2f} kJ/mol lower, {self.distance_nm:.4f} nm away (rms per atom)"
        if self.is_minimum:
            return f"{self.name} is a minimum ({size}; the exact one is {below})"
        return f"{self.name} is no minimum ({size}; its minimum is {below}). Set endpoints.minimize: true"


def report_ends(judge: TopJudge, ends: Float[Tensor, "2 atom dim"]) -> tuple[EndReport, EndReport]:
    """Compare both ends, nm, with the minima below them on a landscape that was made with these ends."""
    energy, gradient = evaluate(judge.surface, ends)
    if not bool(torch.isfinite(energy).all()):
        lowest = torch.full_like(energy, torch.nan)
    else:
        lowest = curvatures(judge.surface, ends, judge.surface.hessian(ends))[0][:, 0]
    minima = judge.minima_of_ends
    away = rmsd(minima.x, ends)
    first, second = (
        EndReport(
            name=name,
            gradient_kj_per_mol_per_nm=float(gradient[k].norm()),
            lowest_curvature_kj_per_mol_nm2=float(lowest[k]),
            found=bool(minima.converged[k]),
            energy_kj_per_mol=float(energy[k] - minima.energy[k]),
            distance_nm=float(away[k]),
        )
        for k, name in enumerate("AB")
    )
    return first, second
