"""Exact equilibrium samples of two-dimensional potentials."""

import math

import torch

from tpsctl.prior.potentials import mueller_brown
from tpsctl.simulation.boltzmann import boltzmann_points
from tpsctl.units import thermal_energy


def test_harmonic_potential_gives_a_gaussian(generator):
    temperature_k = 300.0
    stiffness = thermal_energy(temperature_k) / 0.25  # standard deviation 0.5 nm
    points = boltzmann_points(
        lambda x: stiffness / 2 * x.square().sum((1, 2)),
        box_nm=(-5.0, 5.0),
        temperature_k=temperature_k,
        count=40_000,
        generator=generator,
        cells=400,
    )
    assert points.shape == (40_000, 1, 2)
    # 4 standard errors: 0.5/sqrt(40000) = 0.0025 of the mean, 0.5/sqrt(80000) = 0.0018 of the deviation
    torch.testing.assert_close(points.mean((0, 1)), torch.zeros(2), atol=0.01, rtol=0)
    torch.testing.assert_close(points.std((0, 1)), torch.full((2,), 0.5), atol=0.0072, rtol=0)


def test_mueller_brown_energy_is_that_of_quadrature(generator):
    temperature_k = 120.27236  # kT = 1 kJ/mol
    axis = torch.linspace(0, 50, 501)
    grid = torch.cartesian_prod(axis, axis).unsqueeze(1)
    energy = mueller_brown(grid)
    weight = torch.exp(-(energy - energy.min()))
    expected = float((weight * energy).sum() / weight.sum())
    spread = math.sqrt(float((weight * energy**2).sum() / weight.sum()) - expected**2)
    points = boltzmann_points(
        mueller_brown, box_nm=(0.0, 50.0), temperature_k=temperature_k, count=20_000, generator=generator, cells=1000
    )
    assert abs(float(mueller_brown(points).mean()) - expected) < 4 * spread / math.sqrt(20_000)
