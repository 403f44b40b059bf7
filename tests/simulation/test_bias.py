"""The bias: the same function in torch and in OpenMM, smooth, periodic."""

import math

import numpy as np
import openmm
import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.simulation.bias import BiasGrid, find_dihedrals

QUADRUPLES = ((0, 1, 2, 3), (1, 2, 3, 4))


def openmm_bias(grid: BiasGrid, x: np.ndarray) -> tuple[float, np.ndarray, openmm.Context, openmm.Force]:
    system = openmm.System()
    for _ in range(x.shape[0]):
        system.addParticle(12.0)
    force = grid.openmm_force()
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, np.array(state.getForces(asNumpy=True)._value), context, force


def random_grid(shape: tuple[int, ...], seed: int = 0) -> BiasGrid:
    values = np.random.default_rng(seed).normal(size=shape)
    return BiasGrid(values, QUADRUPLES[: len(shape)])


@pytest.mark.parametrize("shape", [(24,), (24, 30)])
def test_energy_and_force_are_those_of_openmm(shape):
    grid = random_grid(shape)
    for seed in range(20):
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 3))).requires_grad_(True)
        energy = grid.energy_of(x)
        (gradient,) = torch.autograd.grad(energy, x)
        theirs, their_force, _, _ = openmm_bias(grid, x.detach().numpy())
        # One and the same spline in double precision; only rounding differs.
        assert energy.item() == pytest.approx(theirs, abs=1e-10)
        np.testing.assert_allclose(-gradient.numpy(), their_force, atol=1e-8)


def test_renewed_table_is_used_by_openmm():
    before, after = random_grid((24, 30), 1), random_grid((24, 30), 2)
    x = np.random.default_rng(3).normal(size=(5, 3))
    _, _, context, force = openmm_bias(before, x)
    after.set_table(force, context)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(float(after.energy_of(torch.from_numpy(x))), abs=1e-10)


def test_spline_goes_through_its_grid_points_and_is_periodic():
    grid = random_grid((12, 10))
    angles = torch.cartesian_prod(*(torch.from_numpy(grid.axis(a)) for a in (0, 1))).reshape(12, 10, 2)
    np.testing.assert_allclose(grid.energy(angles).numpy(), grid.values, atol=1e-12)
    np.testing.assert_allclose(grid.energy(angles + 2 * math.pi).numpy(), grid.values, atol=1e-12)


def test_spline_of_a_cosine_converges_with_the_fourth_power_of_the_spacing():
    where = torch.linspace(-3, 3, 101).unsqueeze(-1)
    errors = []
    for n in (16, 32, 64):
        grid = BiasGrid(np.cos(BiasGrid.zeros(n, QUADRUPLES[:1]).axis(0)), QUADRUPLES[:1])
        errors.append(float((grid.energy(where) - torch.cos(where[:, 0])).abs().max()))
    slopes = np.diff(np.log(errors)) / np.log(2)
    np.testing.assert_allclose(slopes, -4, atol=0.3)  # order 4, up to higher terms at the coarse end


def test_second_derivatives_are_those_of_the_values():
    grid, angles = random_grid((12, 10)), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(grid.energy, angles)
    assert torch.autograd.gradgradcheck(grid.energy, angles)


def test_float32_angles_give_float32_energies():
    assert random_grid((12, 10)).energy(torch.zeros(4, 2, dtype=torch.float32)).dtype == torch.float32


def test_wrong_grids_are_refused():
    with pytest.raises(DataError, match="got 1 axes for 2 dihedrals"):
        BiasGrid(np.zeros(12), QUADRUPLES)
    with pytest.raises(DataError, match="at least 4 finite values"):
        BiasGrid(np.full((12, 12), np.nan), QUADRUPLES)


def test_dihedrals_are_found_by_label_and_by_atoms(alanine):
    topology, _ = alanine
    by_label = find_dihedrals(topology, ("phi ALA2", "psi ALA2"))
    by_atoms = find_dihedrals(topology, (("ACE1:C", "ALA2:N", "A:ALA2:CA", "ALA2:C"),))
    assert by_label[0] == by_atoms[0]
    with pytest.raises(DataError, match='no dihedral "chi1 ALA2"; this molecule has: .*phi ALA2'):
        find_dihedrals(topology, ("chi1 ALA2",))
    with pytest.raises(DataError, match="no atom ALA2:XX"):
        find_dihedrals(topology, (("ACE1:C", "ALA2:XX", "ALA2:CA", "ALA2:C"),))
