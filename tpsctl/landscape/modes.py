"""Normal modes of stationary points, and the harmonic free energies and rates that follow from them.

With K = M^(-1/2) H M^(-1/2) and its eigenvalues w_i^2 (1/ps^2) after rigid motions are projected out:

    wavenumber_i = w_i / (2 pi c)                                     cm^-1; negative for an unstable mode
    F = U + kT sum_i ln(w_i / w_0) - kT ln sqrt(I_a I_b I_c) - kT ln g      classical, w_0 = kT / hbar

The sum runs over the stable modes; I are the moments of inertia (only ratios matter between states of one
molecule), g is the number of equivalent copies of the state. With the harmonic saddle F_s (its unstable mode left
out) the rate constant of Eyring is

    k = (kT / h) exp(-(F_s - F_A) / kT)

It assumes classical harmonic vibrations, rigid rotation, no recrossing and equilibrium in A.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.rigid import RIGID_CURVATURE, no_basis, projected, rigid_basis
from tpsctl.units import thermal_energy

SPEED_OF_LIGHT_CM_PER_PS = 0.0299792458
PLANCK_KJ_PS_PER_MOL = 0.3990312712893431
"""h times Avogadro's number, kJ ps/mol (CODATA 2018, exact)."""

NOTICEABLE_WAVENUMBER = 1.0
"""Modes whose wavenumbers are within this of zero, cm^-1, count as neither stable nor unstable, because differences
of forces are not more accurate."""


@dataclass(frozen=True)
class Modes:
    """Vibrations of one stationary point.

    Attributes:
        wavenumbers: Wavenumbers in ascending order, cm^-1; negative for unstable modes.
        directions: The modes in mass-weighted coordinates, one per column.
        log_inertia: ln sqrt(I_a I_b I_c) over the moments that are not zero, amu nm^2; 0 without rotations.
    """

    wavenumbers: Float[Tensor, " mode"]
    directions: Float[Tensor, "n mode"]
    log_inertia: float

    @property
    def index(self) -> int:
        """Number of unstable modes."""
        return int((self.wavenumbers < -NOTICEABLE_WAVENUMBER).sum())

    def free_energy(self, energy: float, temperature_k: float, *, copies: int = 1) -> float:
        """Classical harmonic free energy, kJ/mol; the unstable modes of a saddle are left out.

        Args:
            energy: Potential energy, kJ/mol.
            temperature_k: Temperature, K.
            copies: Number g of equivalent states that are counted as one (degeneracy).
        """
        kt = thermal_energy(temperature_k)
        stable = self.wavenumbers[self.wavenumbers > NOTICEABLE_WAVENUMBER]
        thermal = kt / (PLANCK_KJ_PS_PER_MOL * SPEED_OF_LIGHT_CM_PER_PS)
        vibrations = float((stable / thermal).log().sum())
        return energy + kt * (vibrations - self.log_inertia - math.log(copies))


def normal_modes(
    x: Float[Tensor, "atom dim"], hessian: Float[Tensor, "n n"], masses_amu: Tensor, *, rigid_motions: bool
) -> Modes:
    """Vibrations at a configuration: 3 atom - 6 modes (3 atom - 5 if linear), or n modes without rigid motions.

    Args:
        x: The stationary point, nm.
        hessian: Second derivatives of the energy there, kJ/mol/nm^2.
        masses_amu: Mass of every atom, amu.
        rigid_motions: Whether the energy is invariant under translation and rotation.
    """
    basis = rigid_basis(x[None], masses_amu) if rigid_motions else no_basis(x[None])
    root = masses_amu.to(x).sqrt().repeat_interleave(x.shape[-1])
    weighted = projected((hessian / root / root[:, None])[None], basis)[0]
    values, vectors = torch.linalg.eigh(weighted)
    kept = values < RIGID_CURVATURE / 2
    squares = values[kept]
    omega = torch.sign(squares) * squares.abs().sqrt()
    wavenumbers = omega / (2 * math.pi * SPEED_OF_LIGHT_CM_PER_PS)
    return Modes(wavenumbers, vectors[:, kept], _log_inertia(x, masses_amu) if rigid_motions else 0.0)


def eyring_rate(free_energy_barrier: float, temperature_k: float) -> float:
    """Rate constant k = (kT/h) exp(-dF/kT), 1/ps, of Eyring's transition state theory.

    Args:
        free_energy_barrier: dF, kJ/mol.
        temperature_k: Temperature, K.

    Source: Eyring, J. Chem. Phys. 3 (1935) 107.
    """
    kt = thermal_energy(temperature_k)
    return kt / PLANCK_KJ_PS_PER_MOL * math.exp(-free_energy_barrier / kt)


def _log_inertia(x: Float[Tensor, "atom 3"], masses_amu: Tensor) -> float:
    m = masses_amu.to(x)
    arm = x - (m[:, None] * x).sum(0) / m.sum()
    second = (m[:, None] * arm).T @ arm
    moments = torch.linalg.eigvalsh(torch.eye(3).to(x) * second.trace() - second)
    present = moments[moments > 1e-9 * moments[-1].clamp_min(1e-30)]
    return float(present.log().sum() / 2)
