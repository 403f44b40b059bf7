"""The trainer learns, and a run that was cut in two is bit for bit the unbroken one."""

import pytest
import torch
from tpsctl.training.trainer import Trainer, TrainingFrames, TrainingSettings

from tpsctl.errors import DataError
from tpsctl.networks.internal_energy.network import InternalEnergySizes
from tpsctl.score.schedule import Flow, VarianceExploding

SIZES = InternalEnergySizes(hidden=24, layers=2, levels=3, embedding=4)


@pytest.fixture(autouse=True)
def _float32():
    """As in production; the fixture of all tests puts the default back."""
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def make(peroxide):
    def make(schedule=None, sizes=SIZES, frames=2000, forces=True, **changes):
        x, scores = peroxide.frames(frames)
        settings = {"steps": 400, "batch": 64, "linear_samples": 500, "smallest_width_nm": 0.001} | changes
        data = TrainingFrames(x.float(), scores.float() if forces else None, None)
        schedule = schedule or VarianceExploding(0.001, 1.0)
        return Trainer(peroxide.topology, data, sizes, schedule, TrainingSettings(**settings))

    return make


def everything(trainer):
    """All tensors of the state as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in trainer.store().items()}


def test_the_loss_falls_by_what_only_the_network_can_learn(make):
    """The data have a fivefold torsion, which the linear energy cannot express."""
    trainer = make()
    trainer.prepare()
    losses = [loss for _, loss in trainer.run()]
    assert len(losses) == 400
    assert sum(losses[-50:]) < 0.9 * sum(losses[:50])


@pytest.mark.parametrize("forces", [True, False])
def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one(make, forces):
    unbroken = make(forces=forces, steps=8)
    unbroken.prepare()
    losses = list(unbroken.run())
    first = make(forces=forces, steps=8)
    first.prepare()
    state = first.store()  # right after the linear fit
    second = make(forces=forces, steps=8)
    second.restore(state)
    found = list(second.run(until=3))
    state = second.store()
    third = make(forces=forces, steps=8)
    third.restore(state)
    assert third.step == 3
    found += list(third.run())
    assert found == losses
    assert everything(third) == everything(unbroken)
    averaged = unbroken.averaged_network().state_dict()
    for name, tensor in third.averaged_network().state_dict().items():
        assert torch.equal(tensor, averaged[name]), name


def test_taking_the_state_does_not_disturb_the_run(make):
    quiet, saved = make(steps=4), make(steps=4)
    quiet.prepare()
    saved.prepare()
    for _ in saved.run():
        saved.store()
    list(quiet.run())
    assert everything(quiet) == everything(saved)


def test_states_of_other_runs_are_refused(make):
    state = make().store()
    make().restore(state)
    others = [
        {"seed": 1},
        {"steps": 401},
        {"learning_rate": 2e-3},
        {"frames": 1999},
        {"forces": False},
        {"schedule": Flow(0.3)},
        {"sizes": InternalEnergySizes(hidden=25, layers=2, levels=3, embedding=4)},
    ]
    for changes in others:
        with pytest.raises(DataError, match="state of a training with other settings or data"):
            make(**changes).restore(state)


def test_the_seed_decides_everything_and_leaves_the_global_generator_alone(make):
    before = torch.get_rng_state()
    a, b, c = make(seed=5), make(seed=5), make(seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    first, second, other = (everything(t) for t in (a, b, c))
    assert first == second
    assert first != other


def test_noise_widths_stay_within_the_ladder_and_cover_it(make):
    for changes in ({}, {"schedule": Flow(0.3), "uniform_time": 0.5}):
        trainer = make(batch=2000, **changes)
        widths = trainer._widths()
        assert float(widths.min()) >= 0.001 * (1 - 1e-6)
        assert float(widths.max()) <= 1.0 + 1e-6
        counts = torch.histc(widths.log(), 6)
        assert float(counts.min()) > 40, "no sixth of the logarithmic range is neglected"


def test_uniform_time_draws_a_fraction_of_the_widths_uniformly_in_time(make):
    schedule = Flow(0.3)
    widths = make(schedule=schedule, uniform_time=1.0, batch=4000)._widths()
    t = schedule.time_of(widths.double())
    upper = float(schedule.time_of(torch.tensor(1.0)))  # beyond, widths are cut to the largest
    inside = t[t < upper - 1e-3]
    assert float((inside < upper / 2).double().mean()) == pytest.approx(0.5, abs=0.02)  # stratified draws
