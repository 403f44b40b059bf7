"""A force field as a prior, and the saddle that Levenberg-Marquardt finds with it."""

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.endpoints.ends import align
from tpsctl.endpoints.load import load_structure
from tpsctl.errors import PriorError
from tpsctl.guess.torsion import TorsionGuess
from tpsctl.molecule.geometry import dihedral
from tpsctl.optimize import Convergence, LevenbergMarquardt, Stage, run_stages
from tpsctl.prior.openmm import OpenMMPrior
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


def test_jacobian_is_symmetric_and_knows_translations(ends, prior):
    jacobian = prior.at(0.0).jacobian(ends.x)
    size = jacobian.abs().max()
    assert (jacobian - jacobian.mT).abs().max() < 1e-5 * size
    shift = torch.eye(3).repeat(ends.topology.n_atoms, 1)
    assert (jacobian @ shift).abs().max() < 1e-5 * size


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
