"""Committor and rate by the variational principle: a double well in closed form, and the Mueller-Brown surface."""

import math

import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from tpsctl.errors import ValidationError
from tpsctl.prior.potentials import mueller_brown
from tpsctl.validation.rate.committor import (
    CommittorNetwork,
    States,
    WeightedSamples,
    dissipation,
    fit_committor,
    measure_rate,
)
from tpsctl.validation.rate.tempered import tempered_samples


def samples_of(energy, states, *, seed, per_walker, tempering, step):
    starts = torch.where((torch.arange(200) % 2 == 0).unsqueeze(1), states.a, states.b)
    c, weights, walkers = tempered_samples(
        energy,
        starts,
        tempering=tempering,
        settle=300,
        samples=per_walker,
        every=8,
        step=step,
        generator=torch.Generator().manual_seed(seed),
    )
    return WeightedSamples(c, torch.eye(c.shape[1]).expand(len(c), -1, -1), weights, walkers)


def rate_between(energy, states, *, tempering=3.0, step=0.1, per_walker=20, steps=300):
    fitted, measured = (
        samples_of(energy, states, seed=seed, per_walker=count, tempering=tempering, step=step)
        for seed, count in ((1, per_walker), (2, 3 * per_walker))
    )
    committor = fit_committor(fitted, states, steps=steps, seed=1)
    return committor, measure_rate(committor, measured, draws=100, seed=1)


def test_tempered_samples_of_a_harmonic_well_have_its_moments(generator):
    points, weights, _ = tempered_samples(
        lambda x: 2 * x.square().sum(1),
        torch.zeros(200, 2),
        tempering=3.0,
        settle=200,
        samples=50,
        every=5,
        step=0.5,
        generator=generator,
    )
    weights = weights / weights.sum()
    # the effective number of independent samples is about 2000: 0.25 has a standard error of 0.008
    assert float((weights * points[:, 0].square()).sum()) == pytest.approx(0.25, abs=0.025)
    assert float(points[:, 0].square().mean()) == pytest.approx(0.75, abs=0.06)


def test_the_conditions_at_the_states_hold_for_any_network():
    states = States(torch.zeros(2), torch.tensor([3.0, 0.0]), 0.5, periodic=False)
    committor = CommittorNetwork(states, torch.zeros(2), torch.ones(2), seed=3)
    q, density = dissipation(
        committor, torch.tensor([[0.2, 0.3], [2.9, 0.1], [1.5, 0.0]]), torch.eye(2).expand(3, 2, 2)
    )
    assert q[:2].tolist() == [0.0, 1.0]
    assert 0 < q[2].item() < 1
    assert density[:2].tolist() == [0.0, 0.0]
    assert float(density[2]) > 0


def test_angles_are_near_over_the_edge():
    states = States(torch.tensor([3.1]), torch.tensor([0.0]), 0.2, periodic=True)
    assert float(states.distance(torch.tensor([[-3.1]]), states.a)) == pytest.approx(2 * math.pi - 6.2)
    assert states.edges(torch.tensor([[-3.1]]))[0].tolist() == [0.0]


def test_states_that_touch_are_refused():
    with pytest.raises(ValidationError, match="below 0.5"):
        States(torch.zeros(1), torch.ones(1), 0.6, periodic=False)


def test_free_diffusion_between_two_walls_has_a_straight_committor():
    """Uniform density on [0, 1]: q rises in a straight line, and its flux is D / width for a density of 1."""
    states = States(torch.zeros(1), torch.ones(1), 0.1, periodic=False)
    c = torch.linspace(0, 1, 2001).unsqueeze(1)
    samples = WeightedSamples(c, 2.0 * torch.ones(2001, 1, 1), torch.ones(2001), torch.arange(2001))
    committor = fit_committor(samples, states, steps=300, seed=1)
    found = measure_rate(committor, samples, draws=50, seed=1)
    # the samples leave the network an error of 0.1 %; 2 / 0.8 for D = 2, and half of all comes from A
    assert found.flux_per_ps == pytest.approx(2.5, rel=5e-3)
    assert found.population_a == pytest.approx(0.5, abs=5e-3)
    inside = (c.flatten() > 0.1) & (c.flatten() < 0.9)
    q = committor(c).detach()[inside]
    torch.testing.assert_close(q, (c.flatten()[inside] - 0.1) / 0.8, rtol=0, atol=0.02)


