"""Second derivatives of custom pair energies and of collective variables, against autograd of the same formulas."""

import openmm
import pytest
import torch
from torch.testing import assert_close

from tpsctl.molecule.curvature import Curvature


@pytest.fixture
def x(generator):
    """Three configurations of five atoms, nm."""
    return torch.randn(3, 5, 3, generator=generator)


def system_of(*forces):
    system = openmm.System()
    for _ in range(5):
        system.addParticle(10.0)
    for force in forces:
        system.addForce(force)
    return system


def pair_force(formula, pairs, **globals_):
    """A CustomBondForce with a parameter k of each pair."""
    force = openmm.CustomBondForce(formula)
    force.addPerBondParameter("k")
    for name, value in globals_.items():
        force.addGlobalParameter(name, value)
    for i, j, k in pairs:
        force.addBond(i, j, [k])
    return force


def distance(x, i, j):
    return (x[i] - x[j]).norm()


def hessians(energy, x):
    n = x[0].numel()
    return torch.stack([torch.autograd.functional.hessian(energy, frame).reshape(n, n) for frame in x])


ONE, TWO = ((0, 1, 2.0), (1, 3, 0.5), (0, 4, 1.5)), ((2, 4, 1.0), (0, 1, 0.7))


def first(x):
    return sum(k * torch.exp(-1.3 * distance(x, i, j)) for i, j, k in ONE)


def second(x):
    return sum(k / distance(x, i, j) ** 3 for i, j, k in TWO)


def forces():
    return pair_force("k*exp(-a*r)", ONE, a=1.3), pair_force("k/r^3", TWO)


def test_pairs_with_a_formula(x):
    curvature = Curvature(system_of(*forces()))
    assert not curvature.by_differences
    # the same double-precision derivatives in another order of summation
    assert_close(curvature.hessian(x), hessians(lambda y: first(y) + second(y), x), rtol=1e-10, atol=1e-10)


def test_a_function_of_two_collective_variables_that_share_a_pair(x):
    collective = openmm.CustomCVForce("b*p*q^2 - sin(p)")
    collective.addGlobalParameter("b", 0.25)
    for name, force in zip("pq", forces(), strict=True):
        collective.addCollectiveVariable(name, force)
    curvature = Curvature(system_of(collective))
    assert not curvature.by_differences
    expected = hessians(lambda y: 0.25 * first(y) * second(y) ** 2 - torch.sin(first(y)), x)
    assert_close(curvature.hessian(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("formula", ["3*q", "2", "q^2"])
def test_formulas_that_are_linear_constant_or_quadratic(x, formula):
    collective = openmm.CustomCVForce(formula)
    collective.addCollectiveVariable("q", forces()[0])
    expected = {"3*q": lambda y: 3 * first(y), "2": lambda y: 0 * first(y), "q^2": lambda y: first(y) ** 2}[formula]
    assert_close(Curvature(system_of(collective)).hessian(x), hessians(expected, x), rtol=1e-10, atol=1e-10)


def test_a_pair_energy_that_is_linear_in_the_distance(x):
    found = Curvature(system_of(pair_force("k*r", ONE))).hessian(x)
    assert_close(found, hessians(lambda y: sum(k * distance(y, i, j) for i, j, k in ONE), x), rtol=1e-10, atol=1e-10)


def test_other_collective_variables_are_left_to_differences(x):
    collective = openmm.CustomCVForce("q^2")
    angle = openmm.CustomAngleForce("theta")
    angle.addAngle(0, 1, 2, [])
    collective.addCollectiveVariable("q", angle)
    curvature = Curvature(system_of(collective))
    assert curvature.by_differences == ("CustomCVForce",)


def test_pairs_in_a_periodic_box_are_left_to_differences():
    force = forces()[0]
    force.setUsesPeriodicBoundaryConditions(True)
    system = system_of(force)
    assert Curvature(system).by_differences == ("CustomBondForce",)
