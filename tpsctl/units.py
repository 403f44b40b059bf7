"""Units and constants: nm, ps, K, kJ/mol, amu everywhere inside tpsctl.

These are the units of OpenMM and MDTraj. They are coherent: kJ/mol = amu nm^2/ps^2,
so kT / (m gamma) with m in amu and gamma in 1/ps is a diffusion coefficient in nm^2/ps
without any factor.
"""

import math

from tpsctl.errors import TpsctlError

BOLTZMANN = 0.00831446261815324
"""Molar gas constant in kJ/mol/K (CODATA 2018, exact)."""

NM_PER_ANGSTROM = 0.1


def thermal_energy(temperature_k: float) -> float:
    """kT in kJ/mol for a temperature in K (> 0)."""
    _require_positive("temperature_k", temperature_k, "K")
    return BOLTZMANN * temperature_k


def diffusion_coefficient(mass_amu: float, friction_per_ps: float, temperature_k: float) -> float:
    """D = kT / (m gamma) in nm^2/ps (Einstein relation for a Langevin friction in 1/ps)."""
    _require_positive("mass_amu", mass_amu, "amu")
    _require_positive("friction_per_ps", friction_per_ps, "1/ps")
    return thermal_energy(temperature_k) / (mass_amu * friction_per_ps)


def _require_positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise TpsctlError(f"{name}: got {value} {unit}, expected a finite value > 0 ({unit}).")
