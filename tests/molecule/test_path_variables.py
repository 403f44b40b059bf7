"""Path variables: limits in closed form, invariance, and references at equal distances."""

import math

import pytest
import torch

from tpsctl.molecule.geometry import rmsd
from tpsctl.molecule.path_variables import equidistant, lambda_of, progress_and_distance


@pytest.fixture
def curve(generator):
    """A bent path of 9 atoms whose images are unequally far apart, nm."""
    a, b, c = torch.randn(3, 9, 3, generator=generator, dtype=torch.float64) * 0.1
    t = torch.linspace(0, 1, 60, dtype=torch.float64)[:, None, None] ** 2
    return a + t * b + t**2 * c


def test_far_apart_references_give_whole_numbers(curve):
    references = equidistant(curve, 5)
    s, z = progress_and_distance(references, references, 100 * lambda_of(references))
    torch.testing.assert_close(s, torch.arange(1.0, 6.0, dtype=torch.float64))
    torch.testing.assert_close(z, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)


def test_two_references_give_the_closed_form(curve):
    """For n = 2, s = 1 + 1/(1 + exp(-lambda (d1^2 - d2^2)))."""
    references, x = curve[[0, -1]], curve[20:30]
    lambda_ = 30.0
    d1, d2 = (rmsd(x, r.expand_as(x)).square() for r in references)
    s, z = progress_and_distance(x, references, lambda_)
    torch.testing.assert_close(s, 1 + torch.sigmoid(lambda_ * (d1 - d2)))
    torch.testing.assert_close(z, -torch.log(torch.exp(-lambda_ * d1) + torch.exp(-lambda_ * d2)) / lambda_)


def test_rigid_motions_change_nothing(curve):
    references = equidistant(curve, 6)
    turn = torch.tensor([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]], dtype=torch.float64)
    before = progress_and_distance(curve[10:20], references, lambda_of(references))
    after = progress_and_distance(curve[10:20] @ turn.T + 3, references, lambda_of(references))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [2, 7, 20])
def test_references_are_equally_far_from_their_neighbors(curve, count):
    references = equidistant(curve, count)
    gaps = rmsd(references[:-1], references[1:])
    assert len(references) == count
    assert float(gaps.max() / gaps.min()) < 1 + 1e-5
    assert float(rmsd(references[0], curve[0])) < 1e-9
    assert float(rmsd(references[-1], curve[-1])) < 1e-9
    assert lambda_of(references) * float(gaps.mean()) ** 2 == pytest.approx(2.3, rel=1e-4)


def test_turned_images_make_the_same_references(curve):
    turned = curve.clone()
    angle = math.radians(40)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]], dtype=torch.float64
    )
    turned[1::2] = turned[1::2] @ turn.T
    same = rmsd(equidistant(curve, 8), equidistant(turned, 8))
    assert float(same.max()) < 1e-7
