"""Second derivatives in closed form against differences of OpenMM's forces, term by term."""

import math

import numpy as np
import openmm
import pytest
import torch

from tpsctl.molecule.force_field_hessian import closed_hessian
from tpsctl.molecule.openmm_contexts import ContextPool

ATOMS = 5


def bonds():
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.15, 2e5)
    force.addBond(1, 2, 0.14, 3e5)
    force.addBond(0, 1, 0.12, 1e5)
    return force


def angles():
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.9, 400.0)
    force.addAngle(1, 2, 3, 2.4, 300.0)
    return force


def torsions():
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 3, 0.3, 2.0)
    force.addTorsion(0, 1, 2, 3, 2, math.pi, 7.0)
    force.addTorsion(4, 1, 0, 2, 2, math.pi, 44.0)
    return force


def ryckaert_bellemans():
    force = openmm.RBTorsionForce()
    force.addTorsion(0, 1, 2, 3, 9.3, 12.2, -13.1, -3.1, 26.2, -31.5)
    return force


def nonbonded():
    force = openmm.NonbondedForce()
    for k in range(ATOMS):
        force.addParticle(0.3 * (-1) ** k, 0.2 + 0.02 * k, 0.5 + 0.1 * k)
    force.addException(0, 1, 0.0, 0.1, 0.0)
    force.addException(0, 3, 0.05, 0.22, 0.3)
    return force


def system_of(*forces):
    system = openmm.System()
    for _ in range(ATOMS):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


def positions(count=3):
    """A bent chain with a branch, slightly different in each configuration; no angle is straight."""
    chain = [[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.14, 0.0], [0.33, 0.16, 0.09], [0.19, -0.08, 0.11]]
    return torch.tensor(chain) + 0.01 * torch.randn(count, ATOMS, 3)


def difference_hessian(system, x, step=1e-5):
    pool = ContextPool(system, threads=1)
    shift = step * torch.eye(x[0].numel()).reshape(-1, *x.shape[1:])
    rows = [(pool.forces(here - shift) - pool.forces(here + shift)).flatten(1) / (2 * step) for here in x]
    return torch.stack(rows)


@pytest.mark.parametrize("make", [bonds, angles, torsions, ryckaert_bellemans, nonbonded])
def test_each_term_agrees_with_differences_of_forces(make):
    """Differences over 2e-5 nm err by 2e-10 U''''/6, below 1e-6 of the largest entry for these terms."""
    torch.manual_seed(1)
    system, x = system_of(make()), positions()
    hessian = closed_hessian(system)(x)
    wanted = difference_hessian(system, x)
    assert float((hessian - wanted).abs().max()) < 1e-6 * float(wanted.abs().max())
    assert torch.allclose(hessian, hessian.mT, rtol=0, atol=1e-9 * float(wanted.abs().max()))


def test_all_terms_together_and_in_parts():
    """The memory bound splits a large batch; the parts are the same numbers."""
    torch.manual_seed(2)
    system, x = system_of(bonds(), angles(), torsions(), ryckaert_bellemans(), nonbonded()), positions(4)
    together = closed_hessian(system)(x)
    alone = torch.cat([closed_hessian(system)(here[None]) for here in x])
    assert torch.allclose(together, alone, rtol=1e-12, atol=1e-8)
    assert float((together - difference_hessian(system, x)).abs().max()) < 1e-6 * float(together.abs().max())


def test_rigid_motions_cost_nothing():
    """H t = 0 for translations; at a point without force also for rotations, which this chain is not."""
    torch.manual_seed(3)
    hessian = closed_hessian(system_of(bonds(), angles(), torsions(), nonbonded()))(positions())
    translation = torch.eye(3).repeat(ATOMS, 1)
    assert float((hessian @ translation).abs().max()) < 1e-9 * float(hessian.abs().max())


def implicit():
    force = openmm.CustomGBForce()
    force.addComputedValue("B", "1", openmm.CustomGBForce.SingleParticle)
    for _ in range(ATOMS):
        force.addParticle([])
    return system_of(bonds(), force)


def with_cutoff():
    force = nonbonded()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    return system_of(force)


def constrained():
    system = system_of(bonds())
    system.addConstraint(0, 1, 0.1)
    return system


@pytest.mark.parametrize("make", [implicit, with_cutoff, constrained])
def test_other_systems_have_no_closed_form(make):
    assert closed_hessian(make()) is None


def test_a_system_without_interactions_is_flat():
    hessian = closed_hessian(system_of(openmm.CMMotionRemover()))(positions(1))
    np.testing.assert_array_equal(hessian.numpy(), np.zeros((1, 3 * ATOMS, 3 * ATOMS)))
