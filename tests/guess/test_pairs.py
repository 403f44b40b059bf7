"""Relaxation of pair distances: a minimum of the stated sum, ends pinned, found in few steps."""

import torch

from tpsctl.guess.base import straight_line
from tpsctl.guess.pairs import SPRING_PER_NM2, PairTargets, relaxed, weights_of


def bent(ends, images=40):
    """A straight line bent by a random field, and distances to which it should go back."""
    path = straight_line(ends, images)
    noise = 0.05 * torch.randn(ends.shape[1:], generator=torch.Generator().manual_seed(0), dtype=path.dtype)
    wave = torch.sin(torch.pi * torch.linspace(0, 1, images, dtype=path.dtype)).view(-1, 1, 1)
    between = torch.linspace(0, 1, images, dtype=path.dtype).view(-1, 1, 1)
    distance = torch.lerp(torch.cdist(ends[:1], ends[:1]), torch.cdist(ends[1:], ends[1:]), between)
    no_bounds = torch.zeros(distance.shape[1:], dtype=torch.bool)
    return path + wave * noise, PairTargets(distance, weights_of(distance), no_bounds)


def energy(path, targets, reference):
    """S + springs, written out pair by pair."""
    i, j = torch.triu_indices(path.shape[1], path.shape[1], 1)
    excess = (path[:, i] - path[:, j]).norm(dim=-1) - targets.distance[:, i, j]
    return (targets.weight[:, i, j] * excess**2).sum() + SPRING_PER_NM2 / 2 * (path - reference).diff(
        dim=0
    ).square().sum()


def test_it_is_the_minimum_of_pairs_and_springs(alanine_ends):
    path, targets = bent(alanine_ends.x)
    for reference in (None, path):
        found = relaxed(path, targets, reference=reference, max_steps=500)
        assert torch.equal(found[[0, -1]], path[[0, -1]])
        x = found.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(x, targets, torch.zeros_like(x) if reference is None else path), x)
        # L-BFGS stops where no derivative by z = R x is above 1e-6; R is at most sqrt(4 K + w) < 400.
        assert float(gradient[1:-1].abs().max()) < 1e-6 * 400 * len(path)


def test_sixty_steps_are_enough_for_a_guess(alanine_ends):
    path, targets = bent(alanine_ends.x)
    few, many = (relaxed(path, targets, max_steps=steps) for steps in (60, 2000))
    excess = energy(few, targets, torch.zeros_like(few)) - energy(many, targets, torch.zeros_like(many))
    assert 0 <= float(excess) < 1e-3 * float(energy(path, targets, torch.zeros_like(path)))


def test_bounds_only_push_apart(alanine_ends):
    path = straight_line(alanine_ends.x, 8)
    now = torch.cdist(path, path)
    loose = PairTargets(0.5 * now, weights_of(now), torch.ones(now.shape[1:], dtype=torch.bool))
    moved = relaxed(path, loose, reference=path, max_steps=60)
    torch.testing.assert_close(moved, path, rtol=0, atol=1e-12)
