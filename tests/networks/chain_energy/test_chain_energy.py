"""The energy of a chain of beads: its symmetries, its derivatives, and what it is before training."""

from dataclasses import replace

import pytest
import torch

from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.chain_energy.coordinates import ChainCoordinates
from tpsctl.networks.chain_energy.network import ChainEnergy, ChainEnergySizes
from tpsctl.networks.chain_energy.pair_energy import PairEnergy
from tpsctl.prior.fields.chain_energy import ChainEnergyField
from tpsctl.prior.network import energy_prior
from tpsctl.score.schedule import VarianceExploding

BEADS = 7
CHAIN = Topology(
    tuple(Atom("CA", "C", "GLY", i + 1, "A", 110.0) for i in range(BEADS)), tuple((i, i + 1) for i in range(BEADS - 1))
)
SIZES = ChainEnergySizes(hidden=8, layers=2, levels=4, embedding=5, gaussians=3)
WIDTHS = (0.01, 0.1, 1.0)
MIRROR = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)


def chain(count):
    """Random chains with bonds of 0.38 nm, (count, bead, 3)."""
    steps = torch.nn.functional.normalize(torch.randn(count, BEADS - 1, 3), dim=-1) * 0.38
    return torch.cat((torch.zeros(count, 1, 3), steps.cumsum(1)), 1)


@pytest.fixture(params=[(2, 1), (3, 1), (3, 2)], ids=["distances", "wells", "angles"])
def network(request):
    """Random parameters everywhere, of a size that lets every feature count; without wells, with them, with angles."""
    inputs, fitted = request.param
    network = ChainEnergy(CHAIN, replace(SIZES, inputs=inputs, fitted=fitted))
    network.pairs.log_sigmas.copy_(torch.linspace(-5, 1, SIZES.levels))
    values = network.coordinates(chain(50))
    for level in range(SIZES.levels):
        network.pairs.set_level(level, values.fitted * (1 + 0.3 * level))
    network.pairs.coefficients.normal_()
    network.mean.normal_(std=0.1)
    network.std.uniform_(0.1, 0.3)
    torch.nn.init.normal_(network.net.output.weight)
    return network.requires_grad_(False)


@pytest.fixture
def batch():
    return chain(3), torch.tensor(WIDTHS)


def random_rotation():
    q, r = torch.linalg.qr(torch.randn(3, 3))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.sign(torch.linalg.det(q))


def test_energy_does_not_see_rotation_and_translation(network, batch):
    y, sigma = batch
    moved = y @ random_rotation().T + torch.tensor([0.4, -1.0, 2.0])
    torch.testing.assert_close(network(moved, sigma), network(y, sigma), rtol=1e-11, atol=1e-11)


def test_only_handedness_changes_its_sign_in_a_mirror(network, batch):
    y, sigma = batch
    here, there = network.coordinates(y), network.coordinates(y * MIRROR)
    torch.testing.assert_close(there.distances, here.distances)
    torch.testing.assert_close(there.handedness, -here.handedness)
    assert float(here.handedness.abs().max()) > 0.05, "a chain is visibly left or right"
    assert not torch.allclose(network.residual(y, sigma), network.residual(y * MIRROR, sigma), rtol=1e-3)
    torch.testing.assert_close(network.base(y, sigma), network.base(y * MIRROR, sigma))


def test_features_have_the_values_of_their_definitions(batch):
    y = batch[0]
    values = ChainCoordinates(CHAIN, angles=False)(y)
    torch.testing.assert_close(values.distances, torch.stack([torch.pdist(frame) for frame in y]))
    bonds = y.diff(dim=1)
    a, b, c = bonds[:, :-2], bonds[:, 1:-1], bonds[:, 2:]
    softened = [(v.square().sum(-1) + 0.05).sqrt() for v in (a, b, c)]
    expected = (a * torch.linalg.cross(b, c)).sum(-1) / (softened[0] * softened[1] * softened[2])
    torch.testing.assert_close(values.handedness[:, ::3], expected)


def test_the_centroids_of_the_coarser_triple_products_lie_along_the_chain(batch):
    """Torsion 2-3-4-5: within three bonds of the starts 2 and 5 lie the beads 2, 1, 0 and 5, 6."""
    y = batch[0]
    vectors = ChainCoordinates(CHAIN, angles=True).vectors(y).triples[:, 3 * 2 + 2]
    torch.testing.assert_close(vectors[:, 0], y[:, :3].mean(1) - y[:, 3])
    torch.testing.assert_close(vectors[:, 1], y[:, 4] - y[:, 3])
    torch.testing.assert_close(vectors[:, 2], y[:, 5:].mean(1) - y[:, 4])


def test_the_pair_energy_is_the_sum_that_its_docstring_states(network, batch):
    """At the third noise width of the tables, where nothing is interpolated."""
    pairs, level = network.pairs, 2
    r = network.coordinates(batch[0]).fitted
    mean, std, centers, c = (t[level] for t in (pairs.mean, pairs.std, pairs.centers, pairs.coefficients))
    z = (r - mean) / std
    middle = centers[:, 1]
    gaps = torch.stack((middle - centers[:, 0], (centers[:, 2] - centers[:, 0]) / 2, centers[:, 2] - middle), 1)
    widths = torch.maximum(gaps, 0.25 * std.unsqueeze(1))
    bells = torch.exp(-((r.unsqueeze(2) - centers) ** 2) / (2 * widths**2))
    expected = (c[:, 0] * z + c[:, 1] * z**2 + (c[:, 2:] * bells).sum(2)).sum(1)
    sigma = pairs.log_sigmas[level : level + 1].exp()
    torch.testing.assert_close(pairs(r, sigma), expected, rtol=1e-10, atol=1e-10)


