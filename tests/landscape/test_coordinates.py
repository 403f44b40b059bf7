"""Bent steps: derivatives of the internal coordinates, and what a step keeps."""

import torch

from tpsctl.landscape.coordinates import BondedCoordinates, Cartesian
from tpsctl.landscape.rigid import no_basis, projected, rigid_basis


def test_rows_are_the_derivatives_of_the_values(alanine):
    topology, x = alanine
    coordinates = BondedCoordinates(topology)
    rows = coordinates.rows(x[None])[0]
    numeric = torch.autograd.functional.jacobian(lambda y: coordinates.values(y)[0], x[None])[:, 0].flatten(1)
    assert torch.allclose(rows, numeric, atol=1e-10)


def test_internal_coordinates_span_all_but_rigid_motions(alanine):
    topology, x = alanine
    rows = BondedCoordinates(topology).rows(x[None])[0]
    assert int(torch.linalg.matrix_rank(rows)) == 3 * topology.n_atoms - 6
    # Each is invariant under rigid motions, so B Q = 0 to rounding of entries up to 30 rad/nm.
    assert float((rows @ rigid_basis(x[None])[0]).abs().max()) < 1e-11


def test_turning_a_bond_keeps_all_bond_lengths_in_a_bent_step(alanine):
    """A straight step along a torsion stretches bonds by 5e-3 nm; the bent one keeps them to what iteration leaves."""
    topology, x = alanine
    coordinates = BondedCoordinates(topology)
    from tpsctl.landscape.moves import Bonds

    bonds = Bonds(topology)
    step = ((bonds.turned(x, 2, 1e-5) - x) / 1e-5).flatten()
    step = 0.04 * step / step.reshape(-1, 3).norm(dim=1).max()
    bent = coordinates.moved(x[None], step[None])
    i, j = torch.tensor(topology.bonds).T

    def lengths(y):
        return (y[i] - y[j]).norm(dim=1)

    assert float((lengths(x + step.reshape(-1, 3)) - lengths(x)).abs().max()) > 1e-3
    assert float((lengths(bent.x[0]) - lengths(x)).abs().max()) < 1e-5


def test_an_energy_quadratic_in_internal_coordinates_is_carried_along_exactly(peroxide):
    """For U = (q - q0)^T F (q - q0) / 2 with q0 at the start, gradient and Hessian at the end of a bent step follow.

    H-O-O-H has as many internal coordinates as vibrations, so nothing is lost but what the iteration of the step
    leaves.
    """
    x = peroxide.frames(1)[0]
    coordinates = BondedCoordinates(peroxide.topology)
    rows = coordinates.rows(x)
    assert rows.shape[1] == 3 * 4 - 6
    stiffness = torch.rand(6) + 0.5
    hessian = rows.mT @ (rows * stiffness[:, None])
    basis = rigid_basis(x)
    step = torch.randn(1, 12)
    step = step - (basis @ (basis.mT @ step[..., None]))[..., 0]
    step = 0.002 * step / step.reshape(-1, 3).norm(dim=1).max()
    bent = coordinates.moved(x, step)
    change = (rows @ step[..., None])[..., 0]
    rows_there = coordinates.rows(bent.x)
    assert torch.allclose(
        coordinates.values(bent.x), coordinates.values(x) + change, atol=1e-6
    )  # five linear iterations
    gradient = (rows_there.mT @ (stiffness * change)[..., None])[..., 0]
    assert torch.allclose(bent.gradient((hessian @ step[..., None])[..., 0]), gradient, atol=1e-8)
    assert torch.allclose(bent.hessian(hessian), rows_there.mT @ (rows_there * stiffness[:, None]), atol=1e-8)


def test_a_step_expressed_there_is_carried_back_to_the_step(alanine):
    topology, x = alanine
    torch.manual_seed(2)
    step = 0.005 * torch.randn(1, x.numel())
    basis = rigid_basis(x[None])
    step = step - (basis @ (basis.mT @ step[..., None]))[..., 0]
    bent = BondedCoordinates(topology).moved(x[None], step)
    back = (bent.carry @ bent.step[..., None])[..., 0]
    assert float((back - step).norm()) < 0.05 * float(step.norm())


def test_cartesian_steps_are_straight():
    x = torch.randn(2, 1, 2)
    step = torch.randn(2, 2)
    bent = Cartesian().moved(x, step)
    assert torch.equal(bent.x.flatten(1), x.flatten(1) + step)
    assert torch.equal(bent.hessian(torch.ones(2, 2, 2)), torch.ones(2, 2, 2))


def test_rigid_motions_are_projected_out_of_a_hessian(alanine):
    _, x = alanine
    torch.manual_seed(0)
    basis = rigid_basis(x[None])
    any_hessian = torch.randn(1, x.numel(), x.numel())
    any_hessian = any_hessian + any_hessian.mT
    values = torch.linalg.eigvalsh(projected(any_hessian, basis))[0]
    assert int((values > 1e6).sum()) == 6


def test_a_linear_molecule_has_five_rigid_motions_and_a_model_none():
    x = torch.tensor([[[0.0, 0, 0], [0, 0, 0.1], [0, 0, 0.23]]])
    assert int((rigid_basis(x).norm(dim=1) > 0.5).sum()) == 5
    assert no_basis(x).shape == (1, 9, 0)