def test_a_double_well_has_the_rate_of_its_quadrature():
    """One dimension: nu = D / (Z int exp(u) dx) between the edges of the states, with Z = int exp(-u) dx."""

    def u(x):
        return 5 * (x.square() - 1).square()

    states = States(torch.tensor([-1.0]), torch.tensor([1.0]), 0.2, periodic=False)
    committor, found = rate_between(lambda x: u(x[:, 0]), states)
    x, between = torch.linspace(-3, 3, 20001), torch.linspace(-0.8, 0.8, 20001)
    z, resistance = torch.trapezoid((-u(x)).exp(), x), torch.trapezoid(u(between).exp(), between)
    exact = float(1 / (z * resistance))
    # 12000 samples, of them about 1000 effective ones at the barrier: a standard error of 3 to 4 %
    assert found.flux_per_ps == pytest.approx(exact, rel=0.12)
    assert found.rate_per_ps == pytest.approx(2 * exact, rel=0.12)  # half of the population comes from A
    assert found.flux_interval_per_ps[0] < found.flux_per_ps < found.flux_interval_per_ps[1]
    cumulative = torch.cumulative_trapezoid(u(between).exp(), between) / resistance
    q = committor(between[1::2000].unsqueeze(1)).detach()
    torch.testing.assert_close(q, cumulative[::2000], rtol=0, atol=0.05)


def mueller_brown_by_finite_differences(states, *, count=220):
    """Functional 1/2 E|grad q|^2 and rate / D of the surface at kT = 1, from conductances between nodes of a grid."""
    axis = torch.linspace(5, 50, count)
    h = float(axis[1] - axis[0])
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack((x, y), -1)
    energy = mueller_brown(points.view(-1, 1, 2)).clamp_max(40)  # higher ones carry no flux, and would underflow
    rho = (-energy).exp().view(count, count)
    rho = rho / (rho.sum() * h * h)
    in_a, in_b = ((points - center).norm(dim=-1) < states.radius for center in (states.a, states.b))
    number = torch.arange(count * count).view(count, count)
    rows, columns, values = [], [], []
    for first, second, density in (
        (number[:-1], number[1:], (rho[:-1] * rho[1:]).sqrt()),
        (number[:, :-1], number[:, 1:], (rho[:, :-1] * rho[:, 1:]).sqrt()),
    ):
        i, j, g = first.flatten(), second.flatten(), density.flatten()
        rows += [i, j, i, j]
        columns += [i, j, j, i]
        values += [g, g, -g, -g]
    matrix = coo_matrix(
        (torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(columns).numpy())), (count**2, count**2)
    ).tocsr()
    fixed, q = (in_a | in_b).flatten().numpy(), in_b.flatten().double().numpy()
    free = ~fixed
    scale = matrix.diagonal()[free]
    inner = matrix[free]
    q[free] = spsolve((inner[:, free].multiply(1 / scale[:, None])).tocsc(), -(inner[:, fixed] @ q[fixed]) / scale)
    functional = 0.5 * float(q @ (matrix @ q))
    return functional, 2 * functional / float((rho.flatten() * (1 - torch.from_numpy(q))).sum() * h * h)


def test_the_rate_on_the_mueller_brown_surface_is_that_of_finite_differences():
    states = States(torch.tensor([23.0, 30.0]), torch.tensor([40.0, 9.0]), 0.5, periodic=False)
    functional, rate = mueller_brown_by_finite_differences(states)
    assert functional == pytest.approx(3.305e-6, rel=0.03)  # 220 nodes on a side; known from grids of up to 800
    assert rate == pytest.approx(6.90e-6, rel=0.03)
    _, found = rate_between(
        lambda x: mueller_brown(x.unsqueeze(1)), states, tempering=4.0, step=1.0, per_walker=30, steps=260
    )
    assert found.population_a == pytest.approx(0.958, abs=0.02)
    assert found.rate_per_ps == pytest.approx(rate, rel=0.25)
    assert found.transition_samples > 1000
