"""Surfaces: derivatives, and the count of what they cost."""

import torch

from tpsctl.landscape.surface import ForceFieldSurface, FunctionSurface, ScoreSurface
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.units import thermal_energy


def quartic(x):
    return x.pow(4).sum((1, 2)) + (x[:, 0] * x[:, 1]).sum(1)


def test_difference_hessian_of_a_quartic():
    """Central differences of a cubic gradient are off by step^2 times 4, here 4e-10, plus rounding of 1e-10."""
    surface = FunctionSurface(quartic, masses_amu=[1.0, 1.0], rigid_motions=False)
    x = torch.randn(3, 2, 3)
    exact = torch.stack(
        [torch.autograd.functional.hessian(lambda y: quartic(y[None])[0], one).reshape(6, 6) for one in x]
    )
    assert torch.allclose(surface.hessian(x), exact, atol=1e-8)


def test_a_hessian_by_differences_counts_six_forces_per_atom():
    surface = ForceFieldSurface(lambda x: (x.sum((1, 2)), -torch.ones_like(x)), masses_amu=[1.0, 1.0])
    surface.energy_gradient(torch.zeros(5, 2, 3))
    surface.hessian(torch.zeros(3, 2, 3))
    assert surface.evaluations == 5 + 3 * 12


def test_score_surface_is_the_energy_of_its_prior():
    prior = MuellerBrownPrior(temperature_k=300.0)
    kt = thermal_energy(300.0)
    surface = ScoreSurface(prior.at(0.0), lambda x: prior.energy(x) / kt, kt=kt, masses_amu=[1.0], rigid_motions=False)
    plain = FunctionSurface(prior.energy, masses_amu=[1.0], rigid_motions=False)
    x = torch.tensor([[[23.0, 30.0]], [[31.0, 15.0]]])
    for ours, theirs in zip(surface.energy_gradient(x), plain.energy_gradient(x), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)
    # Differences over 1e-5 of gradients known to 1e-14 are good to 1e-8.
    assert torch.allclose(surface.hessian(x), plain.hessian(x), atol=1e-7)
    assert surface.evaluations == 2 + 2 * 2
