"""Committors of overdamped dynamics against quadrature in one dimension and a grid in two."""

import numpy as np
import pytest
import torch

from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.prior.potentials import mueller_brown
from tpsctl.simulation.shooting.committor import Committor
from tpsctl.simulation.shooting.dynamics import Arrival, ShotSeed
from tpsctl.simulation.shooting.overdamped import STEP_OF_STIFFEST, OverdampedDynamics, stable_step_ps
from tpsctl.simulation.shooting.states import PointWithin, TwoStates
from tpsctl.units import BOLTZMANN, thermal_energy

KT_1_K = 1 / BOLTZMANN
"""Temperature at which kT = 1 kJ/mol."""


def discs(a, b, radius):
    return TwoStates(
        [PointWithin(torch.tensor([a]).double(), radius)], [PointWithin(torch.tensor([b]).double(), radius)]
    )


def counted(dynamics, x, states, shots, longest_ps, seed=1):
    seeds = [ShotSeed((seed, 0, number)) for number in range(shots)]
    start = torch.tensor([[x]]).double().expand(shots, 1, len(x))
    return Committor.of(flight.arrival for flight in dynamics.fly(start, seeds, states, longest_ps))


def quadrature(x, edge, kt, barrier, half):
    """q(x) = int_{-edge}^{x} exp(U/kT) / int_{-edge}^{edge} exp(U/kT), the exact committor in one dimension."""
    grid = np.linspace(-edge, edge, 200_001)
    weight = np.exp(barrier * ((grid / half) ** 2 - 1) ** 2 / kt)
    return weight[grid <= x].sum() / weight.sum()


