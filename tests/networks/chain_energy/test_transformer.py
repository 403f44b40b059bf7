"""The graph transformer as an energy: the weights that are trained give the same scores when inference freezes them."""

import pytest
import torch

from tpsctl.checkpoints.architectures.graph_transformer import GraphTransformerArchitecture
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.networks.chain_energy.transformer import TransformerEnergy, TransformerEnergySizes
from tpsctl.prior.fields.transformer_energy import TransformerEnergyField
from tpsctl.prior.network import energy_prior
from tpsctl.score.schedule import VarianceExploding

from .test_chain_energy import BEADS, CHAIN, WIDTHS, chain

SIZES = TransformerEnergySizes(hidden=8, layers=2, heads=2, head_dim=4, levels=4, gaussians=3)


@pytest.fixture
def network():
    """A network after a few steps of training on the pair energies of random chains; float64."""
    network = TransformerEnergy(CHAIN, SIZES)
    network.pairs.log_sigmas.copy_(torch.linspace(-4, 1, SIZES.levels))
    for level in range(SIZES.levels):
        network.tabulate(level, chain(50))
    network.pairs.coefficients.normal_(std=0.1)
    optimizer = torch.optim.Adam(network.trained.parameters(), lr=1e-2)
    for _ in range(5):
        y, sigma = chain(8).requires_grad_(True), torch.rand(8) + 0.1
        (gradient,) = torch.autograd.grad(network.residual(y, sigma).sum(), y, create_graph=True)
        optimizer.zero_grad()
        (gradient - torch.randn_like(y)).square().sum().backward()
        optimizer.step()
    return network


def score(network, y, width):
    y = y.detach().requires_grad_(True)
    return -torch.autograd.grad(network(y, torch.full((len(y),), width)).sum(), y)[0]


def make_prior(network):
    field = TransformerEnergyField(network, BEADS, smallest_width=0.02)
    return energy_prior("diffusion", field, VarianceExploding(0.02, 2.5), CHAIN, temperature_k=300.0)


def test_frozen_weights_give_the_scores_of_the_trained_network(network):
    y, trained = chain(3), {}
    for width in WIDTHS[1:]:
        trained[width] = score(network, y, width)
    prior = make_prior(network)
    for width, expected in trained.items():
        found = prior.at(prior.time_of(width))(y)
        # 1e-12 of the largest value is a thousand roundings, and the two forms differ in nothing else
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_in_single_precision_they_differ_by_single_roundings(network):
    """Without pairs: bonds of exactly 0.38 nm have Gaussians of 0.0005 nm, which amplify rounding a thousand times."""
    network.pairs.coefficients.zero_()
    y = chain(3)
    expected = score(network, y, 0.1)
    prior = make_prior(network).to(device="cpu", dtype=torch.float32)
    found = prior.at(prior.time_of(0.1))(y.float()).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_second_derivatives_of_the_frozen_form_are_those_of_the_trained_network(network):
    y, v = chain(2).requires_grad_(True), torch.randn(2, BEADS, 3)
    (gradient,) = torch.autograd.grad(network(y, torch.tensor([0.1])).sum(), y, create_graph=True)
    (expected,) = torch.autograd.grad((gradient * v).sum(), y)
    prior = make_prior(network)
    here = prior.at(prior.time_of(0.1))
    found = here.jvp(y.detach(), v)
    torch.testing.assert_close(found, -expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
    dense = here.jacobian(y.detach()) @ v.flatten(1).unsqueeze(2)
    torch.testing.assert_close(dense.view_as(v), found, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_a_checkpoint_of_the_published_kind_with_the_same_tensors_sees_the_same_noise(network):
    """Published networks: score = -noise / sigma, with the noise from positions of about unit variance."""
    sizes = SIZES.of_network(BEADS)
    about = ModelDescription("diffusion", "graph_transformer", sizes.to_dict(), 300.0)
    field = GraphTransformerArchitecture().field(Model(about, network.transformer.state_dict()), None)
    network.pairs.coefficients.zero_()
    y = chain(3)
    for width in WIDTHS[1:]:
        sigma = torch.tensor([width])
        noise = field(y * network.contraction(sigma), float(network.level(sigma)))
        expected = score(network, y, width)
        torch.testing.assert_close(-noise / width, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_an_untrained_transformer_adds_nothing():
    network = TransformerEnergy(CHAIN, SIZES)
    network.pairs.log_sigmas.copy_(torch.linspace(-4, 1, SIZES.levels))
    y, sigma = chain(3), torch.tensor(WIDTHS)
    y.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network.residual(y, sigma).sum(), y)
    assert torch.equal(gradient, torch.zeros_like(y))


def test_moving_the_molecule_changes_nothing(network):
    y = chain(3)
    sigma = torch.tensor([0.1])
    torch.testing.assert_close(network(y + 3.0, sigma), network(y, sigma), rtol=1e-9, atol=1e-9)
