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
    assert curvature.rest is None
    assert_close(curvature.hessian(frame.unsqueeze(0))[0], by_differences(system, frame))


@pytest.mark.parametrize("model", SOLVENTS)
def test_every_generalized_born_model_that_openmm_has(model, solvated, frame):
    system = alone(solvated(model), "CustomGBForce")
    curvature, expected = Curvature(system), by_differences(system, frame)
    assert curvature.rest is None
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


def test_a_force_without_a_closed_form_is_left_for_differences(solvated):
    system = openmm.XmlSerializer.clone(solvated("obc2"))
    cutoff = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    cutoff.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    custom = openmm.CustomBondForce("k*(r-0.1)^4")
    custom.addGlobalParameter("k", 1e6)
    custom.addBond(0, 1, [])
    system.addForce(custom)
    solvent = next(force for force in system.getForces() if isinstance(force, openmm.CustomGBForce))
    expression, kind = solvent.getEnergyTermParameters(0)
    solvent.setEnergyTermParameters(0, f"{expression}+0*atan(1)", kind)
    rest = Curvature(system).rest
    found = {type(force).__name__ for force in rest.getForces()}
    assert found == {"NonbondedForce", "CustomBondForce", "CustomGBForce"}
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
