"""The closed-form fit finds force fields that lie in its span."""

import math

import pytest
import torch

from tpsctl.networks.internal_energy.coordinates import InternalCoordinates
from tpsctl.networks.internal_energy.linear import LinearEnergy
from tpsctl.training.linear_fit import LinearFit, set_reference
from tpsctl.training.targets import TargetSource, internal_rotations


def model_score(energy, y, sigma):
    y = y.detach().requires_grad_(True)
    widths = torch.full((len(y),), sigma)
    return -torch.autograd.grad(energy(energy.coordinates(y, widths), widths).sum(), y)[0]


def relative_error(found, expected):
    return float((found - expected).square().mean() / expected.square().mean()) ** 0.5


@pytest.fixture
def in_span(peroxide):
    """Frames of peroxide with scores of harmonic distances and a threefold torsion, which the terms can express."""
    x, scores = peroxide.frames(3000)

    def fivefold(x):
        from tpsctl.molecule.geometry import dihedral

        return 2 * (5 * dihedral(x, torch.tensor([[0, 1, 2, 3]]))).cos().sum()

    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(fivefold(x), x)
    return x.detach(), scores + gradient


def test_a_force_field_of_bonds_angles_and_torsions_is_recovered(peroxide, generator, in_span):
    x, scores = in_span
    log_sigmas = torch.tensor([math.log(1e-6), math.log(2e-6)])
    energy = LinearEnergy(InternalCoordinates(peroxide.topology), 2)
    energy.log_sigmas.copy_(log_sigmas)
    set_reference(energy, x[:2000])
    source = TargetSource(peroxide.topology, x[:2000], scores[:2000], None, log_sigmas)
    source.prepare(generator)
    rotations = internal_rotations(peroxide.topology)
    fit = LinearFit(energy, source, rotations, samples=1000)
    assert [level for level, _ in fit.widths_nm] == [-1, -1, -1, 0, 1], "with forces there is a lead-in"
    explained = [fit.fit(number, generator) for number in range(5)]
    assert min(map(min, explained)) > 0.999
    held_out, truth = x[2000:], scores[2000:]
    # limited by the ridge: one unit of strength against 1000 x 12 equations
    assert relative_error(model_score(energy, held_out, 1.5e-6), truth) < 1e-2
    torque, true_torque = (
        (rotations(held_out)[:, 0] * s).sum((1, 2)) for s in (model_score(energy, held_out, 1.5e-6), truth)
    )
    assert relative_error(torque, true_torque) < 2e-2


def test_without_forces_the_fit_finds_most_of_the_denoising_targets(peroxide, generator):
    x = peroxide.frames(4000)[0]
    sigma = 0.01
    log_sigmas = torch.tensor([math.log(sigma), math.log(2 * sigma)])
    energy = LinearEnergy(InternalCoordinates(peroxide.topology), 2)
    energy.log_sigmas.copy_(log_sigmas)
    set_reference(energy, x)
    source = TargetSource(peroxide.topology, x, None, None, log_sigmas)
    fit = LinearFit(energy, source, internal_rotations(peroxide.topology), samples=4000)
    assert [level for level, _ in fit.widths_nm] == [0, 1]
    for number in range(2):
        fit.fit(number, generator)
    batch = source.draw(torch.full((4000,), sigma), generator)
    found = model_score(energy, batch.y, sigma)
    # Vincent's identity: E[s . d] = E|s|^2 for the true score s; the fit is that far from it
    assert float((found * batch.target).mean() / found.square().mean()) == pytest.approx(1, abs=0.05)
    # a nearly rigid molecule: 5 of its 9 internal and rotational directions are stiff
    assert float((found - batch.target).square().mean() / batch.target.square().mean()) < 0.6


def test_a_fit_that_is_given_up_changes_nothing(peroxide, generator):
    x = peroxide.frames(1000)[0]
    log_sigmas = torch.tensor([math.log(0.01), math.log(0.02)])
    energy = LinearEnergy(InternalCoordinates(peroxide.topology), 2)
    energy.log_sigmas.copy_(log_sigmas)
    set_reference(energy, x)
    fit = LinearFit(
        energy,
        TargetSource(peroxide.topology, x, None, None, log_sigmas),
        internal_rotations(peroxide.topology),
        samples=1000,
    )
    fit.fit(0, generator)
    solution, coefficients = fit.solution.clone(), energy.coefficients.clone()
    asked = []

    def stop():
        asked.append(True)
        if len(asked) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(1, generator, stop)
    assert torch.equal(fit.solution, solution)
    assert torch.equal(energy.coefficients, coefficients)


def test_the_reference_is_mean_and_spread_of_the_frames(peroxide):
    x = peroxide.frames(500)[0]
    energy = LinearEnergy(InternalCoordinates(peroxide.topology), 2)
    set_reference(energy, x, smallest_width=0.005)
    bond = (x[:, 0] - x[:, 1]).norm(dim=-1)
    assert float(energy.center[0]) == pytest.approx(float(bond.mean()), rel=1e-12)
    assert float(energy.width[0]) == pytest.approx(max(float(bond.std()), 0.005), rel=1e-12)
    assert float(energy.width.min()) == 0.005