def test_slopes_are_the_derivatives_of_the_terms(network, batch):
    r = network.coordinates(batch[0]).fitted.requires_grad_(True)
    sigma = batch[1]
    (gradient,) = torch.autograd.grad(network.pairs(r, sigma).sum(), r)
    found = (network.pairs.tables(sigma).slopes(r) * network.pairs.at(network.pairs.coefficients, sigma)).sum(2)
    torch.testing.assert_close(found.detach(), gradient, rtol=1e-10, atol=1e-9)


def test_the_gradient_of_the_fitted_part_in_closed_form_is_that_of_autograd(network, batch):
    y, sigma = batch[0].requires_grad_(True), batch[1]
    (expected,) = torch.autograd.grad(network.base(y, sigma).sum(), y)
    found = network.base_gradient(y.detach(), sigma)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_centers_are_quantiles_and_follow_the_distances():
    pairs = PairEnergy(1, 2, 5, 4)
    pairs.set_level(0, torch.linspace(0, 1, 1001).unsqueeze(1))
    torch.testing.assert_close(pairs.centers[0, 0], torch.tensor([0.02, 0.26, 0.5, 0.74, 0.98]))
    pairs.set_level(1, torch.full((10, 1), 0.38))
    assert float(pairs.std[1, 0]) == 2e-3, "the spread of a rigid distance has a floor"


def make_prior(network):
    field = ChainEnergyField(network, BEADS, smallest_width=0.01)
    return energy_prior("diffusion", field, VarianceExploding(0.01, 2.0), CHAIN, temperature_k=300.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_score_is_minus_the_gradient_of_the_energy(network, batch, width):
    prior, y = make_prior(network), batch[0]
    direction = torch.nn.functional.normalize(torch.randn(3, BEADS * 3), dim=1).view_as(y)
    sigma, h = torch.full((3,), width), 1e-6
    slope = (network(y + h * direction, sigma) - network(y - h * direction, sigma)) / (2 * h)
    found = (prior.at(prior.time_of(width))(y) * direction).sum((1, 2))
    torch.testing.assert_close(found, -slope, rtol=1e-6, atol=1e-6)  # rounding of the energy over h


@pytest.mark.parametrize("width", WIDTHS)
def test_the_field_in_closed_form_is_that_of_autograd(network, batch, width):
    """The closed form serves where no derivative of the field is wanted; both are exact, so rounding is all."""
    field, y = ChainEnergyField(network, BEADS, smallest_width=0.01), batch[0]
    expected = field(y.clone().requires_grad_(True), width).detach()
    torch.testing.assert_close(field(y, width), expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_the_dense_jacobian_is_that_of_autograd(network, batch):
    """The closed form against double backward, at every width; both are exact, so rounding is all that differs."""
    prior, y = make_prior(network), batch[0]
    for width in WIDTHS:
        score = prior.at(prior.time_of(width))
        found = score.jacobian(y)
        torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-9 * float(found.abs().max()))
        v = torch.randn_like(y)
        expected = score.jvp(y, v)
        product = (found @ v.flatten(1).unsqueeze(2)).reshape(y.shape)
        torch.testing.assert_close(product, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_a_model_of_an_earlier_version_is_what_it_was():
    """Its sizes name neither the resolution of wells nor the sorts of fitted coordinates."""
    older = ChainEnergySizes(hidden=8, layers=2, levels=4, embedding=5, gaussians=3, inputs=3)
    assert (older.resolution, older.fitted) == (4, 1)
    assert ChainEnergy(CHAIN, older).coordinates.n_angles == 0


def test_the_slopes_of_coordinates_are_those_of_autograd(batch):
    coordinates, y = ChainCoordinates(CHAIN, angles=True), batch[0].requires_grad_(True)
    vectors = coordinates.vectors(y)
    rates = torch.randn(3, coordinates.n_fitted)
    (expected,) = torch.autograd.grad((rates * coordinates.values(vectors).fitted).sum(), y)
    torch.testing.assert_close(coordinates.pull(vectors, rates).detach(), expected, rtol=0, atol=1e-11)
    places = torch.stack([coordinates.beads == bead for bead in range(BEADS)]).to(y)
    by_bead = torch.einsum("aqs,bqsd,bq->bad", places, coordinates.bead_slopes(vectors), rates)
    torch.testing.assert_close(by_bead.detach(), expected, rtol=0, atol=1e-11)


def test_an_untrained_network_adds_nothing(batch):
    network = ChainEnergy(CHAIN, SIZES)
    network.pairs.log_sigmas.copy_(torch.linspace(-5, 1, SIZES.levels))
    network.pairs.coefficients.normal_()
    y, sigma = batch
    assert torch.equal(network.residual(y, sigma), torch.zeros(3))
    assert torch.equal(network(y, sigma), network.base(y, sigma))


def test_one_width_for_all_is_the_same_as_the_width_of_each(network, batch):
    y = batch[0]
    torch.testing.assert_close(network(y, torch.tensor([0.05])), network(y, torch.full((3,), 0.05)))


def test_coordinates_stay_finite_where_beads_meet_or_line_up(network):
    y = chain(2)
    y[0, 3] = y[0, 5]
    y[1] = torch.arange(BEADS).double().unsqueeze(1) * torch.tensor([0.38, 0.0, 0.0])
    y.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(y, torch.tensor([0.05])).sum(), y)
    assert torch.isfinite(gradient).all()