def test_committor_of_a_double_well_is_the_quotient_of_two_integrals():
    """Within 4 standard deviations of 500 shots (0.09); the step, 1/80 of the fastest relaxation, adds 0.003."""
    barrier, half, shots = 10.0, 0.1, 500
    prior = DoubleWellPrior(temperature_k=300.0, barrier=barrier, half_distance_nm=half)
    dynamics = OverdampedDynamics(prior.at(0.0), diffusion=1.0, dt_ps=4e-6)
    starts = [0.0, 0.02, -0.03]
    x = torch.tensor(starts).double().repeat_interleave(shots).view(-1, 1, 1)
    seeds = [ShotSeed((1, k // shots, k % shots)) for k in range(len(x))]
    flights = dynamics.fly(x, seeds, discs([-half], [half], 0.04), 1.0)
    for k, start in enumerate(starts):
        found = Committor.of(flight.arrival for flight in flights[k * shots : (k + 1) * shots])
        exact = quadrature(start, 0.06, thermal_energy(300.0), barrier, half)
        assert found.arrived == shots
        assert abs(found.p_b - exact) < 4 * np.sqrt(exact * (1 - exact) / shots) + 0.003
    assert quadrature(0.0, 0.06, thermal_energy(300.0), barrier, half) == pytest.approx(0.5, abs=1e-4)


def grid_committor(x, states, low, high, count):
    """Committor at x by finite volumes on a square grid, kT = 1: sum_j exp(-(U_i + U_j)/2) (q_j - q_i) = 0.

    The rows of the grid are eliminated one after the other (a block tridiagonal system).
    """
    axis = torch.linspace(low, high, count, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis).view(-1, 1, 2)
    energy = mueller_brown(points).view(count, count).clamp(max=50).numpy()  # nothing gets there: exp(-50)
    where = states.where(points).view(count, count).numpy()
    down = np.exp(-(energy[1:] + energy[:-1]) / 2)
    along = np.exp(-(energy[:, 1:] + energy[:, :-1]) / 2)
    block, right = np.zeros((count, count, count)), np.zeros((count, count))
    for i in range(count):
        free = where[i] == 0
        total = np.zeros(count)
        total[1:] += along[i]
        total[:-1] += along[i]
        total += (down[i] if i < count - 1 else 0) + (down[i - 1] if i else 0)
        block[i] = np.diag(total) - np.diag(along[i], 1) - np.diag(along[i], -1)
        block[i][~free] = np.eye(count)[~free]
        right[i] = (where[i] == 2) * 1.0
    factors, solved = [], []
    for i in range(count):
        lower = np.diag(np.where(where[i] == 0, down[i - 1], 0)) if i else np.zeros((count, count))
        matrix = block[i] - (lower @ factors[-1] if i else 0)
        upper = np.diag(np.where(where[i] == 0, down[i], 0)) if i < count - 1 else np.zeros((count, count))
        both = np.linalg.solve(matrix, np.column_stack([upper, right[i] + (lower @ solved[-1] if i else 0)]))
        factors.append(both[:, :-1])
        solved.append(both[:, -1])
    q = np.zeros((count, count))
    q[-1] = solved[-1]
    for i in range(count - 2, -1, -1):
        q[i] = solved[i] + factors[i] @ q[i + 1]
    step = float(axis[1] - axis[0])
    return q[round((x[0] - low) / step), round((x[1] - low) / step)]


def test_committor_on_the_mueller_brown_surface():
    """Beside the saddle, kT = 1: within 4 standard deviations of 400 shots (0.1)."""
    states, x = discs([23.0, 30.0], [40.0, 9.0], 2.5), (26.0, 22.0)
    exact = grid_committor(x, states, 5.0, 55.0, 51)
    prior = MuellerBrownPrior(temperature_k=KT_1_K)
    dt_ps = stable_step_ps(prior.at(0.0).jvp, torch.tensor([[list(x)]]).double(), 1.0, seed=1)
    shots = 400
    found = counted(OverdampedDynamics(prior.at(0.0), diffusion=1.0, dt_ps=dt_ps), list(x), states, shots, 1e4)
    assert found.arrived == shots
    assert 0.05 < exact < 0.95
    assert abs(found.p_b - exact) < 4 * np.sqrt(exact * (1 - exact) / shots)


def test_a_shot_does_not_depend_on_those_beside_it():
    prior = DoubleWellPrior(temperature_k=300.0, barrier=10.0)
    dynamics = OverdampedDynamics(prior.at(0.0), diffusion=1.0, dt_ps=1e-5)
    states, seeds = discs([-0.1], [0.1], 0.05), [ShotSeed((1, 0, k)) for k in range(6)]
    x = torch.zeros(6, 1, 1).double()
    together = dynamics.fly(x, seeds, states, 0.5, keep=True)
    for flight, seed in zip(together, seeds, strict=True):
        (alone,) = dynamics.fly(x[:1], [seed], states, 0.5, keep=True)
        assert (alone.arrival, alone.length_ps) == (flight.arrival, flight.length_ps)
        assert torch.equal(alone.frames, flight.frames)
    assert len({tuple(flight.frames[1].flatten().tolist()) for flight in together}) == 6


def test_kept_frames_lead_from_the_start_into_the_state():
    prior = DoubleWellPrior(temperature_k=300.0, barrier=10.0)
    dynamics = OverdampedDynamics(prior.at(0.0), diffusion=1.0, dt_ps=1e-5)
    states = discs([-0.1], [0.1], 0.05)
    (flight,) = dynamics.fly(torch.zeros(1, 1, 1).double(), [ShotSeed((3, 0, 0))], states, 0.5, keep=True)
    where = states.where(flight.frames)
    assert flight.length_ps == pytest.approx((len(flight.frames) - 1) * 1e-5, rel=1e-12)
    assert torch.equal(flight.frames[0], torch.zeros(1, 1).double())
    assert where[:-1].eq(0).all()
    assert where[-1] != 0


def test_a_shot_whose_time_is_over_is_told_apart_from_one_that_arrives():
    prior = DoubleWellPrior(temperature_k=300.0, barrier=10.0)
    dynamics = OverdampedDynamics(prior.at(0.0), diffusion=1.0, dt_ps=1e-6)
    states = discs([-0.1], [0.1], 0.01)
    (flight,) = dynamics.fly(torch.zeros(1, 1, 1).double(), [ShotSeed((3, 0, 0))], states, 2e-6)
    assert (flight.arrival, flight.length_ps) == (Arrival.NEITHER, 2e-6)


def test_a_shot_that_breaks_down_is_told_so():
    dynamics = OverdampedDynamics(lambda x: x * torch.nan, diffusion=1.0, dt_ps=1.0)
    (flight,) = dynamics.fly(torch.zeros(1, 1, 1).double(), [ShotSeed((3, 0, 0))], discs([-9.0], [9.0], 0.1), 10.0)
    assert (flight.arrival, flight.length_ps) == (Arrival.FAILED, 1.0)


def test_the_step_follows_from_the_largest_curvature():
    """-log p = 1/2 sum k x^2 with k = 3 and 40: D dt k = 0.05 for the stiffer one, to the power iteration's 1e-9."""
    k = torch.tensor([3.0, 40.0]).double()
    step = stable_step_ps(lambda x, v: -k * v, torch.zeros(2, 1, 2).double(), 2.0, seed=1)
    assert step == pytest.approx(STEP_OF_STIFFEST / 80, rel=1e-9)
