"""Second derivatives in closed form, against central differences of OpenMM's forces in double precision."""

import math

import openmm
import pytest
import torch

from tpsctl.molecule.curvature import Curvature
from tpsctl.molecule.curvature.base import UnknownForm
from tpsctl.molecule.curvature.expressions import formula_of
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source

STEP_NM = 1e-5
SOLVENTS = ["hct", "obc1", "obc2", "gbn", "gbn2"]
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


def by_differences(system, x):
    """Central differences of forces; their error is third derivatives of forces times STEP_NM^2, and rounding."""
    pool, n = ContextPool(system, threads=1), x.numel()
    shift = STEP_NM * torch.eye(n).view(n, *x.shape)
    rows = (pool.forces(x - shift) - pool.forces(x + shift)).flatten(1) / (2 * STEP_NM)
    return (rows + rows.mT) / 2


def alone(system, *kinds):
    """The System with some kinds of forces alone."""
    system = openmm.XmlSerializer.clone(system)
    for k in reversed(range(system.getNumForces())):
        if type(system.getForce(k)).__name__ not in kinds:
            system.removeForce(k)
    assert system.getNumForces()
    return system


def assert_close(found, expected):
    # A bond's fourth derivative of some 1e8 kJ/mol/nm^4 times 1e-10 nm^2, and forces of 1e3 rounded to 1e-12 over 1e-5.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * max(1e3, expected.abs().max().item()))


@pytest.fixture(scope="module")
def frame(alanine):
    return alanine[1] + 0.003 * torch.randn(22, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture(scope="module")
def solvated(alanine):
    def system(model):
        return as_source(("amber14-all.xml", f"implicit/{model}.xml")).create(alanine[0]).system

    return system


@pytest.mark.parametrize(
    "kind", ["HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce", "CustomGBForce"]
)
def test_each_force_has_the_curvature_of_its_forces(kind, solvated, frame):
    system = alone(solvated("obc2"), kind)
    curvature = Curvature(system)
    assert not curvature.by_differences
    assert_close(curvature.hessian(frame.unsqueeze(0))[0], by_differences(system, frame))


@pytest.mark.parametrize("model", SOLVENTS)
def test_every_generalized_born_model_that_openmm_has(model, solvated, frame):
    system = alone(solvated(model), "CustomGBForce")
    curvature, expected = Curvature(system), by_differences(system, frame)
    assert not curvature.by_differences
    assert expected.abs().max() > 1000, "the entries are far above the tolerance"
    assert_close(curvature.hessian(frame.unsqueeze(0))[0], expected)


def test_a_whole_system_in_a_batch_is_symmetric_and_knows_translations(solvated, frame):
    system = solvated("gbn2")
    # None of them is within STEP_NM of where a step of a model's formula makes its second derivatives jump.
    x = torch.stack([frame, 1.01 * frame, frame[:, [1, 2, 0]]])
    found = Curvature(system).hessian(x)
    for one, its in zip(x, found, strict=True):
        assert_close(its, by_differences(system, one))
    assert torch.equal(found, Curvature(system).hessian(x))
    torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-8)
    shift = torch.eye(3).repeat(22, 1)
    assert (found @ shift).abs().max() < 1e-6 * found.abs().max()


def test_a_torsion_of_any_phase_and_an_angle_whose_minimum_is_straight():
    system, torsion, angle = openmm.System(), openmm.PeriodicTorsionForce(), openmm.HarmonicAngleForce()
    for _ in range(4):
        system.addParticle(12.0)
    torsion.addTorsion(0, 1, 2, 3, 3, 0.7, 11.0)
    torsion.addTorsion(3, 1, 0, 2, 1, -2.0, 5.0)
    angle.addAngle(0, 1, 2, math.pi, 300.0)
    system.addForce(torsion)
    system.addForce(angle)
    x = torch.tensor([[0.1, 0.03, 0.0], [0.0, 0.0, 0.0], [-0.1, 0.0, 0.03], [-0.15, 0.1, 0.05]])
    assert_close(Curvature(system).hessian(x.unsqueeze(0))[0], by_differences(system, x))


