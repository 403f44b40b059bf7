"""Minima reached by hot dynamics: Langevin dynamics on the energy surface at a temperature at which barriers are low.

The integrator is BAOAB,

    v <- v - (h/2) g/m,   x <- x + (h/2) v,   v <- c v + sqrt((1 - c^2) kT/m) xi,
    x <- x + (h/2) v,     v <- v - (h/2) g/m,

with c = exp(-friction h) and xi normal random numbers, and every atom weighs at least 4 amu, so that the step can be
2 fs: which minima are reached does not depend on how fast hydrogens vibrate. At the end the energy is minimized.
Bonds hold at this temperature on a force field; a run on a learned landscape that leaves the molecules it was trained
on is given up, which shows in a bond that is too long.

Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (BAOAB).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.surface import Surface
from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class HotSettings:
    """How hot and how long.

    Attributes:
        temperature_k: Temperature, K.
        steps: Number of steps.
        step_ps: Time step, ps.
        friction_per_ps: Friction, 1/ps.
        least_mass_amu: Lighter atoms get this mass, amu.
        longest: Most that a bond may be longer than at the start, as a factor.
    """

    temperature_k: float = 1000.0
    steps: int = 500
    step_ps: float = 0.002
    friction_per_ps: float = 5.0
    least_mass_amu: float = 4.0
    longest: float = 1.5


def hot_minima(
    surface: Surface,
    coordinates: Coordinates,
    start: Float[Tensor, "batch atom dim"],
    bonds: Sequence[tuple[int, int]],
    generators: Sequence[torch.Generator],
    settings: HotSettings | None = None,
) -> list[tuple[Tensor, float] | None]:
    """The minimum (nm, kJ/mol) that each run of hot dynamics falls into; None where it lost a bond or found none.

    Args:
        surface: The energy.
        coordinates: Turns the steps of the minimization into configurations.
        start: Where the runs begin, nm.
        bonds: Pairs of bonded atoms.
        generators: Source of randomness of each run.
        settings: How hot and how long; None for the defaults.
    """
    settings = settings or HotSettings()
    x = run_hot(surface, start, generators, settings)
    first, second = torch.tensor(bonds, dtype=torch.long).reshape(-1, 2).T
    before, after = ((y[:, first] - y[:, second]).norm(dim=-1) for y in (start, x))
    whole = (after < settings.longest * before).all(1)
    found: list[tuple[Tensor, float] | None] = [None] * len(x)
    rows = whole.nonzero()[:, 0].tolist()
    if rows:
        minima = minimize(surface, x[whole], coordinates)
        for k, row in enumerate(rows):
            if bool(minima.converged[k]):
                found[row] = minima.x[k], float(minima.energy[k])
    return found


def run_hot(
    surface: Surface,
    x: Float[Tensor, "batch atom dim"],
    generators: Sequence[torch.Generator],
    settings: HotSettings,
) -> Float[Tensor, "batch atom dim"]:
    """Positions, nm, at the end of the dynamics; not a number in runs whose forces became unknown."""
    mass = surface.masses_amu.clamp_min(settings.least_mass_amu).to(x)[:, None]
    h, kt = settings.step_ps, thermal_energy(settings.temperature_k)
    keep = math.exp(-settings.friction_per_ps * h)
    kick = (kt / mass).sqrt()

    def normal() -> Tensor:
        return torch.stack([torch.randn(x[0].shape, generator=g, dtype=torch.float64) for g in generators]).to(x)

    v = kick * normal()
    gradient = surface.energy_gradient(x)[1]
    for _ in range(settings.steps):
        v = v - h / 2 * gradient / mass
        x = x + h / 2 * v
        v = keep * v + math.sqrt(1 - keep**2) * kick * normal()
        x = x + h / 2 * v
        gradient = surface.energy_gradient(x)[1]
        v = v - h / 2 * gradient / mass
    return x
