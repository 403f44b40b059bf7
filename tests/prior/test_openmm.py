"""A force field as a prior, and the saddle that Levenberg-Marquardt finds with it."""

import openmm
import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.endpoints.ends import align
from tpsctl.endpoints.load import load_structure
from tpsctl.errors import PriorError
from tpsctl.guess.torsion import TorsionGuess
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.openmm_system import SerializedSystem
from tpsctl.optimize import Convergence, LevenbergMarquardt, Stage, run_stages
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.prior.reordered import ReorderedPrior
from tpsctl.score.base import FiniteDifferenceScore, Score
from tpsctl.units import BOLTZMANN
from tpsctl.validation.energy import EnergyModel

KT = BOLTZMANN * 300


@pytest.fixture(scope="module")
def ends():
    folder = __file__.rsplit("/tests/", 1)[0] + "/recipes/alanine_dipeptide"
    return align(load_structure(f"{folder}/c7eq.pdb"), load_structure(f"{folder}/c7ax.pdb"))


@pytest.fixture(scope="module")
def prior(ends):
    return OpenMMPrior(ends.topology, ["amber99sbildn.xml"], temperature_k=300.0, threads=2)


def test_score_is_minus_the_energy_gradient_over_kt(ends, prior):
    model, h = EnergyModel(ends.topology, ["amber99sbildn.xml"], ends.x[0], platform="Reference"), 1e-5
    x, direction = ends.x + 0.002 * torch.randn_like(ends.x), torch.randn_like(ends.x)
    slope = (model.energies(x + h * direction) - model.energies(x - h * direction)) / (2 * h)
    # Central differences: third derivatives of bonds ~ 1e7 times h^2.
    torch.testing.assert_close((prior.at(0.0)(x) * direction).sum((1, 2)), -slope / KT, rtol=1e-4, atol=1e-2)


def test_forces_without_a_closed_form_are_differentiated_numerically(ends, prior, tmp_path):
    """A System from elsewhere with a force that only OpenMM knows."""
    system = openmm.XmlSerializer.clone(prior.made.system)
    stretch = openmm.CustomBondForce("1e6*(r-0.1)^4")
    stretch.addBond(0, 5, [])
    system.addForce(stretch)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    source = SerializedSystem(tmp_path / "system.xml")
    mixed = OpenMMPrior(ends.topology, source, temperature_k=300.0, threads=1).at(0.0)
    x = ends.x[:1]
    closed, differences = mixed.jacobian(x), Score.jacobian(mixed, x)
    assert (closed - differences).abs().max() < 1e-5 * differences.abs().max()
    assert (closed - prior.at(0.0).jacobian(x)).abs().max() > 100, "the further force is in it"


def test_jacobian_is_symmetric_and_knows_translations(ends, prior):
    jacobian = prior.at(0.0).jacobian(ends.x)
    size = jacobian.abs().max()
    assert (jacobian - jacobian.mT).abs().max() < 1e-5 * size
    shift = torch.eye(3).repeat(ends.topology.n_atoms, 1)
    assert (jacobian @ shift).abs().max() < 1e-5 * size


def test_second_derivatives_in_single_precision_are_near_those_in_double(ends):
    """OpenMM's CPU platform, which is taken in implicit solvent, has errors of some 1e-4 kJ/mol/nm in a force."""
    solvent = ("amber99sbildn.xml", "implicit/gbn2.xml")
    double, single = (
        OpenMMPrior(ends.topology, solvent, temperature_k=300.0, platform=name, threads=1)
        for name in ("Reference", "CPU")
    )
    x = ends.x[:1]
    exact, found = (Score.jacobian(prior.at(0.0), x) for prior in (double, single))  # from products, not closed
    assert (double.at(0.0).jacobian(x) - exact).abs().max() < 1e-5 * exact.abs().max()
    assert torch.equal(single.at(0.0).jacobian(x), double.at(0.0).jacobian(x)), "a closed form needs no platform"
    # 1e-4 kJ/mol/nm over a displacement of 2e-4 nm and kT = 2.5 kJ/mol: some 1/nm^2 in entries of up to 3e5.
    assert (found - exact).abs().max() < 5
    assert exact.abs().max() > 1e5
    coarse = FiniteDifferenceScore(lambda y: single.forces(y) / KT).jacobian(x)
    assert (coarse - exact).abs().max() > 2 * (found - exact).abs().max(), "the wider displacement is worth it"


def test_auto_wants_a_structure_to_time_platforms_with(ends):
    with pytest.raises(ValueError, match="give reference"):
        OpenMMPrior(ends.topology, ["amber99sbildn.xml"], temperature_k=300.0, platform="auto")
    chosen = OpenMMPrior(
        ends.topology, ["amber99sbildn.xml"], temperature_k=300.0, platform="auto", reference=ends.x[0], threads=1
    )
    assert (chosen.protocol.platform, chosen.milliseconds) == ("Reference", {})


def test_masses_follow_the_beads_into_another_order(ends, prior):
    masses = dict(zip((atom.label for atom in ends.topology.atoms), prior.masses_amu, strict=True))
    order = list(reversed(range(ends.topology.n_atoms)))
    turned = ends.topology.select(order)
    found = ReorderedPrior(prior, order, turned)
    assert found.masses_amu == tuple(masses[atom.label] for atom in turned.atoms)


def test_an_impossible_frame_spoils_no_other(ends, prior):
    x = torch.cat([ends.x, ends.x])
    x[1, 3, 0] = torch.nan
    score = prior.at(0.0)(x)
    assert score[1].isnan().all()
    torch.testing.assert_close(score[0], score[2])


def test_a_force_field_has_no_diffusion_time(prior):
    with pytest.raises(PriorError, match='prior "openmm" is a force field: got diffusion_time 0.1, expected 0'):
        prior.at(0.1)


@pytest.mark.slow  # some 130 000 forces
def test_classical_path_of_alanine_dipeptide_goes_over_its_saddle(ends, prior):
    """Saddle by eigenvector following: 36.4 kJ/mol above C7eq, at phi = -2, psi = -26 degrees."""
    guess = TorsionGuess(ends.topology).draw_one(ends.x, 26, torch.Generator().manual_seed(0), 0)

    def stage(images, dt_ps, tolerance):
        motion = Dynamics.langevin(
            dt_ps=dt_ps, masses_amu=ends.topology.masses_amu, friction_per_ps=1.0, temperature_k=300.0
        )
        optimizer = LevenbergMarquardt(max_steps=60, convergence=Convergence(tolerance, 20.0))
        return Stage(f"{images}", optimizer, TruncatedAction(prior.at(0.0), motion), images)

    stages = [stage(26, 4e-4, 1e-2), stage(26, 1.6e-3, 1e-3), stage(51, 1.6e-3, 1e-3)]
    paths, outcomes = run_stages(stages, guess.unsqueeze(0))
    assert all(outcome.all_converged for outcome in outcomes)
    energy = EnergyModel(ends.topology, ["amber99sbildn.xml"], ends.x[0], platform="Reference").energies(paths[0])
    assert (energy.max() - energy[0]).item() == pytest.approx(36.4, abs=0.3)
    named = dict(ends.topology.backbone_dihedrals)
    top = dihedral(paths[0, energy.argmax()], torch.tensor([named["phi ALA2"], named["psi ALA2"]])).rad2deg()
    assert top.tolist() == pytest.approx([-2, -26], abs=5)
