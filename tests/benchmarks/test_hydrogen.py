"""The hydrogen benchmark: its density, its samples and its distance, on samples too few for its results."""

import math

import pytest
import torch

SAMPLES = 2000


@pytest.fixture
def atom(root, monkeypatch):
    monkeypatch.syspath_prepend(root)
    from benchmarks import hydrogen_atom

    return hydrogen_atom


def test_the_units_are_the_published_ones(atom):
    """T = 14000 in units with a Bohr radius of 4 pi is 0.98 periods of the beat; its kernel in Bohr follows."""
    assert pytest.approx(88.7, abs=0.05) == atom.DURATION
    assert atom.DURATION / (2 * math.pi * 72 / 5) == pytest.approx(0.98, abs=0.002)
    assert pytest.approx(0.0158, abs=5e-5) == atom._KERNEL


def test_the_density_is_that_of_two_normalized_orthogonal_states(atom):
    """The integral over a grid in spherical coordinates is 1 at any time; the mean radius is that of the states.

    <r> = (3 n^2 - l (l + 1)) / 2, the mean of 10.5 and 5 Bohr; the interference of different l leaves it alone.
    """
    r = torch.linspace(0.05, 60, 240)
    cosine, phi = torch.linspace(-1 + 1 / 40, 1 - 1 / 40, 40), 2 * math.pi * torch.arange(12) / 12
    grid = torch.stack(torch.meshgrid(r, cosine, phi, indexing="ij"), -1).flatten(0, 2)
    sine = (1 - grid[:, 1].square()).sqrt()
    x = grid[:, :1] * torch.stack((sine * grid[:, 2].cos(), sine * grid[:, 2].sin(), grid[:, 1]), 1)
    weight = grid[:, 0].square() * (r[1] - r[0]) * 2 / 40 * 2 * math.pi / 12
    for time in (0.0, 17.0):
        density = weight * atom.log_density(x, time).exp()
        assert float(density.sum()) == pytest.approx(1, abs=2e-3)  # the midpoint rule in the cosine
        assert float((density * grid[:, 0]).sum()) == pytest.approx(7.75, abs=0.02)


def test_it_turns_like_a_rigid_body_with_the_beat(atom, generator):
    x, time = torch.randn(50, 3, generator=generator), 13.0
    angle = 5 / 72 * time
    turned = torch.stack(
        (x[:, 0] * math.cos(angle) - x[:, 1] * math.sin(angle), x[:, 0] * math.sin(angle) + x[:, 1] * math.cos(angle)),
        dim=1,
    )
    torch.testing.assert_close(
        atom.log_density(x, time), atom.log_density(torch.cat((turned, x[:, 2:]), 1), 0.0), rtol=1e-12, atol=1e-12
    )


def test_metropolis_chains_and_exact_samples_agree(atom, generator, monkeypatch):
    """The squared MMD of two true samples of 2000 is 0 with a standard deviation of about 1e-3 (measured)."""
    monkeypatch.setattr(atom, "STEPS", 4)
    monkeypatch.setattr(atom, "_BETWEEN", 200)
    chains = atom.metropolis_samples(SAMPLES, generator)
    assert chains.shape == (5, SAMPLES, 3)
    for k in (0, 4):
        exact = atom.exact_samples(SAMPLES, k * atom.DURATION / 4, generator)
        assert abs(atom.squared_mmd(chains[k], exact)) < 4e-3
    quarter = atom.exact_samples(SAMPLES, atom.DURATION / 4, generator)
    assert atom.squared_mmd(chains[0], quarter) > 0.02, "a quarter of the beat is another density"


def test_the_distance_of_points_that_can_be_counted(atom):
    """One point thrice against one far away thrice: k(x, x) + k(y, y) - 2 k(x, y) = 3 + 3 - 0."""
    far = torch.zeros(3, 3)
    far[:, 0] = 1e3
    assert atom.squared_mmd(torch.zeros(3, 3), far) == pytest.approx(6)
