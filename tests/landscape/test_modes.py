"""Normal modes and what follows from them, against closed forms."""

import math

import pytest
import torch

from tpsctl.landscape.modes import eyring_rate, normal_modes
from tpsctl.landscape.surface import FunctionSurface
from tpsctl.units import thermal_energy

SPEED = 0.0299792458  # cm/ps


def chain(stiffness, rest):
    """Atoms in line joined by springs between neighbors."""

    def energy(x):
        length = (x[:, 1:] - x[:, :-1]).norm(dim=-1)
        return 0.5 * stiffness * (length - rest).square().sum(1)

    return energy


def modes_of(energy, x, masses, *, rigid=True):
    surface = FunctionSurface(energy, masses_amu=masses, rigid_motions=rigid)
    return normal_modes(x, surface.hessian(x[None])[0], surface.masses_amu, rigid_motions=rigid)


def test_wavenumber_of_a_diatomic():
    """w = sqrt(k/mu): CO with k = 1.14e6 kJ/mol/nm^2 (1902 N/m) has 2170 cm^-1."""
    masses, k = [12.0, 15.9949], 1.1455e6
    x = torch.tensor([[0.0, 0, 0], [0, 0, 0.1128]])
    modes = modes_of(chain(k, 0.1128), x, masses)
    mu = masses[0] * masses[1] / sum(masses)
    assert len(modes.wavenumbers) == 1
    # Differences of forces over 2e-5 nm leave 1e-9 relative.
    assert float(modes.wavenumbers[0]) == pytest.approx(math.sqrt(k / mu) / (2 * math.pi * SPEED), rel=1e-7)
    assert float(modes.wavenumbers[0]) == pytest.approx(2170, abs=10)


def test_a_linear_triatomic_has_its_two_stretches_and_two_free_bends():
    m, big, k = 16.0, 12.0, 1e6
    x = torch.tensor([[0.0, 0, -0.116], [0, 0, 0.0], [0, 0, 0.116]])
    modes = modes_of(chain(k, 0.116), x, [m, big, m])
    expected = [0.0, 0.0, math.sqrt(k / m), math.sqrt(k / m * (1 + 2 * m / big))]
    found = (modes.wavenumbers * 2 * math.pi * SPEED).tolist()
    assert found[2:] == pytest.approx(expected[2:], rel=1e-6)
    assert len(found) == 4
    assert max(abs(w) for w in found[:2]) < 0.2  # sqrt of the 1e-2 kJ/mol/nm^2 that differences leave
    assert modes.index == 0


def test_a_saddle_in_two_dimensions_has_index_one():
    modes = modes_of(
        lambda x: 500 * x[:, 0, 0].square() - 200 * x[:, 0, 1].square(), torch.zeros(1, 2), [2.0], rigid=False
    )
    expected = [-math.sqrt(400 / 2), math.sqrt(1000 / 2)]
    assert (modes.wavenumbers * 2 * math.pi * SPEED).tolist() == pytest.approx(expected, rel=1e-7)
    assert modes.index == 1


def test_free_energy_difference_of_two_wells_is_that_of_their_partition_functions():
    """exp(-dF/kT) = Z_2 / Z_1 = sqrt(k_1 / k_2) per dimension for classical oscillators, and g counts copies."""
    kt = thermal_energy(300.0)
    soft = modes_of(lambda x: 50 * x.square().sum((1, 2)), torch.zeros(1, 2), [3.0], rigid=False)
    stiff = modes_of(lambda x: 200 * x.square().sum((1, 2)), torch.zeros(1, 2), [3.0], rigid=False)
    difference = stiff.free_energy(1.0, 300.0) - soft.free_energy(0.0, 300.0, copies=3)
    assert difference == pytest.approx(1.0 + kt * math.log(4.0) + kt * math.log(3.0), rel=1e-7)


def test_harmonic_rate_is_that_of_vineyard():
    """Eyring with classical harmonic free energies is nu_A exp(-dU/kT) in one dimension, whatever the saddle."""
    well = modes_of(lambda x: 400 * x.square().sum((1, 2)), torch.zeros(1, 1), [2.0], rigid=False)
    top = modes_of(lambda x: -300 * x.square().sum((1, 2)), torch.zeros(1, 1), [2.0], rigid=False)
    barrier = top.free_energy(20.0, 300.0) - well.free_energy(0.0, 300.0)
    expected = math.sqrt(800 / 2) / (2 * math.pi) * math.exp(-20.0 / thermal_energy(300.0))
    assert eyring_rate(barrier, 300.0) == pytest.approx(expected, rel=1e-7)


def test_rotation_counts_by_the_moments_of_inertia():
    """Two triangles of springs that differ in size only differ in free energy by -kT ln (size ratio)^3."""
    corner = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0.5, 0.75**0.5, 0]])

    def triangle(size):
        def energy(x):
            d = torch.stack([(x[:, i] - x[:, j]).norm(dim=-1) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
            return 5e4 * (d - size).square().sum(1)

        return modes_of(energy, size * corner, [4.0] * 3).free_energy(0.0, 300.0)

    expected = -thermal_energy(300.0) * 3 * math.log(2.0)
    assert triangle(0.3) - triangle(0.15) == pytest.approx(expected, rel=1e-6)
