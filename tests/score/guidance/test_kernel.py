"""The kernel density of guides: distances, its score, and where it leads the samples."""

import pytest
import torch

from tpsctl.molecule.geometry import center, dihedral, rmsd
from tpsctl.score.base import AutogradScore
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.kernel import KernelGuide, flow_to_noise
from tpsctl.score.guidance.metrics import InTorsions, Superposition, squared_distances
from tpsctl.score.guidance.process import guided_diffusion, initial_noise
from tpsctl.score.likelihood import Diffusion
from tpsctl.score.reverse_process import geometric_widths

FREE, FIXED = Superposition(15, superposed=True), Superposition(15, superposed=False)


def turned(x, generator):
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    return x @ (q * torch.linalg.det(q).sign())


def test_superposed_distance_is_that_of_kabsch(generator):
    y, guides = torch.randn(4, 7, 3, generator=generator), torch.randn(3, 7, 3, generator=generator)
    found = squared_distances(y, guides, superposed=True)
    expected = 7 * rmsd(y.unsqueeze(1).expand(4, 3, 7, 3), guides.expand(4, 3, 7, 3)).square()
    torch.testing.assert_close(found, expected)


def test_a_mirror_image_is_not_superposed(generator):
    x = center(torch.randn(1, 6, 3, generator=generator))
    assert squared_distances(x, -x, superposed=True).item() > 0.1
    # the distance is a difference of squares of order 10, so its rounding is of order 1e-15 relative to them
    assert squared_distances(turned(x, generator), x, superposed=True).item() < 1e-12


def test_score_is_the_gradient_and_does_not_turn_or_move_a_molecule(generator):
    points = torch.randn(2, 3, 5, 3, generator=generator)
    guide = KernelGuide([0.1, 1.0], points, strength=lambda s: 0.7, bandwidth=lambda s: 0.8, metric=FREE)
    y = torch.randn(4, 5, 3, generator=generator)
    h = guide.at(0.3)(y)
    assert torch.autograd.gradcheck(lambda z: guide.potential(z, 0.3), y.clone().requires_grad_(True))
    torch.testing.assert_close(h.sum(1), torch.zeros(4, 3), atol=1e-10, rtol=0)
    torque = torch.linalg.cross(center(y), h).sum(1)
    torch.testing.assert_close(torque, torch.zeros(4, 3), atol=1e-10, rtol=0)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    q = q * torch.linalg.det(q).sign()
    torch.testing.assert_close(guide.at(0.3)(y @ q), h @ q)
    # one guide and a point: h = a (g - y) / b^2
    plain = KernelGuide([0.1, 1.0], points[:, :1], strength=lambda s: 0.7, bandwidth=lambda s: 0.8, metric=FIXED)
    torch.testing.assert_close(plain.at(0.1)(y), 0.7 * (points[0, :1] - y) / 0.64)


def test_a_kernel_in_torsions_moves_torsions_only(generator):
    """One guide: h = -a sin(difference) / b^2 times the gradient of the torsion, which is invariant."""
    metric = InTorsions(torch.tensor([[0, 1, 2, 3]]))
    points = torch.randn(2, 1, 5, 3, generator=generator)
    guide = KernelGuide([0.1, 1.0], points, strength=lambda s: 0.7, bandwidth=lambda s: 0.5, metric=metric)
    y = torch.randn(4, 5, 3, generator=generator).requires_grad_(True)
    angle = dihedral(y, torch.tensor([[0, 1, 2, 3]])).squeeze(1)
    (gradient,) = torch.autograd.grad(angle.sum(), y)
    change = (angle - dihedral(points[0], torch.tensor([[0, 1, 2, 3]]))[0, 0]).detach()
    expected = -0.7 * (change.sin() / 0.25).view(-1, 1, 1) * gradient
    torch.testing.assert_close(guide.at(0.1)(y.detach()), expected)
    assert not bool(expected[:, 4].any()), "the fifth bead belongs to no torsion"


def test_a_distance_in_torsions_is_periodic_and_near_zero_the_squared_difference(generator):
    metric = InTorsions(torch.tensor([[0, 1, 2, 3]]))
    y = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]]).repeat(3, 1, 1).double()
    for k, degrees in enumerate((179.0, -179.0, 90.0)):
        phi = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        y[k, 3] = torch.stack((phi.cos(), phi.sin(), torch.tensor(1.0, dtype=torch.float64)))
    found = metric.squared(y, y)
    small = float(torch.deg2rad(torch.tensor(2.0, dtype=torch.float64)) ** 2)
    # 2 - 2 cos(x) = x^2 (1 - x^2 / 12 + ...)
    assert found[0, 1].item() == pytest.approx(small, rel=2e-4)
    assert found[0, 2].item() == pytest.approx(2 - 2 * torch.deg2rad(torch.tensor(89.0)).cos().item(), rel=1e-5)


def test_guides_are_interpolated_in_the_logarithm_of_the_width():
    points = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    guide = KernelGuide([0.01, 1.0], points, strength=lambda s: 1.0, bandwidth=lambda s: 1.0, metric=FIXED)
    assert guide.guides_at(0.1).item() == pytest.approx(0.5)
    assert guide.guides_at(0.001).item() == 0
    assert guide.guides_at(50.0).item() == 1


def test_flow_of_a_gaussian_scales_with_its_width():
    """y(s) = y(s_0) ((c^2 + s^2) / (c^2 + s_0^2))^(1/2) for data N(0, c^2)."""
    law = Diffusion(lambda s: AutogradScore(lambda y: -y / (0.49 + s**2)), 0.01, 10.0)
    widths = geometric_widths(0.01, 10.0, 100)
    found = flow_to_noise(law, torch.tensor([[[0.8]]]), widths)
    expected = [0.8 * ((0.49 + s**2) / (0.49 + 0.0001)) ** 0.5 for s in widths]
    torch.testing.assert_close(found.flatten(), torch.tensor(expected), rtol=1e-6, atol=0)


def test_clock_has_noise_as_wide_as_the_data_at_one_half():
    clock = GuidanceClock(0.3)
    assert clock.time(0.3) == pytest.approx(0.5)
    assert clock.time(0.0) == 0
    assert clock.alpha(0.3) ** 2 == pytest.approx(0.5)


def test_samples_gather_around_guides_and_their_weights_undo_it(generator):
    """Data N(0, 1) in two dimensions, guides near (1, 1): guided samples have a mean towards it, weighted ones none."""
    law = Diffusion(lambda s: AutogradScore(lambda y: -y / (1 + s**2)), 0.02, 50.0, spread=1.0)
    clock = GuidanceClock(1.0)
    widths = geometric_widths(50.0, 0.02, 80)
    guides = torch.tensor([[[1.0, 0.8]], [[0.8, 1.0]]])
    guide = KernelGuide(
        widths[::-1],
        flow_to_noise(law, guides, widths[::-1]),
        strength=lambda s: 0.5 if clock.time(s) < 0.5 else 0.0,
        bandwidth=lambda s: 1.0 / clock.alpha(s),
        metric=FIXED,
    )
    start = initial_noise(law, torch.zeros(3000, 1, 2), generator)
    found = guided_diffusion(law, guide, start, widths, generator)
    mean = found.y.mean((0, 1))
    assert bool((mean > 0.1).all())  # the standard error is 0.02
    weights = torch.softmax(-found.log_ratio, 0)
    weighted = (weights.view(-1, 1) * found.y[:, 0]).sum(0)
    # the effective number of samples is above 1000, so the standard error is below 0.03
    assert float(1 / weights.square().sum()) > 1000
    assert bool((weighted.abs() < 0.13).all())
