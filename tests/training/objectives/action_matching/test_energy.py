"""Action Matching of a molecule's energy: closed forms for a Gaussian of a molecule's size, and stored runs."""

import numpy as np
import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.molecule.geometry import center
from tpsctl.networks.internal_energy.network import InternalEnergySizes
from tpsctl.score.schedule import Flow
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.action_matching.energy import EnergyActionMatching, NoisedMolecule, NoiseToDataPath
from tpsctl.training.objectives.action_matching.objective import ActionBatch, ActionLoss, ActionMatchingSettings
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.objectives.internal_energy import InternalEnergyDenoising, InternalEnergySettings
from tpsctl.training.objectives.velocity_weights import VelocityWeights
from tpsctl.training.targets import KnownBias
from tpsctl.training.widths import WidthLaw

BEADS, SPREAD_NM, NODES = 22, 0.12, 200
DIMS = 3 * BEADS
ALANINE = NoiseToDataPath(scale_nm=0.3, smallest_nm=0.003, largest_nm=1.0)
ENTROPIC = NoiseToDataPath(scale_nm=0.3, smallest_nm=0.003, largest_nm=1.0, noise=0.6)


def pairs_of_exact_size(count):
    """Clean structures and noise at right angles, with |x_0|^2 and |eps|^2 equal to their means; units of the scale.

    For potentials that are quadratic in |x|, the value at one such pair is the expectation over all pairs.
    """
    g = torch.Generator().manual_seed(3)
    clean, noise = torch.randn(2, count, DIMS, generator=g)
    clean = clean / clean.norm(dim=1, keepdim=True)
    noise = noise - (noise * clean).sum(1, keepdim=True) * clean
    noise = noise / noise.norm(dim=1, keepdim=True) * DIMS**0.5
    clean = clean * (SPREAD_NM / 0.3) * DIMS**0.5
    return clean.reshape(count, BEADS, 3), noise.reshape(count, BEADS, 3)


def quadrature(path):
    """A batch whose mean is the integral over time, by Gauss-Legendre nodes; and the pairs it is made of."""
    nodes, weights = (torch.tensor(a) for a in np.polynomial.legendre.leggauss(NODES))
    time = (nodes + 1) / 2
    clean, noise = pairs_of_exact_size(NODES)

    def mixed(at):
        t = path.t(at).reshape(-1, 1, 1)
        return (1 - t) * clean + t * noise

    signs = torch.ones(1, NODES, BEADS, 3)
    batch = ActionBatch(mixed(0 * time), mixed(time), mixed(0 * time + 1), time, 1 / (NODES * weights / 2), signs)
    return batch, clean, noise, weights / 2


def gaussian_energy(y, width):
    """U of Gaussian data with noise, whose slope is minus the score."""
    return y.square().sum((1, 2)) / (2 * (SPREAD_NM**2 + width.square()))


def full_potential(path, energy=gaussian_energy):
    def s(x, time):
        return path.duration * x.square().sum((1, 2)) / (2 * (1 - path.t(time))) + path.potential(energy, x, time)

    return s


@pytest.mark.parametrize("path", [ALANINE, ENTROPIC], ids=["plain", "entropic"])
def test_the_loss_of_a_gaussian_of_a_molecules_size_has_its_closed_form(path):
    """-1/2 int d (w' - noise^2 / 2w)^2 over time, w being the width of the marginal, by the same quadrature.

    Random signs give the exact Laplacian of |x|^2. 200 nodes resolve the smallest width to 1e-8.
    """
    batch, _, _, weights = quadrature(path)
    t = path.t(batch.t)
    variance = ((1 - t) * SPREAD_NM / 0.3).square() + t.square()
    rate = -path.duration * (t - (1 - t) * (SPREAD_NM / 0.3) ** 2) / variance.sqrt()
    expected = -DIMS / 2 * (weights * (rate - path.noise**2 / (2 * variance.sqrt())).square()).sum()
    found = ActionLoss(ActionMatchingSettings(noise=path.noise))(full_potential(path), batch)
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-7)


@pytest.mark.parametrize("path", [ALANINE, ENTROPIC], ids=["plain", "entropic"])
def test_every_other_energy_has_a_larger_loss(path):
    batch, loss = quadrature(path)[0], ActionLoss(ActionMatchingSettings(noise=path.noise))
    least = float(loss(full_potential(path), batch).detach())
    for factor in (0.9, 1.1):
        other = full_potential(path, lambda y, width, f=factor: f * gaussian_energy(y, width))
        assert float(loss(other, batch).detach()) > least + 0.01


