"""Parallel bias: the same function in torch and OpenMM, its hills, and reweighting to a known free energy."""

import math

import numpy as np
import openmm
import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.simulation.bias import BiasGrid
from tpsctl.simulation.dataset import Dataset
from tpsctl.simulation.engine import Engine, PhaseState, Thermostat
from tpsctl.simulation.metadynamics import Hills, free_energy, freeze, run_walker
from tpsctl.simulation.parallel_bias import ParallelBias
from tpsctl.units import thermal_energy

KELVIN = 300.0
KT = thermal_energy(KELVIN)
TORSIONS = ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5))
THERMOSTAT = Thermostat(dt_ps=0.004, friction_per_ps=5.0, temperature_k=KELVIN)
BARRIERS = (6.0, 8.0, 5.0)
"""U = sum_i B_i (1 + cos theta_i) kJ/mol: barriers of 10 to 16 kJ/mol, and a free energy that is exactly U."""


def random_bias(seed=0, points=20):
    g = np.random.default_rng(seed)
    one, two = g.normal(size=points), g.normal(size=(points, points))
    return ParallelBias((BiasGrid(3 * one, TORSIONS[:1]), BiasGrid(3 * two, TORSIONS[1:])), KELVIN)


def chain():
    """Six atoms with three independent torsions; bonds and angles stiff and harmonic."""
    system = openmm.System()
    for _ in range(6):
        system.addParticle(12.0)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(5):
        bonds.addBond(i, i + 1, 0.15, 1e5)
    for i in range(4):
        angles.addAngle(i, i + 1, i + 2, 1.9, 1000.0)
    for quadruple, barrier in zip(TORSIONS, BARRIERS, strict=True):
        torsions.addTorsion(*quadruple, 1, 0.0, barrier)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    x = np.array([[0.12 * i, 0.09 * (i % 2), 0.01 * i * (-1) ** (i // 2)] for i in range(6)])
    return openmm.XmlSerializer.serialize(system), x


def test_it_is_the_mean_of_boltzmann_factors():
    bias, x = random_bias(), torch.from_numpy(np.random.default_rng(1).normal(size=(4, 6, 3)))
    parts = torch.stack([grid.energy_of(x) for grid in bias.grids])
    torch.testing.assert_close((-bias.energy_of(x) / KT).exp(), (-parts / KT).exp().mean(0))
    zero = ParallelBias(tuple(BiasGrid.zeros(12, (q,)) for q in TORSIONS), KELVIN)
    torch.testing.assert_close(zero.energy_of(x), torch.zeros(4))
    assert bias.dihedrals == TORSIONS


def test_energy_and_force_are_those_of_openmm_also_after_new_values():
    bias, other = random_bias(), random_bias(5)
    system = openmm.System()
    for _ in range(6):
        system.addParticle(12.0)
    force = bias.openmm_force()
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    for seed, current in ((0, bias), (1, bias), (2, other), (3, other)):
        if current is other:
            other.set_table(force, context)
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 3))).requires_grad_(True)
        context.setPositions(x.detach().numpy())
        state = context.getState(energy=True, forces=True)
        energy = current.energy_of(x)
        (gradient,) = torch.autograd.grad(energy, x)
        # One and the same spline in double precision; only rounding differs.
        assert energy.item() == pytest.approx(state.getPotentialEnergy()._value, abs=1e-9)
        np.testing.assert_allclose(-gradient, state.getForces(asNumpy=True)._value, atol=1e-7)


def test_every_grid_gets_its_share_of_a_hill():
    system, x = chain()
    bias, hills = random_bias(), Hills(height_kj_per_mol=2.0, width_rad=0.3, interval_ps=0.004, bias_factor=6.0)
    added, end = run_walker(
        system, bias, PhaseState(x, 0 * x), THERMOSTAT, hills, duration_ps=0.004, seed=1, platform="Reference"
    )
    at = torch.from_numpy(end.x)
    shares = bias.shares(at)
    assert sum(shares) == pytest.approx(1)
    for grid, hill, share in zip(bias.grids, added, shares, strict=True):
        exact = 2.0 * share * math.exp(-float(grid.energy_of(at)) / (5 * KT))
        spacing = 2 * math.pi / 20 / 2
        assert exact * math.exp(-0.5 * hill.ndim * (spacing / 0.3) ** 2) <= hill.max() <= exact


def test_weights_recover_the_known_free_energy_of_three_torsions():
    """Metadynamics, frozen bias, production under it, weights exp(V/kT): the law of every torsion is exp(-U/kT)."""
    system, x = chain()
    bias = ParallelBias(tuple(BiasGrid.zeros(24, (quadruple,)) for quadruple in TORSIONS), KELVIN)
    hills = Hills(height_kj_per_mol=2.0, width_rad=0.35, interval_ps=0.4, bias_factor=6.0)
    state = PhaseState(x, 0 * x)
    for number in range(4):
        added, state = run_walker(
            system, bias, state, THERMOSTAT, hills, duration_ps=60.0, seed=number + 1, platform="Reference"
        )
        bias = bias.with_values([grid.values + hill for grid, hill in zip(bias.grids, added, strict=True)])
    for grid, barrier in zip(bias.grids, BARRIERS, strict=True):
        error = free_energy(grid, 6.0) - barrier * (1 + np.cos(grid.axis(0)))
        assert np.sqrt(np.mean((error - error.mean()) ** 2)) < KT, "the bias has found every free energy roughly"
    frozen = freeze(bias, 6.0, cap_kj_per_mol=30.0, cap_width_kj_per_mol=2.0)
    engine = Engine(system, frozen, THERMOSTAT, seed=9, platform="Reference")
    engine.set_state(state)
    frames = engine.record(6000, 40, time_ps=0.0)
    np.testing.assert_allclose(frames.bias, frozen.energy_of(torch.from_numpy(frames.x)), atol=1e-8)
    weights = torch.softmax(torch.from_numpy(frames.bias) / KT, 0)
    plain = []
    for grid, barrier in zip(frozen.grids, BARRIERS, strict=True):
        cosine = grid.angles(torch.from_numpy(frames.x))[:, 0].cos()
        theta = torch.linspace(-math.pi, math.pi, 2001)[:-1]
        law = torch.softmax(-barrier * theta.cos() / KT, 0)
        expected = float((law * theta.cos()).sum())
        # Correlation times under the bias are a few ps of 960 ps; the error of the mean cosine is about 0.03.
        assert float((weights * cosine).sum()) == pytest.approx(expected, abs=0.08)
        plain.append(abs(float(cosine.mean()) - expected))
    assert max(plain) > 0.1, "without weights it is the law under the bias"


def test_a_data_set_keeps_it(tmp_path, peroxide):
    x, scores = peroxide.frames(6)
    grids = (BiasGrid(np.arange(8.0), ((0, 1, 2, 3),)), BiasGrid(np.arange(16.0).reshape(4, 4), ((0, 1, 2, 3),) * 2))
    bias = ParallelBias(grids, KELVIN)
    zeros = torch.zeros(6)
    saved = Dataset(
        topology=peroxide.topology,
        temperature_k=KELVIN,
        positions=x,
        forces=scores,
        energies=zeros,
        bias_energies=bias.energy_of(x),
        trajectories=zeros.long(),
        times_ps=zeros,
        bias=bias,
        settings={},
    )
    saved.save(tmp_path / "data.npz")
    loaded = Dataset.load(tmp_path / "data.npz")
    assert isinstance(loaded.bias, ParallelBias)
    assert [grid.dihedrals for grid in loaded.bias.grids] == [grid.dihedrals for grid in grids]
    torch.testing.assert_close(loaded.bias.energy_of(x), saved.bias_energies)


def test_one_grid_is_not_parallel():
    with pytest.raises(DataError, match="parallel bias: got 1 grids, expected at least 2"):
        ParallelBias((BiasGrid.zeros(12, TORSIONS[:1]),), KELVIN)
