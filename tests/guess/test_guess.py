"""What every guess owes: pinned ends, own randomness per path, the right shape, clear errors."""

import pytest
import torch

from tpsctl.errors import PathError
from tpsctl.guess import IdppGuess, LatentGuess, LinearGuess, TorsionGuess, TrajectoryGuess
from tpsctl.guess.base import straight_line


class ShrinkingPrior:
    """A stand-in for a generative prior: noise is added, denoising shrinks towards the mean."""

    def noise(self, x, t, generator):
        return x + t * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    def denoise(self, x_t, t, generator, *, steps=100, shared_noise=False):
        return x_t * (1 - t / 10)


@pytest.fixture(params=["linear", "latent", "idpp", "torsion", "trajectory"])
def guess(request, alanine_ends):
    topology = alanine_ends.topology
    return {
        "linear": lambda: LinearGuess(),
        "latent": lambda: LatentGuess(ShrinkingPrior(), level=0.01),
        "idpp": lambda: IdppGuess(topology, max_steps=5),
        "torsion": lambda: TorsionGuess(topology),
        "trajectory": lambda: TrajectoryGuess([straight_line(alanine_ends.x, 7)]),
    }[request.param]()


def test_ends_are_bit_identical(guess, alanine_ends, generators):
    paths = guess.draw(alanine_ends.x, 9, generators(2))
    assert paths.shape == (2, 9, 22, 3)
    assert torch.equal(paths[:, 0], alanine_ends.x[0].expand(2, -1, -1))
    assert torch.equal(paths[:, -1], alanine_ends.x[1].expand(2, -1, -1))
    assert bool(torch.isfinite(paths).all())


def test_path_depends_on_its_own_generator_only(guess, alanine_ends, generators):
    together = guess.draw(alanine_ends.x, 9, generators(3))
    alone = guess.draw(alanine_ends.x, 9, generators(3)[2:], [2])
    assert torch.equal(together[2], alone[0])
    assert torch.equal(together, guess.draw(alanine_ends.x, 9, generators(3)))


def test_random_guesses_differ(guess, alanine_ends, generators):
    paths = guess.draw(alanine_ends.x, 9, generators(2))
    is_random = isinstance(guess, (LatentGuess, IdppGuess, TorsionGuess))
    assert torch.equal(paths[0], paths[1]) != is_random


def test_no_image_jumps(guess, alanine_ends, generators):
    """Superposed on the straight line, neither the middle nor the pinned ends jump."""
    paths = guess.draw(alanine_ends.x, 50, generators(2))
    gap = paths.diff(dim=1).flatten(2).norm(dim=-1)
    limit = 30 if isinstance(guess, LatentGuess) else 5  # the stand-in prior displaces all but the ends
    assert float((gap.amax(1) / gap.mean(1)).max()) < limit


def test_caller_keeps_its_ends(guess, alanine_ends, generators):
    before = alanine_ends.x.clone()
    guess.draw(alanine_ends.x, 9, generators(1))
    assert torch.equal(alanine_ends.x, before)


def test_too_few_images(guess, alanine_ends, generators):
    with pytest.raises(PathError, match=r"path.images: got 2, expected at least 3"):
        guess.draw(alanine_ends.x, 2, generators(1))


def test_ends_that_are_no_pair(guess, alanine_ends, generators):
    broken = alanine_ends.x.clone()
    broken[1, 3] = torch.nan
    with pytest.raises(PathError, match=r"expected two finite configurations"):
        guess.draw(broken, 9, generators(1))


def test_linear_guess_of_a_model_system_is_the_straight_line(generators):
    ends = torch.tensor([[[23.0, 31.0]], [[42.0, 8.0]]])
    (path,) = LinearGuess().draw(ends, 20, generators(1))
    assert torch.allclose(path.diff(dim=0), ((ends[1] - ends[0]) / 19).expand(19, -1, -1))
