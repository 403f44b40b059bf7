"""Well-tempered metadynamics with several walkers, and the frozen bias that it ends with.

Every `hill_interval_ps` a walker adds a Gaussian at its dihedrals theta, of height

    h exp(-V(theta) / ((gamma - 1) kT)),

so that V converges to -(1 - 1/gamma) F (gamma = bias factor, F = free energy); under the frozen V the
molecule samples the free energy F/gamma. Of a bias with several grids (`parallel_bias`) every grid gets a hill.

Walkers run in rounds: within a round each walker sees the common bias and its own hills; after the round the hills of
all walkers are added to the common bias. A round depends on nothing but the state before it, so the run can be resumed,
and its result does not depend on how the walkers are scheduled.

The frozen bias follows F only up to a smooth cap,  F_c = -w log(exp(-F/w) + exp(-cap/w)),  so regions
whose free energy lies above the cap (clashes of atoms) stay forbidden.

Source: Barducci, Bussi, Parrinello, Phys. Rev. Lett. 100 (2008) 020603.
"""

from dataclasses import dataclass

import numpy as np
import torch

from tpsctl.simulation.bias import BiasGrid
from tpsctl.simulation.engine import Engine, PhaseState, Thermostat
from tpsctl.simulation.parallel_bias import Bias
from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class Hills:
    """Height h in kJ/mol, width (standard deviation) in rad, time between hills in ps, bias factor gamma > 1."""

    height_kj_per_mol: float
    width_rad: float
    interval_ps: float
    bias_factor: float


def run_walker(
    system_xml: str,
    bias: Bias,
    start: PhaseState,
    thermostat: Thermostat,
    hills: Hills,
    *,
    duration_ps: float,
    seed: int,
    platform: str,
) -> tuple[tuple[np.ndarray, ...], PhaseState]:
    """Run one walker for one round.

    Returns:
        The sum of the hills that it added, on every grid of the bias, kJ/mol; and its positions and velocities at the
        end.
    """
    engine = Engine(system_xml, bias, thermostat, seed=seed, platform=platform)
    engine.set_state(start)
    interval = max(1, round(hills.interval_ps / thermostat.dt_ps))
    current = bias
    for _ in range(round(duration_ps / (interval * thermostat.dt_ps))):
        engine.step(interval)
        current = _with_hill(current, torch.as_tensor(engine.state().x), hills, thermostat)
        engine.set_bias(current)
    added = tuple(after.values - before.values for after, before in zip(current.grids, bias.grids, strict=True))
    return added, engine.state()


def free_energy(bias: BiasGrid, bias_factor: float) -> np.ndarray:
    """Free energy F = -V / (1 - 1/gamma) on the grid from a converged bias V, kJ/mol; its lowest value is 0."""
    surface = -bias.values * bias_factor / (bias_factor - 1)
    return surface - surface.min()


def freeze(bias: Bias, bias_factor: float, *, cap_kj_per_mol: float, cap_width_kj_per_mol: float) -> Bias:
    """The bias with -(1 - 1/gamma) F_c on every grid, F_c its smoothly capped free energy; 0 where F is lowest."""
    w, frozen = cap_width_kj_per_mol, []
    for grid in bias.grids:
        capped = -w * np.logaddexp(-free_energy(grid, bias_factor) / w, -cap_kj_per_mol / w)
        values = -(1 - 1 / bias_factor) * capped
        frozen.append(values - values.max())
    return bias.with_values(frozen)


def _with_hill(bias: Bias, x: torch.Tensor, hills: Hills, thermostat: Thermostat) -> Bias:
    """The bias with one more hill on every grid at a configuration (bead, 3), nm."""
    pairs = zip(bias.grids, bias.shares(x), strict=True)
    return bias.with_values(
        [grid.values + share * _hill(grid, grid.angles(x), hills, thermostat) for grid, share in pairs]
    )


def _hill(bias: BiasGrid, angles: torch.Tensor, hills: Hills, thermostat: Thermostat) -> np.ndarray:
    tempered = (hills.bias_factor - 1) * thermal_energy(thermostat.temperature_k)
    hill = np.array(hills.height_kj_per_mol * np.exp(-float(bias.energy(angles)) / tempered))
    for number, angle in enumerate(angles.tolist()):
        away = np.remainder(bias.axis(number) - angle + np.pi, 2 * np.pi) - np.pi
        hill = np.multiply.outer(hill, np.exp(-0.5 * (away / hills.width_rad) ** 2))
    return hill
