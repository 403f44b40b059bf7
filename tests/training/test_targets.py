"""Targets have the score as their mean, whatever they are mixed of, and known biases are undone."""

import math

import pytest
import torch

from tpsctl.molecule.geometry import center, dihedral
from tpsctl.training.targets import KnownBias, TargetSource, internal_rotations

LADDER = torch.linspace(math.log(1e-3), math.log(0.3), 6, dtype=torch.float64)
MEAN = torch.tensor([[0.09, 0.02, -0.04], [0.0, 0.0, 0.0], [0.0, 0.0, 0.15], [-0.03, 0.09, 0.19]], dtype=torch.float64)
STD = 0.01


def standard_errors_from_zero(samples):
    """Mean of every column in units of its standard error; samples (draw, ...)."""
    flat = samples.flatten(1)
    scale = flat.std(0).clamp_min(1e-12 * float(flat.abs().max())) / len(flat) ** 0.5
    return flat.mean(0).abs() / scale


def gaussian_source(peroxide, generator, *, forces=True):
    """Data N(MEAN, STD^2) in the subspace of centered configurations, with its own forces."""
    mean = center(MEAN)
    x = mean + STD * center(torch.randn(20000, 4, 3, generator=generator))
    scores = -(x - mean) / STD**2
    source = TargetSource(peroxide.topology, x, scores if forces else None, None, LADDER)
    source.prepare(generator)
    return source, mean


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("floor", ["calibrated", 30.0, 1e4, 1e8])
def test_the_mean_of_targets_is_the_score_of_a_gaussian_for_any_mixing(peroxide, generator, sigma, floor):
    source, mean = gaussian_source(peroxide, generator)
    if floor != "calibrated":
        source._floors[:] = floor
    batch = source.draw(torch.full((20000,), sigma), generator)
    error = batch.target + (batch.y - mean) / (STD**2 + sigma**2)
    probe = (batch.y - mean).flatten(1)
    # Zero mean given y means zero mean against every function of y. 5 standard errors, widened by sqrt 2
    # because the frames themselves are a sample.
    assert float(standard_errors_from_zero(error).max()) < 5 * 2**0.5
    assert float(standard_errors_from_zero(error.flatten(1) * probe).max()) < 5 * 2**0.5


def test_calibrated_mixing_has_less_noise_than_either_target_alone(peroxide, generator):
    source, mean = gaussian_source(peroxide, generator)
    batch = source.draw(torch.full((4000,), STD), generator)
    noise = (batch.target + (batch.y - mean) / (2 * STD**2)).square().mean()
    # both the denoising and the force target have variance 1/(2 STD^2) given y at sigma = STD
    assert float(noise) < 0.6 * (3 / 4) / (2 * STD**2)


def test_targets_become_the_forces_without_noise(peroxide, generator):
    x, scores = peroxide.frames(500)
    source = TargetSource(peroxide.topology, x, scores, None, LADDER)
    source.prepare(generator)
    fine = source.draw(torch.full((500,), 1e-9), generator)
    nearest = torch.cdist(fine.y.flatten(1), center(x).flatten(1)).argmin(1)
    # the denoising part, 1/sigma = 1e9, enters with sigma^2 H = 1e-18 x 1e5 to 1e6 (stiff directions)
    torch.testing.assert_close(fine.target, scores[nearest], rtol=0, atol=1e-5 * float(scores.abs().max()))


def test_with_the_largest_floor_targets_are_denoising(peroxide, generator):
    source, _ = gaussian_source(peroxide, generator)
    source._floors[:] = 1e8
    batch = source.draw(torch.full((100,), 0.02), generator)
    clean = batch.y + batch.target * 0.02**2
    nearest = torch.cdist(clean.flatten(1), source._positions.flatten(1)).amin(1)
    assert float(nearest.max()) < 1e-7  # cdist by matrix products loses half the digits


def test_without_forces_targets_are_denoising_and_weights_one(peroxide, generator):
    source, _ = gaussian_source(peroxide, generator, forces=False)
    sigma = torch.full((100,), 0.01)
    batch = source.draw(sigma, generator)
    assert not source.knows_forces
    assert torch.equal(batch.weight, torch.ones(100))
    clean = batch.y + batch.target * 0.01**2
    assert float((clean - center(clean)).abs().max()) < 1e-12
    assert float((clean - center(MEAN)).std()) == pytest.approx(STD * (3 / 4) ** 0.5, rel=0.1)


