"""Strings: they pass the known saddles, stay evenly spaced, and have no time step."""

import pytest
import torch

from tpsctl.action import Dynamics, GeometricAction, TruncatedAction
from tpsctl.molecule.curves import gaps
from tpsctl.optimize import Convergence, Status, String
from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.score.base import AutogradScore

MINIMA = ([23.073, 31.072], [41.897, 8.463])
SADDLES, WELL = (-3.539, -6.250), -7.022


def guess(start, end, images, *, bow=0.0):
    ends = torch.tensor([[start], [end]])
    s = torch.linspace(0, 1, images).view(-1, 1, 1)
    path = ends[0] + s * (ends[1] - ends[0])
    path[1:-1] += (bow * torch.sin(torch.pi * s) * torch.tensor([1.0, 1.0]))[1:-1]
    return path.unsqueeze(0)


def surface(dt_ps=1.0, kind=GeometricAction):
    prior = MuellerBrownPrior(temperature_k=2.405454)  # kT = 0.02 kJ/mol
    return prior, kind(prior.at(0.0), Dynamics.uniform(dt_ps=dt_ps, diffusion_nm2_per_ps=0.2, n_beads=1))


def tops(energy):
    """Energies at the interior maxima of a profile, by a parabola through the three highest images."""
    found = []
    for k in range(1, len(energy) - 1):
        a, b, c = energy[k - 1 : k + 2].tolist()
        if a < b >= c:
            found.append(b + (a - c) ** 2 / (8 * (2 * b - a - c)))
    return found


@pytest.mark.parametrize("bow", [0.0, 6.0])
def test_a_string_passes_the_saddles_of_mueller_brown(bow):
    """Tops to 0.01 kJ/mol by parabolas; S to 0.3 % of sum |dU| / 2kT, of which the trapezoidal rule errs by 0.1 %."""
    prior, action = surface()
    path = guess(*MINIMA, 100, bow=bow)
    found, outcome = String(max_steps=400, convergence=Convergence(1e-4, 1.0)).minimize(action, path)
    assert outcome.status == (Status.CONVERGED,)
    energy = prior.potential.energy(found[0])
    assert tops(energy) == pytest.approx(SADDLES, abs=0.01)
    bound = (
        abs(SADDLES[0] + 12.686) + abs(SADDLES[0] - WELL) + abs(SADDLES[1] - WELL) + abs(SADDLES[1] + 9.266)
    ) / 0.04
    assert outcome.terms.total.item() == pytest.approx(bound, rel=3e-3)
    assert torch.equal(found[:, [0, -1]], path[:, [0, -1]])
    distances = gaps(found)
    torch.testing.assert_close(distances, distances.mean().expand_as(distances), rtol=0.01, atol=0)


def test_the_score_alone_is_enough():
    """A score without any derivative: its graph is cut, and a product with its Jacobian raises."""

    def no_derivative(x):
        assert not x.requires_grad, "the explicit string asked for a derivative"
        return MuellerBrownPrior(temperature_k=300.0).at(0.0)(x)

    action = GeometricAction(AutogradScore(no_derivative), Dynamics.uniform(
        dt_ps=1.0, diffusion_nm2_per_ps=0.2, n_beads=1
    ))  # fmt: skip
    action.chunks.images = 100  # a plan would ask for the memory of a derivative
    found, _ = String(max_steps=600, convergence=Convergence(1e-4, 0.01), preconditioned=False).minimize(
        action, guess(*MINIMA, 40)
    )
    energy = MuellerBrownPrior(temperature_k=300.0).potential.energy(found[0])
    assert energy.max().item() == pytest.approx(SADDLES[0], abs=0.1), "40 images straddle the saddle"


def test_neither_time_step_nor_functional_changes_a_string():
    (_, one), (_, other) = surface(), surface(dt_ps=1e-3, kind=TruncatedAction)
    path, method = guess(*MINIMA, 30), String(max_steps=15)
    assert torch.equal(method.minimize(one, path)[0], method.minimize(other, path)[0])


@pytest.mark.parametrize("preconditioned", [True, False])
def test_a_batch_is_its_strings_one_by_one(preconditioned):
    prior = DoubleWellPrior(temperature_k=300.0, barrier=20.0, half_distance_nm=0.2, stiffness=2000.0, n_dims=2)
    action = GeometricAction(prior.at(0.0), Dynamics.uniform(dt_ps=1.0, diffusion_nm2_per_ps=0.1, n_beads=1))
    paths = torch.cat([guess([-0.2, 0.0], [0.2, 0.0], 15, bow=b) for b in (0.1, -0.03, 1e-3)])
    method = String(max_steps=60, convergence=Convergence(1e-6, 0.1), preconditioned=preconditioned)
    together, outcome = method.minimize(action, paths)
    for k in range(len(paths)):
        alone, its = method.minimize(action, paths[k : k + 1])
        assert its.status == outcome.status[k : k + 1]
        torch.testing.assert_close(alone[0], together[k], rtol=0, atol=1e-12)


def test_a_string_of_a_molecule_passes_the_saddle_whatever_its_ends_are_turned(butane_string):
    """Butane anti -> gauche over 13.755 kJ/mol in any orientation of the end, since only shapes have energies."""
    for degrees in (0.0, 25.0):
        energies, outcome = butane_string(degrees)
        assert outcome.status == (Status.CONVERGED,)
        assert tops(energies - energies[0]) == pytest.approx([13.755], abs=0.02)


def test_a_path_that_turns_non_finite_stops_alone():
    def walled(x):
        return torch.where(x[..., :1] > 1.0, torch.nan, -x)

    action = GeometricAction(AutogradScore(walled), Dynamics.uniform(dt_ps=1.0, diffusion_nm2_per_ps=1.0, n_beads=1))
    paths = torch.cat([guess([-0.5, 0.0], [0.5, 0.1], 9), guess([-0.5, 0.0], [1.5, 0.0], 9)])
    found, outcome = String(max_steps=5).minimize(action, paths)
    assert outcome.status[1] is Status.NON_FINITE
    assert outcome.status[0] is not Status.NON_FINITE
    assert bool(found.isfinite().all())
