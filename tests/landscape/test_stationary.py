"""Minima and saddles of the Mueller-Brown surface and of molecules."""

import pytest
import torch

from tests.landscape.conftest import SCALE
from tpsctl.landscape.coordinates import BondedCoordinates, Cartesian
from tpsctl.landscape.downhill import follow_downhill
from tpsctl.landscape.minimum import MinimumSettings, minimize
from tpsctl.landscape.saddle import SaddleSettings, climb_to_saddles
from tpsctl.landscape.stationary import bofill, index_of
from tpsctl.landscape.surface import FunctionSurface

MINIMA = {(23.073, 31.072): -12.686, (41.897, 8.463): -9.266, (31.177, 15.477): -7.022}
SADDLES = {(18.827, 17.988): -3.539, (35.428, 12.653): -6.250}
"""METHOD of the reference: coordinates to 1e-3, energies in kJ/mol to 1e-3."""


def generators(count):
    return [torch.Generator().manual_seed(k) for k in range(count)]


def points(table):
    return torch.tensor(list(table)).unsqueeze(1) / SCALE


def test_minima_of_mueller_brown(mueller_brown_surface):
    start = points(MINIMA) + 0.02 * torch.randn(3, 1, 2, generator=generators(1)[0])
    found = minimize(mueller_brown_surface, start, Cartesian(), MinimumSettings(max_move_nm=0.005))
    assert bool(found.converged.all())
    assert torch.allclose(found.x * SCALE, points(MINIMA) * SCALE, atol=1.5e-3)
    assert found.energy.tolist() == pytest.approx(list(MINIMA.values()), abs=1e-3)


def test_saddles_of_mueller_brown_and_the_minima_they_join(mueller_brown_surface):
    start = points(SADDLES) + 0.01 * torch.randn(2, 1, 2, generator=generators(1)[0])
    settings = SaddleSettings(max_move_nm=0.005)
    found = climb_to_saddles(mueller_brown_surface, start, Cartesian(), generators(2), None, settings)
    assert bool(found.converged.all())
    assert float(found.gradient_norm.max()) <= 1e-3
    assert torch.allclose(found.x * SCALE, points(SADDLES) * SCALE, atol=1.5e-3)
    assert found.energy.tolist() == pytest.approx(list(SADDLES.values()), abs=1e-3)
    below, _ = follow_downhill(mueller_brown_surface, found, Cartesian())
    assert bool(below.converged.all())
    joined = [sorted(round(e, 2) for e in pair) for pair in below.energy.reshape(2, 2).tolist()]
    assert joined == [[-12.69, -7.02], [-9.27, -7.02]]


def test_symmetry_does_not_trap_a_search():
    """U = 50 [(x^2-1)^2 + (y^2-1)^2] has a hilltop at 0, index 2; a search that starts there ends at a saddle."""

    def energy(x):
        return 50 * ((x / 0.1).square() - 1).square().sum((1, 2))

    surface = FunctionSurface(energy, masses_amu=[1.0], rigid_motions=False)
    found = climb_to_saddles(surface, torch.zeros(2, 1, 2), Cartesian(), generators(2))
    assert bool(found.converged.all())
    assert found.energy.tolist() == pytest.approx([50.0, 50.0], abs=1e-6)


def test_a_minimum_is_left_along_a_negative_curvature():
    """Started exactly on the saddle of a double well, with no gradient, minimization ends in a well."""
    surface = FunctionSurface(
        lambda x: 50 * ((x[:, 0, 0] / 0.1).square() - 1).square() + 900 * x[:, 0, 1].square(),
        masses_amu=[1.0],
        rigid_motions=False,
    )
    found = minimize(surface, torch.zeros(1, 1, 2), Cartesian())
    assert bool(found.converged.all())
    assert found.energy.tolist() == pytest.approx([0.0], abs=1e-6)


def test_updated_hessian_meets_the_secant_condition():
    torch.manual_seed(3)
    hessian = torch.randn(2, 5, 5)
    hessian = hessian + hessian.mT
    step, change = torch.randn(2, 5), torch.randn(2, 5)
    updated = bofill(hessian, step, change)
    assert torch.allclose((updated @ step[..., None])[..., 0], change, atol=1e-10)
    assert torch.allclose(updated, updated.mT, atol=1e-12)


def test_update_with_the_change_it_foretells_changes_nothing():
    hessian = torch.eye(4).expand(1, 4, 4)
    step = torch.randn(1, 4)
    assert torch.equal(bofill(hessian, step, step), hessian)


def test_butane_minima_and_the_cis_saddle(butane):
    surface, coordinates = butane.molecule.surface, BondedCoordinates(butane.topology)
    minima = minimize(surface, torch.stack([butane.x["anti"], butane.x["gauche"]]), coordinates)
    assert bool(minima.converged.all())
    assert float(minima.energy[1] - minima.energy[0]) == pytest.approx(3.28, abs=0.02)  # 13.755 - 10.472
    cis = butane.molecule.bonds.turned(minima.x[1], _central_bond(butane), -1.15)
    found = climb_to_saddles(surface, cis[None], coordinates, generators(1))
    assert float(found.energy[0] - minima.energy[1]) == pytest.approx(18.391, abs=0.01)


def test_the_index_of_a_saddle_by_an_independent_hessian(butane):
    """Second differences of energies, not of forces: h = 1e-3 nm leaves 1e-6 U'''' (100) and rounding of 1e-7."""
    surface, coordinates = butane.molecule.surface, BondedCoordinates(butane.topology)
    cis = butane.molecule.bonds.turned(butane.x["gauche"], _central_bond(butane), -1.15)
    found = climb_to_saddles(surface, cis[None], coordinates, generators(1))
    n, h = cis.numel(), 1e-3
    eye = torch.eye(n)

    def energy(shift):
        return surface.energy_gradient(found.x + shift.reshape(-1, *cis.shape))[0]

    i, j = torch.triu_indices(n, n)
    mixed = energy(h * (eye[i] + eye[j])) - energy(h * (eye[i] - eye[j]))
    mixed = mixed - energy(h * (eye[j] - eye[i])) + energy(-h * (eye[i] + eye[j]))
    hessian = torch.zeros(n, n)
    hessian[i, j] = hessian[j, i] = mixed / (4 * h * h)
    values = torch.linalg.eigvalsh(hessian)
    assert int((values < -30).sum()) == 1
    assert int(index_of(torch.linalg.eigvalsh(found.hessian + 1e-9))[0]) == 1


def _central_bond(butane):
    names = [atom.name for atom in butane.topology.atoms]
    middle = {names.index("C2"), names.index("C3")}
    return next(k for k, (_, b, c, _) in enumerate(butane.molecule.bonds.dihedrals) if {b, c} == middle)