def test_the_tables_of_a_source_can_be_taken_over(peroxide, generator):
    source, _ = gaussian_source(peroxide, generator)
    twin, _ = gaussian_source(peroxide, torch.Generator().manual_seed(0), forces=True)
    twin.restore({name: tensor.clone() for name, tensor in source.store().items()})
    first, second = (s.draw(torch.full((50,), 0.01), torch.Generator().manual_seed(1)) for s in (source, twin))
    assert torch.equal(first.target, second.target)
    assert set(source.store()) == {"mean_weight", "floors"}


# --- a known bias, with the exact answer by quadrature --------------------------------------------

GRID = torch.linspace(-math.pi, math.pi, 721, dtype=torch.float64)[:-1]


def turned(phi):
    """Peroxide with torsion phi and everything else fixed, centered, (n, 4, 3)."""
    x = torch.zeros(len(phi), 4, 3)
    x[:, 0] = torch.tensor([0.0925, 0.0, -0.038])
    x[:, 2, 2] = 0.15
    x[:, 3] = torch.stack((0.0925 * phi.cos(), 0.0925 * phi.sin(), torch.full_like(phi, 0.188)), 1)
    return center(x)


def energy(phi):
    return 1.5 * phi.cos() + phi.sin()


def bias(phi):
    return -1.2 * phi.cos() - 0.8 * (2 * phi).sin()


def exact_score(y, sigma, log_density):
    """E[x_0 - y | y] / sigma^2 over the torsion's density, by quadrature."""
    clean = turned(GRID)
    distance = torch.cdist(y.flatten(1), clean.flatten(1)).square()
    posterior = torch.softmax(log_density(GRID) - distance / (2 * sigma**2), 1)
    return (torch.einsum("bg,gad->bad", posterior, clean) - y) / sigma**2


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_a_known_bias_is_undone_exactly(peroxide, generator, sigma):
    density = torch.softmax(-(energy(GRID) + bias(GRID)), 0)
    phi = GRID[torch.multinomial(density, 40000, replacement=True, generator=generator)]
    known = KnownBias(bias(phi), torch.tensor([[0, 1, 2, 3]]))
    source = TargetSource(peroxide.topology, turned(phi), None, known, LADDER)
    source.prepare(generator)
    batch = source.draw(torch.full((40000,), sigma), generator)
    assert float(batch.weight.max()) < 10, "no weight is cut off here"
    unbiased = exact_score(batch.y, sigma, lambda g: -energy(g))
    angle = dihedral(batch.y, torch.tensor([[0, 1, 2, 3]]))
    probes = torch.cat((torch.ones_like(angle), angle.cos(), angle.sin(), (2 * angle).sin()), 1)

    def largest(score, weight):
        error = (weight.reshape(-1, 1, 1) * (batch.target - score)).flatten(1)
        return float(standard_errors_from_zero(error.unsqueeze(2) * probes.unsqueeze(1)).max())

    assert largest(unbiased, batch.weight) < 5 * 2**0.5  # as above, over 48 numbers
    assert largest(unbiased, torch.ones_like(batch.weight)) > 15, "the weights are what does it"
    biased = exact_score(batch.y, sigma, lambda g: -(energy(g) + bias(g)))
    assert largest(biased, batch.weight) > 15, "and the biased score is something else"


def test_rotations_turn_one_side_of_a_bond(peroxide):
    x = peroxide.frames(5)[0]
    (rotation,) = internal_rotations(peroxide.topology)(x).unbind(1)
    h, quadruple = 1e-6, torch.tensor([[0, 1, 2, 3]])
    turn = (dihedral(x + h * rotation, quadruple) - dihedral(x - h * rotation, quadruple)) / (2 * h)
    torch.testing.assert_close(turn, torch.ones_like(turn), rtol=1e-8, atol=1e-8)
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3]])
    arms, speeds = (z[:, pairs[:, 0]] - z[:, pairs[:, 1]] for z in (x, rotation))
    assert float((arms * speeds).sum(-1).abs().max()) < 1e-15, "distances do not change"


def test_turned_batches_keep_all_distances_and_turn_targets_along(generator):
    from tpsctl.training.targets import NoisedFrames

    y = torch.randn(200, 4, 3)
    batch = NoisedFrames(y, torch.rand(200), 3 * y, torch.rand(200))
    turned = batch.turned(generator)
    torch.testing.assert_close(torch.cdist(turned.y, turned.y), torch.cdist(y, y))
    torch.testing.assert_close(turned.target, 3 * turned.y)
    volume = torch.linalg.det(y[:, :3])
    torch.testing.assert_close(torch.linalg.det(turned.y[:, :3]), volume)  # rotations, no reflections
    # the image of a fixed direction is uniform: mean 0 within 4 / sqrt(3 * 200)
    image = torch.linalg.lstsq(y[:, :3], turned.y[:, :3]).solution[:, 0]
    assert float(image.mean(0).abs().max()) < 0.17
