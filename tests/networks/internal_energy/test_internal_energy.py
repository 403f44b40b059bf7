"""The energy network: its symmetries, its derivatives, and what it is before training."""

import pytest
import torch

from tpsctl.networks.internal_energy.coordinates import InternalCoordinates
from tpsctl.networks.internal_energy.linear import interpolate
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.prior.fields.internal_energy import InternalEnergyField
from tpsctl.prior.network import energy_prior
from tpsctl.score.schedule import VarianceExploding

SIZES = InternalEnergySizes(hidden=8, layers=2, levels=4, embedding=5)
WIDTHS = (0.001, 0.02, 0.3)


@pytest.fixture
def network(alanine):
    """Random parameters everywhere, of a size that lets every feature count."""
    topology, x = alanine
    network = InternalEnergy(topology, SIZES)
    network.linear.log_sigmas.copy_(torch.linspace(-7, 0, SIZES.levels))
    network.linear.coefficients.normal_()
    network.mean.copy_(
        network.features(network.coordinates(x.unsqueeze(0), torch.tensor([0.01]))).expand_as(network.mean)
    )
    network.std.uniform_(0.05, 0.2)
    torch.nn.init.normal_(network.net.output.weight)
    return network.requires_grad_(False)


@pytest.fixture
def batch(alanine):
    """Noised structures, (3, 22, 3), and their widths."""
    x = alanine[1].expand(3, -1, -1)
    return x + 0.01 * torch.randn_like(x), torch.tensor(WIDTHS)


def random_rotation():
    q, r = torch.linalg.qr(torch.randn(3, 3))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.sign(torch.linalg.det(q))


def test_energy_does_not_see_rotation_and_translation(network, batch):
    y, sigma = batch
    moved = y @ random_rotation().T + torch.tensor([0.4, -1.0, 2.0])
    # inverse powers of 12 amplify rounding; 1e-9 of the energy is 1e6 times the precision
    torch.testing.assert_close(network(moved, sigma), network(y, sigma), rtol=1e-9, atol=1e-9)


def test_only_sines_and_handedness_change_sign_in_a_mirror(alanine, batch):
    coordinates, y = InternalCoordinates(alanine[0]), batch[0]
    sigma = torch.full((len(y),), 0.02)
    here, mirrored = coordinates(y, sigma), coordinates(y * torch.tensor([1.0, 1.0, -1.0]), sigma)
    for name, sign in (("distances", 1), ("angles", 1), ("cos", 1), ("sin", -1), ("handedness", -1)):
        value = getattr(here, name)
        torch.testing.assert_close(getattr(mirrored, name), sign * value, rtol=1e-12, atol=1e-14)
    assert float(here.handedness.abs().max()) < 1
    assert float(here.handedness.abs().amax(1).min()) > 0.01, "a real molecule is visibly left or right"


def test_features_have_the_values_of_their_definitions(alanine, batch):
    topology, y = alanine[0], batch[0]
    values = InternalCoordinates(topology)(y, torch.zeros(len(y)))
    torch.testing.assert_close(values.distances, torch.stack([torch.pdist(frame) for frame in y]))
    for n, (i, j, k) in enumerate(topology.angles[:5]):
        u, v = y[:, i] - y[:, j], y[:, k] - y[:, j]
        cosine = (u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1))
        # smoothing adds 1e-8 nm^4 to |u x v|^2 and so half of that over |u|^2 |v|^2 tan(angle) to an angle
        moved = 1e-8 / (2 * u.square().sum(-1) * v.square().sum(-1) * cosine.acos().tan())
        assert bool((moved.abs() < 1e-3).all())
        torch.testing.assert_close(values.angles[:, n], cosine.acos() + moved, rtol=0, atol=1e-6)
    from tpsctl.molecule.geometry import dihedral

    angle = dihedral(y, torch.tensor(topology.torsions))
    n = len(topology.torsions)
    found = torch.atan2(values.sin[:, :n], values.cos[:, :n])
    torch.testing.assert_close(found.cos(), angle.cos(), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.sin(), angle.sin(), rtol=0, atol=1e-6)


