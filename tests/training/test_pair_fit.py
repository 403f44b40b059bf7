"""The closed-form fit of pair energies: a Gaussian chain whose score is known, and the algebra behind it."""

import math

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.chain_energy.coordinates import ChainCoordinates
from tpsctl.networks.chain_energy.pair_energy import PairEnergy
from tpsctl.training.pair_fit import NormalEquations, PairFit
from tpsctl.training.targets import TargetSource

BEADS = 6
CHAIN = Topology(
    tuple(Atom("CA", "C", "GLY", i + 1, "A", 110.0) for i in range(BEADS)), tuple((i, i + 1) for i in range(BEADS - 1))
)
STIFFNESS_PER_NM2 = 20.0


def gaussian_chain(count, generator):
    """Positions (count, bead, 3), nm, with independent normal bond vectors, and the covariance of one coordinate."""
    bonds = torch.randn(count, BEADS - 1, 3, generator=generator) * STIFFNESS_PER_NM2**-0.5
    x = center(torch.cat((torch.zeros(count, 1, 3), bonds.cumsum(1)), 1))
    laplacian = STIFFNESS_PER_NM2 * torch.diag(torch.tensor([1.0, *[2.0] * (BEADS - 2), 1.0]))
    off = torch.full((BEADS - 1,), -STIFFNESS_PER_NM2)
    return x, torch.linalg.pinv(laplacian + torch.diag(off, 1) + torch.diag(off, -1))


def fitted(source, samples=4000, sigma=0.1, angles=False):
    coordinates = ChainCoordinates(CHAIN, angles=angles)
    energy = PairEnergy(coordinates.n_fitted, 2, 3, 4)
    energy.log_sigmas.copy_(torch.tensor([math.log(sigma), math.log(2 * sigma)]))
    generator = torch.Generator().manual_seed(1)
    for level in range(2):
        batch = source.draw(energy.log_sigmas[level].exp().expand(3000), generator)
        energy.set_level(level, coordinates(batch.y).fitted)
    return coordinates, energy, PairFit(energy, coordinates, source, samples=samples), generator


def score(coordinates, energy, y, sigma):
    y = y.detach().requires_grad_(True)
    return -torch.autograd.grad(energy(coordinates(y).fitted, torch.tensor([sigma])).sum(), y)[0]


def test_the_score_of_a_gaussian_chain_is_found_from_positions_alone(generator):
    """The noised density is normal with covariance C + sigma^2, hence in the span of the quadratic terms."""
    x, covariance = gaussian_chain(20_000, generator)
    sigma = 0.1
    source = TargetSource(CHAIN, x, None, None, torch.tensor([math.log(sigma), math.log(2 * sigma)]))
    coordinates, energy, fit, generator = fitted(source, samples=8000, sigma=sigma)
    assert fit.widths_nm == pytest.approx([sigma, 2 * sigma])
    explained = fit.fit(0, generator)
    y = center(gaussian_chain(500, generator)[0] + sigma * torch.randn(500, BEADS, 3))
    precision = torch.linalg.pinv(covariance + sigma**2 * (torch.eye(BEADS) - 1 / BEADS))
    exact = -torch.einsum("ij,bjd->bid", precision, y)
    error = score(coordinates, energy, y, sigma) - exact
    # 75 parameters from 8000 x 15 equations whose noise is as large as their values: sqrt(75 / 120 000) = 2.5 %
    assert float(error.square().mean() / exact.square().mean()) ** 0.5 < 0.05
    # E|s|^2 / E|d|^2 with E|d|^2 = 1 / sigma^2 per direction
    share = float(precision.trace()) * sigma**2 / (BEADS - 1)
    assert explained == pytest.approx(share, abs=0.02)


def test_with_exact_scores_as_targets_the_fit_is_exact(generator):
    """At vanishing noise the targets are the physical forces, here those of a Gaussian chain."""
    x, covariance = gaussian_chain(4000, generator)
    forces = -torch.einsum("ij,bjd->bid", torch.linalg.pinv(covariance), x)
    log_sigmas = torch.tensor([math.log(1e-5), math.log(2e-5)])
    source = TargetSource(CHAIN, x, forces, None, log_sigmas)
    source.prepare(generator)
    coordinates, energy, fit, generator = fitted(source, sigma=1e-5)
    assert fit.fit(0, generator) > 1 - 1e-5
    y = gaussian_chain(200, generator)[0]
    exact = -torch.einsum("ij,bjd->bid", torch.linalg.pinv(covariance), y)
    # limited by the ridge: ten units of strength against 4000 x 18 equations
    assert float((score(coordinates, energy, y, 1e-5) - exact).norm() / exact.norm()) < 1e-2


