"""The objective of internal energies learns, and a run that was cut in two is bit for bit the unbroken one."""

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.networks.internal_energy.network import InternalEnergySizes
from tpsctl.score.schedule import (
    Flow,
    LinearVariancePreserving,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.objectives.error_weights import ActionPrincipleWeights
from tpsctl.training.objectives.internal_energy import (
    InternalEnergyDenoising,
    InternalEnergySettings,
)
from tpsctl.training.objectives.velocity_weights import VelocityWeights
from tpsctl.training.targets import KnownBias, NoisedFrames
from tpsctl.training.times import TIME_LAWS, WEIGHTS
from tpsctl.training.widths import ScheduledWidths, WidthLaw

SIZES = InternalEnergySizes(hidden=24, layers=2, levels=3, embedding=4)


@pytest.fixture(autouse=True)
def _float32():
    """As in production; the fixture of all tests puts the default back."""
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def make(peroxide):
    def make(
        schedule=None,
        law=None,
        sizes=SIZES,
        frames=2000,
        forces=True,
        biased=False,
        steps=400,
        seed=0,
        weights=None,
        **changes,
    ):
        x, scores = peroxide.frames(frames)
        bias = KnownBias(torch.linspace(0, 2, frames), torch.tensor([[0, 1, 2, 3]])) if biased else None
        data = TrainingFrames(x.float(), scores.float() if forces else None, bias)
        widths = WidthLaw(0.001, 1.0, schedule or VarianceExploding(0.001, 1.0))
        settings = InternalEnergySettings(**{"batch": 64, "linear_samples": 500, "seed": seed} | changes)
        objective = InternalEnergyDenoising(peroxide.topology, data, sizes, law or widths, settings, weights)
        law = WarmUpThenCosine(1e-3, steps)
        return Loop(objective, LoopSettings(steps, law, RampedDecay(0.999), (0.9, 0.99), 1.0, seed))

    return make


def everything(loop):
    """All tensors of the state as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in loop.store().items()}


def test_the_loss_falls_by_what_only_the_network_can_learn(make):
    """The data have a fivefold torsion, which the linear energy cannot express."""
    loop = make()
    list(loop.prepare())
    losses = [loss for _, loss in loop.steps()]
    assert len(losses) == 400
    assert sum(losses[-50:]) < 0.9 * sum(losses[:50])


@pytest.mark.parametrize(("forces", "biased"), [(True, False), (False, False), (True, True)])
def test_a_run_broken_anywhere_ends_bit_for_bit_like_the_unbroken_one(make, forces, biased):
    unbroken = make(forces=forces, biased=biased, steps=4)
    states = [unbroken.store()]
    states += [unbroken.store() for _ in unbroken.prepare()]
    assert len(states) == 1 + 3 + (6 if forces else 3), "three tables, and a fit at every width"
    states += [unbroken.store() for _ in unbroken.steps()]
    for state in states[1::2]:
        rest = make(forces=forces, biased=biased, steps=4)
        rest.restore(state)
        list(rest.prepare())
        list(rest.steps())
        assert everything(rest) == everything(unbroken)


def test_only_the_perceptron_is_trained(make):
    loop = make(steps=3)
    list(loop.prepare())
    before = loop.store()
    list(loop.steps())
    after = loop.store()
    changed = {name for name in before if name.startswith("network.") and not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("network.net.") for name in changed)


def test_states_of_other_runs_are_refused(make):
    state = make().store()
    make().restore(state)
    others = [
        {"seed": 1},
        {"steps": 401},
        {"batch": 65},
        {"frames": 1999},
        {"forces": False},
        {"biased": True},
        {"schedule": Flow(0.3)},
        {"sizes": InternalEnergySizes(hidden=25, layers=2, levels=3, embedding=4)},
    ]
    for changes in others:
        with pytest.raises(DataError, match="saved state belongs to a training with other settings or data"):
            make(**changes).restore(state)


def test_a_pause_comes_often_in_every_piece(make):
    """Every few seconds for large molecules: between noise widths, and between directions within the linear fit."""
    loop, asked = make(linear_samples=1000), []
    counts = []
    for _ in loop.prepare(lambda before: asked.append(before["prepared"])):
        counts.append(len(asked) - sum(counts))
    assert counts[:2] == [3, 3]
    assert set(counts[2:-1]) == {2 * 2 * (1 + 6) + 1}
    assert counts[-1] == 3 * 4


def test_with_velocity_weights_the_loss_is_the_regression_of_a_velocity(make):
    """u = (alpha'/alpha) x_t - g^2/(2 alpha) score against scale eps - x_0, each from its definition."""
    path = Flow(0.3)
    objective = make(path, forces=False, frames=300, torsion_weight=0.0, weights=VelocityWeights(path)).objective
    generator = torch.Generator().manual_seed(0)
    for piece in objective.preparation()[:2]:  # tables that the network needs; the linear energy stays zero
        piece.run(generator, lambda: None)
    torch.nn.init.normal_(objective.network.net.output.weight, std=0.1)
    objective.network.double()
    batch = objective.draw(generator)
    batch = NoisedFrames(*(part.double() for part in (batch.y, batch.sigma, batch.target, batch.weight)))
    width = batch.sigma.reshape(-1, 1, 1)
    clean, noise = batch.y + width**2 * batch.target, -width * batch.target
    t = path.time_of(width)
    x_t = path.alpha(t) * batch.y
    y = batch.y.requires_grad_(True)
    score = -torch.autograd.grad(objective.network(y, batch.sigma).sum(), y)[0]
    learned = path.drift(x_t, t) - path.diffusion_squared(t) / (2 * path.alpha(t)) * score
    expected = (learned - (0.3 * noise - clean)).square().mean() / 0.3**2
    assert float(objective.loss(batch).detach()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("weight", ["likelihood", "simple"])
@pytest.mark.parametrize("times", ["importance", "uniform"])
@pytest.mark.parametrize(
    "schedule",
    [VarianceExploding(0.001, 1.0), VariancePreserving(0.3), LinearVariancePreserving(0.3), SubVariancePreserving(0.3)],
    ids=lambda schedule: schedule.name,
)
def test_with_the_weights_of_the_action_principle_the_loss_is_that_of_score_matching(make, schedule, times, weight):
    """w / (2 q) |score of x_t + eps/sigma|^2 from its definition; noise widths are stored in float32, hence 1e-5."""
    law = TIME_LAWS[times](schedule, 0.001, 1.0)
    objective = make(
        law=ScheduledWidths(law),
        forces=False,
        frames=300,
        torsion_weight=0.0,
        weights=ActionPrincipleWeights(law, weight),
    ).objective
    generator = torch.Generator().manual_seed(0)
    for piece in objective.preparation()[:2]:  # tables that the network needs; the linear energy stays zero
        piece.run(generator, lambda: None)
    torch.nn.init.normal_(objective.network.net.output.weight, std=0.1)
    objective.network.double()
    batch = objective.draw(generator)
    batch = NoisedFrames(*(part.double() for part in (batch.y, batch.sigma, batch.target, batch.weight)))
    t = schedule.time_of(batch.sigma)
    alpha, sigma = (part.reshape(-1, 1, 1) for part in (schedule.alpha(t), schedule.sigma(t)))
    noise = -batch.sigma.reshape(-1, 1, 1) * batch.target
    x_t = (alpha * batch.y).requires_grad_(True)
    score = -torch.autograd.grad(objective.network(x_t / alpha, batch.sigma).sum(), x_t)[0]
    factor = WEIGHTS[weight](schedule, t) * law.inverse_density(t) / 2
    expected = (factor * (score + noise / sigma).square().mean((1, 2))).mean()
    assert float(objective.loss(batch).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_with_a_geometric_noise_both_weights_are_the_same_training():
    """g^2 is a constant times sigma^2."""
    widths = torch.logspace(-3, 0, 7)
    for times in TIME_LAWS:
        law = TIME_LAWS[times](VarianceExploding(0.001, 1.0), 0.001, 1.0)
        ratio = ActionPrincipleWeights(law, "simple").unit(widths) / ActionPrincipleWeights(law, "likelihood").unit(
            widths
        )
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-6, atol=0)


def test_score_matching_with_another_weight_is_another_training(make):
    law = TIME_LAWS["importance"](VariancePreserving(0.3), 0.001, 1.0)
    prints = [
        make(law=ScheduledWidths(law), weights=ActionPrincipleWeights(law, weight)).objective.fingerprint()
        for weight in WEIGHTS
    ]
    assert prints[0] != prints[1]


def test_flow_matching_and_denoising_are_two_trainings(make):
    path = Flow(0.3)
    assert make(path).objective.fingerprint() != make(path, weights=VelocityWeights(path)).objective.fingerprint()
