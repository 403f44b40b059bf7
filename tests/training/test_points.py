"""Training on points: against the exact answer for Gaussian data."""

from dataclasses import replace

import torch
from tpsctl.training.points import PointTrainer, PointTraining

from tpsctl.networks.perceptron import Perceptron
from tpsctl.score.levels import cosine_tables

STEPS = 600


def settings(kind, seed=0):
    return PointTraining(
        kind=kind, hidden=32, steps=STEPS, batch=512, learning_rate=3e-3, average=0.99, small_times=0.5, seed=seed
    )


def trained(kind, steps=STEPS):
    points = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    tables = cosine_tables(64)
    levels = (tables[name].float() for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"))
    trainer = PointTrainer(points, settings(kind), *(levels if kind == "diffusion" else ()))
    for step, _ in trainer.run():
        if step == steps:
            break
    network = Perceptron(trainer.sizes)
    network.load_state_dict(trainer.average)
    return network.float(), tables


def test_diffusion_finds_the_noise_of_gaussian_data():
    """For y ~ N(0, 1), x ~ N(0, 1) at every level, and the expected noise is sigma x."""
    network, tables = trained("diffusion")
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    for level in (3, 16, 48):
        found = network(x, torch.full((500,), level / 64)).detach()
        expected = float(tables["sqrt_one_minus_alphas_cumprod"][level]) * x
        assert float((found - expected).square().mean()) < 0.01  # of a variance of 1


def test_flow_finds_the_velocity_of_gaussian_data():
    """E[y - eps | x] = (s - (1 - s)) x / (s^2 + (1 - s)^2)."""
    network, _ = trained("flow_matching")
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    for s in (0.95, 0.7, 0.5):
        variance = s**2 + (1 - s) ** 2
        y = x * variance**0.5
        found = network(y, torch.full((500,), s)).detach()
        error = float((found - (2 * s - 1) / variance * y).square().mean())
        assert error < 0.1, (s, error)  # of a variance of 1 to 2; a short training


def test_a_seed_gives_one_result():
    first, second = (trained("flow_matching", steps=3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one():
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float32)

    def make():
        return PointTrainer(points, replace(settings("flow_matching"), steps=6))

    unbroken = make()
    states = [(step, unbroken.store()) for step, _ in unbroken.run()]
    for step, state in states:
        rest = make()
        rest.restore(state)
        assert rest.step == step
        list(rest.run())
        assert rest.losses == unbroken.losses
        assert all(torch.equal(rest.average[name], value) for name, value in unbroken.average.items())