def test_the_blocks_are_the_dense_normal_equations(generator):
    """Pairs and angles, with random gradients: the algebra does not depend on them."""
    coordinates, terms, batch = ChainCoordinates(CHAIN, angles=True), 3, 5
    count, beads = coordinates.n_fitted, coordinates.beads
    at_beads = torch.randn(batch, count, 3, 3) * (beads >= 0).unsqueeze(2)
    slopes, targets = torch.randn(batch, count, terms), torch.randn(batch, BEADS, 3)
    weights = torch.rand(batch)
    equations = NormalEquations(beads, terms)
    equations.add(at_beads, slopes, targets, weights, lambda: None)
    places = torch.stack([beads == bead for bead in range(BEADS)]).to(at_beads)
    gradients = torch.einsum("aqs,bqsd,bqk->badqk", places, at_beads, slopes).flatten(3).flatten(1, 2)
    gradients = (gradients * weights.sqrt().reshape(-1, 1, 1)).flatten(0, 1)
    values = (targets * weights.sqrt().reshape(-1, 1, 1)).flatten()
    matrix, right = gradients.T @ gradients, -gradients.T @ values
    ridge = torch.diag(1e3 * (matrix.diagonal() + 1e-6 * matrix.diagonal().mean()) / len(values))
    expected = torch.linalg.solve(matrix + ridge, right)
    found = equations.solve(1e3, lambda: None)
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-4, atol=1e-6)  # of the residual 1e-6
    left = (gradients @ found.flatten() + values).square().sum()
    assert equations.explained(found) == pytest.approx(1 - float(left / values.square().sum()), abs=1e-9)


def test_the_energy_of_angles_is_found_where_pairs_find_half_of_it(generator):
    """Stiff bonds of 0.38 nm and harmonic angles, forces known: what is missed without angles, and not with them."""
    steps = torch.nn.functional.normalize(torch.randn(4000, BEADS - 1, 3, generator=generator), dim=2)
    bonds = steps * (0.38 + 0.016 * torch.randn(4000, BEADS - 1, 1, generator=generator))
    x = center(torch.cat((torch.zeros(4000, 1, 3), bonds.cumsum(1)), 1)).requires_grad_(True)
    rows = torch.tensor(CHAIN.angles)
    a, b = x[:, rows[:, 0]] - x[:, rows[:, 1]], x[:, rows[:, 2]] - x[:, rows[:, 1]]
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=2), (a * b).sum(2))
    forces = -torch.autograd.grad(4 * (angle - 1.6).square().sum(), x)[0]
    x, log_sigmas = x.detach(), torch.tensor([math.log(1e-5), math.log(2e-5)])

    def missed(angles):
        source = TargetSource(CHAIN, x, forces, None, log_sigmas)
        source.prepare(generator)
        coordinates, energy, fit, random = fitted(source, sigma=1e-5, angles=angles)
        fit.fit(0, random)
        error = score(coordinates, energy, x[:300], 1e-5) - forces[:300]
        return float(error.norm() / forces[:300].norm())

    assert missed(False) > 0.4
    assert missed(True) < 0.02  # limited by the ridge


def test_a_fit_that_is_given_up_changes_nothing_and_can_be_given_up_often(generator):
    x, _ = gaussian_chain(500, generator)
    source = TargetSource(CHAIN, x, None, None, torch.tensor([math.log(0.1), math.log(0.2)]))
    _, energy, fit, generator = fitted(source, samples=1000)
    asked = []

    def stop():
        asked.append(True)
        if len(asked) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(0, generator, stop)
    assert len(asked) == 20, "two draws, six beads each, and iterations of the solution"
    assert torch.equal(energy.coefficients, torch.zeros_like(energy.coefficients))


def test_broken_frames_are_named_as_the_cause(generator):
    x, _ = gaussian_chain(500, generator)
    source = TargetSource(CHAIN, x, None, None, torch.tensor([math.log(0.1), math.log(0.2)]))
    _, energy, fit, generator = fitted(source, samples=500)
    energy.std[0, 0] = float("nan")
    with pytest.raises(DataError, match="look for broken frames"):
        fit.fit(0, generator)
