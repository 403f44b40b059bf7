"""The denoising posterior over frames, against integrals over rotations and against Gaussian data."""

import torch

from tpsctl.molecule.geometry import center, superpose
from tpsctl.training.quality.posterior import denoising_posterior


def frames_of(count, seed=0):
    g = torch.Generator().manual_seed(seed)
    base = 0.15 * torch.randn(6, 3, generator=g)
    return center(base + 0.01 * torch.randn(count, 6, 3, generator=g)), g


def test_it_is_the_integral_over_rotations_of_every_frame():
    frames, g = frames_of(5)
    weights = torch.randn(5, generator=g)
    width = 0.01
    y = center(frames[:1] + width * torch.randn(1, 6, 3, generator=g))
    # rotation vectors on a grid about the best superposition of each frame; Haar measure 2 (1 - cos a) / a^2
    line = torch.linspace(-0.25, 0.25, 41)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    zero = torch.zeros(len(grid))
    rows = (zero, -grid[:, 2], grid[:, 1], grid[:, 2], zero, -grid[:, 0], -grid[:, 1], grid[:, 0], zero)
    turns = torch.linalg.matrix_exp(torch.stack(rows, 1).unflatten(1, (3, 3)))
    angle = grid.norm(dim=1).clamp_min(1e-9)
    measure = 2 * (1 - angle.cos()) / angle**2
    turned = torch.stack([superpose(frame, y[0]) @ turns.mT for frame in frames])
    logs = -(turned - y[0]).square().sum((2, 3)) / (2 * width**2) + weights[:, None] + measure.log()
    p = torch.softmax(logs.flatten(), 0).view_as(logs)
    expected = ((p[..., None, None] * turned).sum((0, 1)) - y[0]) / width**2
    found = denoising_posterior(y, frames, width, weights)
    by_frame = p.sum(1)
    torch.testing.assert_close(found.effective_frames[0], 1 / by_frame.square().sum(), rtol=0.02, atol=0)
    # Laplace's method is of order (width / size of the molecule)^2 = 0.5 %, of the largest component
    torch.testing.assert_close(found.score[0], expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_turning_a_noised_structure_turns_its_score():
    frames, g = frames_of(50)
    y = center(frames[:2] + 0.02 * torch.randn(2, 6, 3, generator=g))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g))[0]
    turn = turn * turn.det().sign()
    before, after = (denoising_posterior(each, frames, 0.02) for each in (y, y @ turn.T))
    torch.testing.assert_close(after.score, before.score @ turn.T)
    torch.testing.assert_close(after.effective_frames, before.effective_frames)


def test_a_mirror_image_is_no_superposition():
    frames, _ = frames_of(4)
    mirrored = frames * torch.tensor([1.0, 1.0, -1.0])
    found = denoising_posterior(frames[:1], mirrored, 0.01)
    assert found.score.norm() > 1e3, "no rotation maps a chiral structure onto its mirror image"


def test_the_effective_number_falls_to_one_at_small_widths():
    frames, g = frames_of(400)
    y = center(frames[:3] + 0.02 * torch.randn(3, 6, 3, generator=g))
    counts = [float(denoising_posterior(y, frames[3:], width).effective_frames.median()) for width in (1e-3, 0.03)]
    assert counts[0] < 1.5
    assert counts[1] > 100
