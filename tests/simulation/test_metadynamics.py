"""Well-tempered metadynamics on a rotor whose free energy is known, and the frozen bias."""

import math

import numpy as np
import openmm
import pytest

from tpsctl.simulation.bias import BiasGrid
from tpsctl.simulation.engine import PhaseState, Thermostat
from tpsctl.simulation.metadynamics import Hills, free_energy, freeze, run_walker

THERMOSTAT = Thermostat(dt_ps=0.004, friction_per_ps=5.0, temperature_k=300.0)
TORSION = ((0, 1, 2, 3),)
ANGLE = 1.9


def rotor() -> tuple[str, np.ndarray]:
    """Four atoms whose dihedral has U = 10 (1 + cos theta) kJ/mol; bonds and angles stiff and harmonic."""
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    bonds, angles, torsion = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(3):
        bonds.addBond(i, i + 1, 0.15, 1e5)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, ANGLE, 1000.0)
    torsion.addTorsion(0, 1, 2, 3, 1, 0.0, 10.0)
    for force in (bonds, angles, torsion):
        system.addForce(force)
    bend = 0.15 * np.array([-math.cos(ANGLE), math.sin(ANGLE), 0])
    x = np.array([[0.15, 0, 0] - bend + [-0.15, 0, 0], [0, 0, 0], [0.15, 0, 0], [0.15, 0, 0] + bend])
    return openmm.XmlSerializer.serialize(system), x


def test_bias_converges_to_the_known_free_energy_of_a_rotor():
    system, x = rotor()
    state, bias = PhaseState(x, np.zeros_like(x)), BiasGrid.zeros(30, TORSION)
    hills = Hills(height_kj_per_mol=2.0, width_rad=0.3, interval_ps=0.4, bias_factor=6.0)
    for number in range(5):
        (added,), state = run_walker(
            system, bias, state, THERMOSTAT, hills, duration_ps=30.0, seed=number + 1, platform="Reference"
        )
        bias = BiasGrid(bias.values + added, TORSION)
    expected = 10 * (1 + np.cos(bias.axis(0)))
    error = free_energy(bias, 6.0) - expected
    # Hills are still 0.1 to 1 kJ/mol high at the end: the error stays below kT (2.5) on a barrier of 20 kJ/mol.
    assert np.sqrt(np.mean((error - error.mean()) ** 2)) < 2.0


def test_frozen_bias_compensates_up_to_the_cap_only():
    values = -np.array([0.0, 9.0, 45.0, 900.0])
    frozen = freeze(BiasGrid(values, TORSION), 10.0, cap_kj_per_mol=40.0, cap_width_kj_per_mol=0.5)
    np.testing.assert_allclose(free_energy(BiasGrid(values, TORSION), 10.0), [0, 10, 50, 1000])
    # 0.9 F below the cap, 0.9 cap above; exp(-10 kJ/mol / width) is below 1e-8.
    np.testing.assert_allclose(frozen.values, [0, -9, -36, -36], atol=1e-7)


def test_frozen_bias_below_the_cap_is_the_well_tempered_bias():
    values = -np.linspace(0, 10, 8)
    frozen = freeze(BiasGrid(values, TORSION), 10.0, cap_kj_per_mol=200.0, cap_width_kj_per_mol=2.0)
    np.testing.assert_allclose(frozen.values, values - values.max(), atol=1e-9)


def test_walker_is_reproducible_by_seed():
    system, x = rotor()
    hills = Hills(1.0, 0.3, 0.1, 6.0)
    start = PhaseState(x, np.zeros_like(x))
    runs = [
        run_walker(
            system,
            BiasGrid.zeros(12, TORSION),
            start,
            THERMOSTAT,
            hills,
            duration_ps=1.0,
            seed=seed,
            platform="Reference",
        )
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1].v, runs[1][1].v)
    assert not np.array_equal(runs[0][1].v, runs[2][1].v)


def test_hills_need_their_height_at_the_first_visit():
    system, x = rotor()
    hills = Hills(height_kj_per_mol=2.0, width_rad=0.3, interval_ps=0.004, bias_factor=6.0)
    (added,), _ = run_walker(
        system,
        BiasGrid.zeros(60, TORSION),
        PhaseState(x, np.zeros_like(x)),
        THERMOSTAT,
        hills,
        duration_ps=0.004,
        seed=1,
        platform="Reference",
    )
    # A grid point is at most half a spacing (0.052 rad) from the hill's center: 2 exp(-0.5 (0.052/0.3)^2) = 1.97.
    assert added.max() == pytest.approx(2.0, abs=0.04)