@pytest.mark.parametrize("offset", [0.0, 1e-9, 1e-7, 1e-5, 1e-2])
def test_an_angle_whose_minimum_is_straight(offset):
    """Near the line pi - theta is linear in displacements across it, v = (1/a, -1/a - 1/b, 1/b) for bonds a and b:
    H = k v v^T in both directions across the line, with an error of k v^2 times the square of the angle.
    """
    force, k, a, b = openmm.HarmonicAngleForce(), 300.0, 0.12, 0.15
    force.addAngle(0, 1, 2, math.pi, k)
    x = torch.tensor([[-a, 0.0, 0.0], [0.0, offset, 0.0], [b, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    v = torch.tensor([1 / a, -1 / a - 1 / b, 1 / b])
    wanted = torch.zeros(ATOMS, 3, ATOMS, 3)
    for across in (1, 2):
        wanted[:3, across, :3, across] = k * v[:, None] * v
    size, angle = float(wanted.abs().max()), offset * (1 / a + 1 / b)
    found = Curvature(system_of(force)).hessian(x[None])[0].view(wanted.shape)
    # The angle itself is rounded to 4e-16, over a sine of 1e-7 at least; along the line H is linear in the angle.
    torch.testing.assert_close(found, wanted, rtol=0, atol=size * (1e-8 + 2 * angle))


TERMS = [bonds, angles, torsions, ryckaert_bellemans, nonbonded]


@pytest.mark.parametrize("make", TERMS)
def test_each_term_agrees_with_differences_of_forces(make):
    """Differences over 2e-5 nm err by 2e-10 U''''/6, below 1e-6 of the largest entry for these terms."""
    torch.manual_seed(1)
    system, x = system_of(make()), positions()
    curvature = Curvature(system)
    assert not curvature.by_differences
    for one, found in zip(x, curvature.hessian(x), strict=True):
        wanted = by_differences(system, one)
        size = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * size)
        torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-9 * size)


def test_all_terms_together_and_in_parts(monkeypatch):
    """The memory bound splits a large batch; the parts are the same numbers."""
    torch.manual_seed(2)
    system, x = system_of(*(make() for make in TERMS)), positions(4)
    together = Curvature(system).hessian(x)
    monkeypatch.setattr("tpsctl.molecule.curvature.hessian._PAIRS_AT_ONCE", 2 * ATOMS**2)
    torch.testing.assert_close(Curvature(system).hessian(x), together, rtol=1e-12, atol=1e-8)
    wanted = torch.stack([by_differences(system, one) for one in x])
    torch.testing.assert_close(together, wanted, rtol=0, atol=1e-6 * float(together.abs().max()))


def test_rigid_motions_cost_nothing():
    """H t = 0 for translations; at a point without force also for rotations, which this chain is not."""
    torch.manual_seed(3)
    hessian = Curvature(system_of(*(make() for make in TERMS))).hessian(positions())
    translation = torch.eye(3).repeat(ATOMS, 1)
    assert float((hessian @ translation).abs().max()) < 1e-9 * float(hessian.abs().max())


def test_a_system_without_interactions_is_flat():
    found = Curvature(system_of()).hessian(positions(1))
    assert torch.equal(found, torch.zeros(1, 3 * ATOMS, 3 * ATOMS))


def unknown_solvent():
    """A solvent with a function that has no second derivatives here."""
    force = openmm.CustomGBForce()
    force.addComputedValue("B", "1/r^2", openmm.CustomGBForce.ParticlePair)
    force.addEnergyTerm("9*atan(0.01*B)", openmm.CustomGBForce.SingleParticle)
    for _ in range(ATOMS):
        force.addParticle([])
    return force


def with_cutoff():
    force = nonbonded()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.9)
    return force


def quartic_angle():
    force = openmm.CustomAngleForce("k*(theta-1)^4")
    force.addGlobalParameter("k", 1e3)
    force.addAngle(0, 1, 2, [])
    return force


def periodic():
    force = bonds()
    force.setUsesPeriodicBoundaryConditions(True)
    return force


@pytest.mark.parametrize("make", [unknown_solvent, with_cutoff, quartic_angle, periodic])
def test_a_force_without_a_closed_form_is_taken_by_differences(make):
    torch.manual_seed(4)
    system, x = system_of(torsions(), make()), positions(2)
    curvature = Curvature(system, threads=1)
    assert curvature.by_differences == (type(make()).__name__,)
    assert system.getNumForces() == 2, "the given System is only read"
    for one, found in zip(x, curvature.hessian(x), strict=True):
        wanted = by_differences(system, one)
        assert float((wanted - by_differences(system_of(torsions()), one)).abs().max()) > 10, "the force is in it"
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * max(1e3, float(wanted.abs().max())))


def test_forces_of_a_molecule_without_a_closed_form_are_found_out(solvated):
    system = openmm.XmlSerializer.clone(solvated("obc2"))
    cutoff = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    cutoff.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    system.addForce(quartic_angle())
    solvent = next(force for force in system.getForces() if isinstance(force, openmm.CustomGBForce))
    expression, kind = solvent.getEnergyTermParameters(0)
    solvent.setEnergyTermParameters(0, f"{expression}+0*atan(1)", kind)
    assert sorted(Curvature(system).by_differences) == ["CustomAngleForce", "CustomGBForce", "NonbondedForce"]
    assert system.getNumForces() == 6, "the given System is only read"


def test_a_frame_that_is_not_finite_spoils_no_other(solvated, frame):
    x = torch.stack([frame, frame])
    x[0, 3, 1] = torch.nan
    curvature = Curvature(solvated("obc2"))
    found = curvature.hessian(x)
    assert found[0].isnan().any()
    torch.testing.assert_close(found[1], curvature.hessian(frame.unsqueeze(0))[0])


def test_formulas_mean_what_openmm_means():
    r, other = torch.tensor([0.3, 0.5]), 0.2
    for text, expected in (
        ("r^2*or", r**2 * other),
        ("-r^2", -(r**2)),
        ("2^3^2*or", torch.tensor(512 * other)),
        ("1.5e-1*a/b; a = b + r; b = or", 0.15 * (other + r) / other),
        ("select(step(r-0.4), exp(r), min(r, or))", torch.tensor([other, math.exp(0.5)])),
        ("max(abs(or-r), 0.2) + tanh(r)", (r - other).clamp_min(0.2) + r.tanh()),
        ("erf(or)*erfc(r)", math.erf(other) * r.erfc()),
        ("sqrt(r)+log(r)+sin(r)*cos(r)", r.sqrt() + r.log() + r.sin() * r.cos()),
    ):
        torch.testing.assert_close(torch.as_tensor(formula_of(text)({"r": r, "or": other})), expected)


@pytest.mark.parametrize("text", ["__import__('os')", "r.real", "gamma(r)", "r if r else 0", "r^", "r == 1", "'r'"])
def test_a_formula_with_anything_else_is_not_taken(text):
    with pytest.raises(UnknownForm):
        formula_of(text)
