"""Ratcheted dynamics: progress, integrator, independence of the paths, and what happens where nothing arrives."""

from itertools import islice

import pytest
import torch

from tpsctl.errors import PathError
from tpsctl.guess import RatchetGuess
from tpsctl.guess.ratchet import ContactProgress, langevin, stiffness
from tpsctl.molecule.contacts import distant_pairs
from tpsctl.molecule.topology import Atom, Topology

BOND_NM = 0.38
CHAIN = Topology(
    tuple(Atom("CA", "C", "ALA", k + 1, "A", 110.0) for k in range(10)), tuple((k, k + 1) for k in range(9))
)
PAIRS = torch.tensor(distant_pairs(CHAIN, 3)).T


@pytest.fixture
def chain():
    """Ten beads in a row."""
    return CHAIN


@pytest.fixture
def ends():
    """A straight chain, and the same as a helix."""
    k = torch.arange(10, dtype=torch.float64)
    helix = torch.stack([0.23 * torch.cos(1.75 * k), 0.23 * torch.sin(1.75 * k), 0.15 * k], 1)
    straight = torch.stack([BOND_NM * k, 0.05 * torch.sin(3 * k), 0.05 * torch.cos(2 * k)], 1)
    return torch.stack([straight, helix])


def chain_score(x):
    """Stiff bonds of the helix's and the straight chain's mean length, and a weak pull to the helix's 1-3 distances."""
    force = torch.zeros_like(x)
    for apart, length, strength in ((1, 0.38, 4000.0), (2, 0.45, 10.0)):
        bond = x[:, apart:] - x[:, :-apart]
        r = bond.norm(dim=-1, keepdim=True)
        pull = strength * (r - length) * bond / r
        force[:, :-apart] += pull
        force[:, apart:] -= pull
    return force


def test_progress_is_zero_at_the_goal_and_its_slope_is_its_gradient(ends):
    progress = ContactProgress(PAIRS, ends[1:])
    assert float(progress.at(ends[1:])) == 0
    x = (ends[:1] + 0.02 * torch.randn(1, 10, 3, dtype=torch.float64)).requires_grad_(True)
    z, slope, _ = progress.with_slopes(x.detach(), torch.zeros(1, 1, dtype=torch.float64))
    assert float(z) == pytest.approx(float(progress.at(x.detach())), abs=1e-14)
    (gradient,) = torch.autograd.grad(progress.at(x).sum(), x)
    assert float((slope - gradient).abs().max()) < 1e-12  # rounding only


def test_wall_pushes_close_pairs_apart_and_no_others(ends):
    progress = ContactProgress(PAIRS, ends[1:])
    folded = ends[1:].clone()
    folded[0, 9] = folded[0, 0] + torch.tensor([0.1, 0.0, 0.0])
    _, _, push = progress.with_slopes(folded, torch.full((1, 1), 0.2, dtype=torch.float64))
    assert float(push[0, 9, 0]) == pytest.approx(0.1, abs=1e-12)
    assert float(push[0, 0, 0]) == pytest.approx(-0.1, abs=1e-12)
    moved = push[0].norm(dim=1) > 0
    assert moved.nonzero()[:, 0].tolist() == [0, 9]


def test_langevin_has_the_variance_of_its_harmonic_well():
    """k <x^2> = 1 in units of kT. BAOAB is exact for the positions of a harmonic well at any step."""
    generator = torch.Generator().manual_seed(1)
    k, step = 4000.0, 0.4 / 4000.0**0.5
    x = torch.randn(200, 10, 3, generator=generator, dtype=torch.float64) / k**0.5
    moves = langevin(lambda y: -k * y, x, lambda: torch.randn(x.shape, generator=generator, dtype=torch.float64), step)
    seen = [float(k * y.square().mean()) for y in islice(moves, 400)][50:]
    # 6000 coordinates, of which each decorrelates within about 100 steps: four standard errors are below 4 %
    assert sum(seen) / len(seen) == pytest.approx(1, abs=0.04)


def test_stiffness_is_the_largest_curvature():
    curvature = torch.arange(1.0, 31.0, dtype=torch.float64).reshape(10, 3).square() * 10
    found = stiffness(lambda y: -curvature * y, torch.zeros(2, 10, 3, dtype=torch.float64), iterations=80)
    assert found.tolist() == pytest.approx([9000.0, 9000.0], rel=1e-3)  # 80 iterations at a ratio of (29/30)^2


def test_path_depends_on_its_own_generator_only(chain, ends, generators):
    guess = RatchetGuess(chain_score, chain, steps=200)
    other = ends.clone()
    other[1] *= 1.05
    pairs = torch.stack([ends, other, ends])
    together = guess.draw(pairs, 12, generators(3))
    alone = guess.draw(pairs[2:], 12, generators(3)[2:], [2])
    assert torch.equal(together[2], alone[0])
    second = guess.draw(pairs[1:2], 12, generators(3)[1:2], [1])
    assert torch.equal(together[1], second[0])


def test_path_of_a_later_block_is_the_same_alone(chain, ends, generators):
    guess = RatchetGuess(chain_score, chain, steps=100)
    together = guess.draw(ends, 8, generators(10))
    assert torch.equal(together[9], guess.draw(ends, 8, generators(10)[9:], [9])[0])


def test_ratchet_goes_forward(chain, ends, generators):
    """The last free image is nearer to the goal than the first, and never far behind the best before it."""
    paths = RatchetGuess(chain_score, chain, steps=2000, strength_kt=5000.0).draw(ends, 30, generators(4))
    progress = ContactProgress(PAIRS, ends[1:])
    for path in paths:
        z = torch.cat([progress.at(image[None]) for image in path])
        assert float(z[-2]) < 0.5 * float(z[0])
        # the ratchet lets z fall behind by about sqrt(2 kT / k) = 0.02
        assert float((z - torch.cummin(z, 0).values).max()) < 0.1


def test_dynamics_that_breaks_down_ends_at_its_last_known_frame(chain, ends, generators):
    calls = 0

    def fails(x):
        nonlocal calls
        calls += 1
        return chain_score(x) if calls < 60 else torch.full_like(x, torch.nan)

    paths = RatchetGuess(fails, chain, steps=500).draw(ends, 8, generators(1))
    assert bool(torch.isfinite(paths).all())


def test_molecule_without_distant_pairs_is_refused():
    water = Topology(tuple(Atom(n, n[0], "HOH", 1, "A", 10.0) for n in ("O", "H1", "H2")), ((0, 1), (0, 2)))
    with pytest.raises(PathError, match="three bonds apart"):
        RatchetGuess(chain_score, water)