def test_the_energy_knows_left_from_right(network, batch):
    y, sigma = batch
    assert not torch.allclose(network(y, sigma), network(y * torch.tensor([1.0, 1.0, -1.0]), sigma), rtol=1e-3)


def test_coordinates_stay_finite_where_atoms_meet_or_line_up(network, alanine):
    topology, x = alanine
    i, j, k, m = topology.torsions[0]
    meeting, in_line = x.clone(), x.clone()
    meeting[i] = meeting[m]
    in_line[[i, j, k]] = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    y = torch.stack((meeting, in_line)).requires_grad_(True)
    energy = network(y, torch.tensor([0.05, 0.05]))
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    assert torch.isfinite(energy).all()
    assert torch.isfinite(gradient).all()


def make_prior(network, topology):
    field = InternalEnergyField(network, topology.n_atoms, smallest_width=0.001)
    return energy_prior("diffusion", field, VarianceExploding(0.001, 1.0), topology, temperature_k=300.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_score_is_minus_the_gradient_of_the_energy(network, alanine, batch, width):
    prior, y = make_prior(network, alanine[0]), batch[0]
    direction = torch.randn_like(y)
    direction /= direction.flatten(1).norm(dim=1).reshape(-1, 1, 1)
    sigma, h = torch.full((len(y),), width), 1e-5
    slope = (network(y + h * direction, sigma) - network(y - h * direction, sigma)) / (2 * h)
    found = (prior.at(prior.time_of(width))(y) * direction).sum((1, 2))
    torch.testing.assert_close(found, -slope, rtol=1e-6, atol=1e-5)  # O(h^2) with stiff third derivatives


def test_score_is_a_gradient_so_its_jacobian_is_symmetric(network, alanine, batch):
    score, y = make_prior(network, alanine[0]).at(0.3), batch[0]
    v, w = torch.randn_like(y), torch.randn_like(y)
    torch.testing.assert_close((score.jvp(y, v) * w).sum(), (score.jvp(y, w) * v).sum(), rtol=1e-9, atol=1e-9)


def test_the_dense_jacobian_holds_the_products(network, alanine, batch):
    score, y = make_prior(network, alanine[0]).at(0.3), batch[0][:2]
    v = torch.randn_like(y)
    product = (score.jacobian(y) @ v.flatten(1).unsqueeze(2)).reshape(y.shape)
    expected = score.jvp(y, v)
    torch.testing.assert_close(product, expected, rtol=1e-8, atol=1e-9 * float(expected.abs().max()))


def test_an_untrained_network_adds_nothing(alanine, batch):
    network = InternalEnergy(alanine[0], SIZES)
    network.linear.log_sigmas.copy_(torch.linspace(-7, 0, SIZES.levels))
    y, sigma = batch
    assert torch.equal(network.residual(network.coordinates(y, sigma), sigma), torch.zeros(3))
    network.linear.coefficients.normal_()
    assert torch.equal(network(y, sigma), network.linear(network.coordinates(y, sigma), sigma))


def test_features_are_normalized_with_the_table_of_their_width(network, alanine):
    features = network.features(network.coordinates(alanine[1].unsqueeze(0), torch.tensor([0.01])))
    for level, log_sigma in enumerate(network.linear.log_sigmas):
        found = network.normalized(features, log_sigma.exp().reshape(1))
        expected = (features - network.mean[level]) / network.std[level]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_tables_are_linear_in_log_sigma_and_constant_beyond_their_ends():
    log_sigmas = torch.tensor([-2.0, -1.0, 0.0])
    table = torch.tensor([[1.0, 10.0], [3.0, 20.0], [7.0, 50.0]])
    sigma = torch.tensor([-9.0, -2.0, -1.75, -1.0, -0.5, 0.0, 4.0]).exp()
    expected = [[1, 10], [1, 10], [1.5, 12.5], [3, 20], [5, 35], [7, 50], [7, 50]]
    torch.testing.assert_close(interpolate(log_sigmas, table, sigma), torch.tensor(expected, dtype=torch.float64))
