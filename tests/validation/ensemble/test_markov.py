"""The Markov model: chains whose committor, rate and timescales are known in closed form, and a double well."""

import math

import pytest
import torch

from tpsctl.errors import ValidationError
from tpsctl.validation.ensemble import markov

pytest.importorskip("deeptime", reason='deeptime is not installed (pip install -e ".[compare]")')

UP, DOWN = (0.3, 0.25, 0.2, 0.35, 0.4), (0.2, 0.3, 0.25, 0.3, 0.35)
"""Probabilities of a birth-death chain of six states: from i to i + 1, and from i + 1 to i."""


def birth_death():
    """Expected counts of the chain in equilibrium, and its equilibrium probabilities."""
    up, down = torch.tensor(UP), torch.tensor(DOWN)
    stationary = torch.cat((torch.ones(1), (up / down).cumprod(0)))
    stationary = stationary / stationary.sum()
    transition = torch.diag(up, 1) + torch.diag(down, -1)
    transition = transition + torch.diag(1 - transition.sum(1))
    return 1e6 * stationary.unsqueeze(1) * transition, stationary


def walk(transition, steps, generator):
    """A trajectory of a chain."""
    above, states = transition.cumsum(1).clamp(max=1).tolist(), [0]
    for u in torch.rand(steps, generator=generator).tolist():
        row = above[states[-1]]
        states.append(next((k for k, level in enumerate(row) if u < level), len(row) - 1))
    return torch.tensor(states)


def birth_death_committor(stationary):
    """q_i = sum of 1 / (pi_k p_k) over k < i, over the same sum to the last state: the flux is the same everywhere."""
    resistance = 1 / (stationary[:-1] * torch.tensor(UP))
    return torch.cat((torch.zeros(1), resistance.cumsum(0))) / resistance.sum(), 1 / resistance.sum()


def chain_of(counts, a=0, b=-1):
    in_a, in_b = torch.zeros(len(counts), dtype=torch.bool), torch.zeros(len(counts), dtype=torch.bool)
    in_a[a], in_b[b] = True, True
    return markov.solve_chain(markov.estimate(counts), in_a, in_b, lag=1)


def test_committor_and_rate_of_a_birth_death_chain_are_those_of_a_series_of_resistors():
    counts, stationary = birth_death()
    committor, flux = birth_death_committor(stationary)
    found = chain_of(counts)
    torch.testing.assert_close(found.stationary, stationary, rtol=1e-6, atol=0)  # deeptime iterates to about 1e-8
    torch.testing.assert_close(found.committor, committor, rtol=1e-6, atol=1e-9)
    assert found.rate == pytest.approx(float(flux / (stationary * (1 - committor)).sum()), rel=1e-6)


def test_committor_of_a_simulated_birth_death_chain_is_within_its_sampling_error(generator):
    counts, stationary = birth_death()
    states = walk(counts / counts.sum(1, keepdim=True), 40_000, generator)
    found = chain_of(markov.count_transitions([states], 6, 1))
    # about 6000 visits of every state and a chain that forgets in about 14 steps: 0.02 is three standard deviations
    torch.testing.assert_close(found.committor, birth_death_committor(stationary)[0], rtol=0, atol=0.02)


def test_timescale_of_two_states_is_that_of_the_second_eigenvalue():
    counts = torch.tensor([[95.0, 5.0], [5.0, 45.0]])  # the states are left with probabilities 0.05 and 0.1
    assert markov.slowest_timescale(markov.estimate(counts), 3) == pytest.approx(-3 / math.log(0.85), rel=1e-8)


def test_counts_are_taken_from_every_frame_and_not_between_trajectories():
    states = [torch.tensor([0, 0, 1, 2]), torch.tensor([2, 2])]
    expected = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(markov.count_transitions(states, 3, 2), expected)


def test_a_state_that_is_never_left_is_no_part_of_the_connected_set():
    counts = torch.tensor([[5.0, 1.0, 1.0], [1.0, 5.0, 0.0], [0.0, 0.0, 3.0]])
    assert markov.largest_connected_set(counts) == [0, 1]


def test_the_lag_is_the_first_at_which_the_timescale_stops_growing():
    assert markov.plateau_lag({1: 10.0, 2: 20.0, 4: 30.0, 8: 31.0, 16: 31.5}) == (4, True)
    assert markov.plateau_lag({1: 10.0, 2: 20.0, 4: 40.0}) == (4, False)


@pytest.fixture(scope="module")
def double_well():
    """Brownian trajectories in U/kT = 3 (x^2 - 1)^2, D = 1, every 0.02 time units."""
    generator, dt = torch.Generator().manual_seed(1), 0.002
    x = torch.where(torch.arange(40) < 20, -1.0, 1.0).double()
    frames = []
    for step in range(30_000):
        noise = torch.randn(40, generator=generator, dtype=torch.float64)
        x = x - 12 * x * (x.square() - 1) * dt + math.sqrt(2 * dt) * noise
        if step % 10 == 0:
            frames.append(x)
    return [path.unsqueeze(1) for path in torch.stack(frames, 1)]


def test_committor_of_a_double_well_is_that_of_quadrature(double_well):
    settings = markov.MarkovSettings(lag=5, clusters=40, dimensions=1)
    found = markov.find_microstates(double_well, settings)
    microstates, states = markov.connected(found, double_well, 5)
    centers = (microstates.centers @ torch.linalg.pinv(microstates.axes) + microstates.mean).flatten()
    counts = markov.count_transitions(states, len(centers), 5)
    in_a, in_b = centers < -0.9, centers > 0.9
    chain = markov.solve_chain(markov.estimate(counts), in_a, in_b, 5)
    # the sets are unions of microstates: their edges lie half-way between neighboring centers
    ordered = centers.sort().values
    left = float((ordered[ordered < -0.9].max() + ordered[ordered >= -0.9].min()) / 2)
    right = float((ordered[ordered > 0.9].min() + ordered[ordered <= 0.9].max()) / 2)
    grid = torch.linspace(left, right, 2001)
    resistance = torch.cumulative_trapezoid((3 * (grid.square() - 1).square()).exp(), grid)
    for center, q in zip(centers, chain.committor, strict=True):
        if left < center < right:
            exact = resistance[int((center - left) / (right - left) * 1999)] / resistance[-1]
            # microstates 0.07 wide with a slope of at most 1.3 blur q by 0.03; sampling adds 0.02
            assert float(q) == pytest.approx(float(exact), abs=0.07)


def test_metastable_sets_of_a_double_well_are_its_wells(double_well):
    found = markov.find_microstates(double_well, markov.MarkovSettings(lag=5, clusters=20, dimensions=1))
    microstates, states = markov.connected(found, double_well, 5)
    model = markov.estimate(markov.count_transitions(states, len(microstates.centers), 5))
    ends = [microstates.assign(torch.full((1, 1), value)) for value in (-1.0, 1.0)]
    in_a, in_b, sets = markov.metastable_sets(model, *ends)
    x = torch.cat(double_well).flatten()
    of_frames = torch.cat(states)
    assert sets == 2
    assert float(x[in_a[of_frames]].max()) < 0 < float(x[in_b[of_frames]].min())
    with pytest.raises(ValidationError, match="do not separate the two ends"):
        markov.metastable_sets(model, ends[0], ends[0])


def test_trajectories_that_never_return_are_refused():
    path = torch.linspace(0, 1, 200).unsqueeze(1)
    found = markov.find_microstates([path], markov.MarkovSettings(lag=1, clusters=10, dimensions=1))
    with pytest.raises(ValidationError, match="too short"):
        markov.connected(found, [path], 50)