def test_its_gradient_is_that_of_the_velocity_regression():
    """The derivative by a factor of the energy; both expectations are exact, so that only the quadrature is left."""
    batch, clean, noise, weights = quadrature(ALANINE)
    t = ALANINE.t(batch.t)
    width = 0.3 * t / (1 - t)
    y = 0.3 * (clean + (t / (1 - t)).reshape(-1, 1, 1) * noise)
    target = -0.3 * (t / (1 - t)).reshape(-1, 1, 1) * noise / width.square().reshape(-1, 1, 1)
    for value in (0.7, 1.0, 1.2):
        factor = torch.tensor(value, requires_grad=True)
        scaled = lambda x, width, f=factor: f * gaussian_energy(x, width)  # noqa: E731
        loss = ActionLoss(ActionMatchingSettings())(full_potential(ALANINE, scaled), batch)
        (by_action,) = torch.autograd.grad(loss, factor)
        error = target + factor * y / (SPREAD_NM**2 + width.square()).reshape(-1, 1, 1)
        squared = error.square().sum((1, 2)) / VelocityWeights(Flow(0.3)).unit(width)
        (by_regression,) = torch.autograd.grad(ALANINE.duration**2 / 2 * (weights * squared).sum(), factor)
        assert float(by_action) == pytest.approx(float(by_regression), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("path", [ALANINE, ENTROPIC], ids=["plain", "entropic"])
def test_the_known_gradient_is_that_of_the_potential(path):
    batch = quadrature(path)[0]
    x = batch.middle.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(full_potential(path)(x, batch.t).sum(), x)

    def slope(y, width):
        return y / (SPREAD_NM**2 + width.square()).reshape(-1, 1, 1)

    torch.testing.assert_close(path.known_gradient(slope, batch.middle, batch.t), expected, rtol=1e-10, atol=1e-10)


def test_structures_lie_on_the_path_and_frames_have_their_weights(generator):
    """Counts of 20 000 draws of four frames, within five standard deviations."""
    x = torch.randn(4, 5, 3, generator=generator)
    logs = torch.tensor([0.0, 1.0, -1.0, 0.5])
    molecule = NoisedMolecule(TrainingFrames(x, None, KnownBias(logs, torch.zeros(0, 4))), ALANINE)
    time = torch.rand(20_000, generator=generator)
    first, middle, last = molecule.draw(time, generator)
    assert float(middle.mean(1).abs().max()) < 1e-12
    a, b, m = ALANINE.t(torch.tensor(0.0)), ALANINE.t(torch.tensor(1.0)), ALANINE.t(time).reshape(-1, 1, 1)
    torch.testing.assert_close(middle, first + (m - a) / (b - a) * (last - first))
    nearest = (last.unsqueeze(1) - center(x) / 0.3).square().sum((2, 3)).argmin(1)
    share = torch.softmax(logs, 0)
    found = torch.bincount(nearest, minlength=4) / len(time)
    assert bool(((found - share).abs() < 5 * (share * (1 - share) / len(time)).sqrt()).all())


def test_turned_structures_keep_their_shape(generator):
    x = torch.randn(1, 5, 3, generator=generator)
    _, _, last = NoisedMolecule(TrainingFrames(x, None, None), NoiseToDataPath(0.3, 1e-9, 1.0), turned=True).draw(
        torch.rand(6, generator=generator), generator
    )
    distances = torch.cdist(0.3 * last, 0.3 * last)
    torch.testing.assert_close(distances, torch.cdist(x, x).expand_as(distances), rtol=0, atol=1e-6)
    assert float((last - last[:1]).abs().amax((1, 2))[1:].min()) > 0.1


@pytest.fixture
def make(peroxide):
    def make(noise=0.0, batch=16, steps=4, biased=False):
        torch.set_default_dtype(torch.float32)
        x, scores = peroxide.frames(300)
        bias = KnownBias(torch.linspace(0, 2, 300), torch.tensor([[0, 1, 2, 3]])) if biased else None
        frames = TrainingFrames(x.float(), scores.float(), bias)
        path = NoiseToDataPath(0.3, 0.001, 1.0, noise)
        energy = InternalEnergyDenoising(
            peroxide.topology,
            frames,
            InternalEnergySizes(hidden=12, layers=2, levels=3, embedding=4),
            WidthLaw(0.001, 1.0, Flow(0.3)),
            InternalEnergySettings(batch=batch, linear_samples=500),
        )
        settings = ActionMatchingSettings(noise=noise, batch=batch, late=0.5)
        objective = EnergyActionMatching(energy, NoisedMolecule(frames, path), path, settings)
        law = WarmUpThenCosine(1e-3, steps)
        return Loop(objective, LoopSettings(steps, law, RampedDecay(0.999), (0.9, 0.99), 1.0, 0))

    return make


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_what_is_known_changes_no_gradient(make, noise):
    """The loss of the rest beside the fitted energy against the loss of the whole energy, in float64."""
    objective = make(noise).objective
    generator = torch.Generator().manual_seed(0)
    for piece in objective.preparation():
        piece.run(generator, lambda: None)
    network = objective.network
    torch.nn.init.normal_(network.net.output.weight, std=0.1)
    network.double()
    batch = objective.draw(generator)
    batch = ActionBatch(*(part.double() for part in vars(batch).values()))
    path = NoiseToDataPath(0.3, 0.001, 1.0, noise)
    whole = ActionLoss(ActionMatchingSettings(noise=noise))(full_potential(path, network), batch) / 12
    parameters = [p for name, p in objective.trained_parameters.items() if name != "output.bias"]
    for known, full in zip(
        torch.autograd.grad(objective.loss(batch), parameters, allow_unused=True),
        torch.autograd.grad(whole, parameters, allow_unused=True),
        strict=True,
    ):
        assert (known is None) is (full is None)
        if known is not None:
            torch.testing.assert_close(known, full, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("noise", "biased"), [(0.0, False), (0.6, True)])
def test_a_run_broken_anywhere_ends_bit_for_bit_like_the_unbroken_one(make, noise, biased):
    unbroken = make(noise, biased=biased)
    states = [unbroken.store() for _ in unbroken.prepare()] + [unbroken.store() for _ in unbroken.steps()]
    for state in states[1::3]:
        rest = make(noise, biased=biased)
        rest.restore(state)
        list(rest.prepare())
        list(rest.steps())
        ends = [{name: tensor.numpy().tobytes() for name, tensor in loop.store().items()} for loop in (rest, unbroken)]
        assert ends[0] == ends[1]
    assert "effective times" in unbroken.objective.remark
    with pytest.raises(DataError, match="saved state belongs to a training with other settings or data"):
        make(0.3, biased=biased).restore(states[0])
