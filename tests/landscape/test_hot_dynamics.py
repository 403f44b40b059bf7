"""Minima reached by hot dynamics."""

from dataclasses import replace

import pytest
import torch

from tpsctl.landscape.hot_dynamics import HotSettings, hot_minima, run_hot
from tpsctl.landscape.surface import FunctionSurface
from tpsctl.units import thermal_energy


def generators(count):
    return [torch.Generator().manual_seed(k) for k in range(count)]


def test_dynamics_samples_the_boltzmann_distribution_of_a_harmonic_well():
    """BAOAB has the exact variance kT/k of positions in a harmonic well (its source, section 4); 4 sigma of 6000."""
    stiffness, settings = 2.0e4, HotSettings(steps=400)
    surface = FunctionSurface(
        lambda x: stiffness / 2 * x.square().sum((1, 2)), masses_amu=[1.0] * 500, rigid_motions=False
    )
    x = run_hot(surface, torch.zeros(4, 500, 3, dtype=torch.float64), generators(4), settings)
    expected = thermal_energy(settings.temperature_k) / stiffness
    assert float(x.square().mean()) == pytest.approx(expected, rel=4 * (2 / x.numel()) ** 0.5)


def test_runs_from_gauche_end_in_minima_of_butane(butane):
    molecule, topology = butane.molecule, butane.topology
    start = butane.x["gauche"].expand(6, -1, -1)
    found = hot_minima(molecule.surface, molecule.coordinates, start, topology.bonds, generators(6))
    states = [state for state in found if state is not None]
    assert len(states) >= 4
    energy, gradient = molecule.surface.energy_gradient(torch.stack([x for x, _ in states]))
    assert float(gradient.flatten(1).norm(dim=1).max()) < 1e-2
    assert energy.tolist() == pytest.approx([e for _, e in states], abs=1e-6)
    known, _ = molecule.surface.energy_gradient(torch.stack((butane.x["anti"], butane.x["gauche"])))
    assert all(min(abs(e - k) for k in known.tolist()) < 0.05 for _, e in states)


def test_the_same_random_numbers_give_the_same_minima_in_any_batch(butane):
    molecule, topology = butane.molecule, butane.topology
    start = butane.x["gauche"].expand(2, -1, -1)
    settings = HotSettings(steps=50)
    both = hot_minima(molecule.surface, molecule.coordinates, start, topology.bonds, generators(2), settings)
    one = hot_minima(molecule.surface, molecule.coordinates, start[1:], topology.bonds, generators(2)[1:], settings)
    assert both[1] is not None
    assert one[0] is not None
    assert both[1][1] == pytest.approx(one[0][1], abs=1e-6)


def test_a_run_that_loses_a_bond_is_given_up(butane):
    molecule, topology = butane.molecule, butane.topology
    settings = replace(HotSettings(steps=20), temperature_k=1e6)
    start = butane.x["gauche"][None]
    assert hot_minima(molecule.surface, molecule.coordinates, start, topology.bonds, generators(1), settings) == [None]
