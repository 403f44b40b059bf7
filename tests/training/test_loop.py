"""The loop: its laws against closed forms, Adam and the running average by hand, and runs that are cut in two."""

import math
from functools import partial
from typing import NamedTuple

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.base import Objective, Piece, fingerprint_of, seeded


class Points(NamedTuple):
    """Places and values."""

    x: torch.Tensor
    y: torch.Tensor

    def to(self, device):
        return Points(self.x.to(device), self.y.to(device))


class Line(Objective):
    """Fit y = a x + b to noisy points; prepared in three pieces, of which the last measures the noise."""

    def __init__(self, slope=2.0, seed=0):
        self._slope = slope
        self._network = seeded(seed, lambda: torch.nn.Linear(1, 1))
        self.tables = torch.zeros(3)
        self.seen = 0

    @property
    def network(self):
        return self._network

    def preparation(self):
        return [Piece(f"table {k}", partial(self._tabulate, k)) for k in range(3)]

    def _tabulate(self, k, generator, pause):
        for _ in range(4):
            pause()
            self.tables[k] = self.tables[k] + torch.rand((), generator=generator)
        return f"is {float(self.tables[k]):.3f}"

    def draw(self, generator):
        x = torch.randn(16, 1, generator=generator)
        return Points(x, self._slope * x + 1 + 0.1 * torch.randn(16, 1, generator=generator))

    def loss(self, batch):
        self.seen += len(batch.x)
        return (self._network(batch.x) - batch.y).square().mean()

    def store(self):
        return {"tables": self.tables, "seen": torch.tensor(self.seen)}

    def restore(self, tensors):
        self.tables, self.seen = tensors["tables"], int(tensors["seen"])

    def fingerprint(self):
        return fingerprint_of([self._slope], ())


def settings(steps=20, rate=0.05, **changes):
    return LoopSettings(steps, WarmUpThenCosine(rate, steps), RampedDecay(0.9), **changes)


def everything(loop):
    """All tensors of the state as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in loop.store().items()}


def finished(loop):
    list(loop.prepare())
    list(loop.steps())
    return loop


@pytest.mark.parametrize(("ahead", "last"), [(0, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 999 / 1000))), (1, 0.01)])
def test_the_learning_rate_warms_up_and_falls_to_a_hundredth(ahead, last):
    law = WarmUpThenCosine(2.0, 1000, ahead)
    assert law(99) == pytest.approx(2.0 * 0.5 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (99 + ahead) / 1000))))
    assert law(500 - ahead) == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    assert law(999) == pytest.approx(2.0 * last, rel=1e-12)


def test_an_average_from_zero_is_the_plain_mean_until_its_memory_is_full():
    law, mean, values = RampedDecay(0.9, gained=0, span=1), 0.0, [3.0, 5.0, -1.0, 4.0, 2.0]
    for done, value in enumerate(values):
        mean = law(done) * mean + (1 - law(done)) * value
    assert mean == pytest.approx(sum(values) / len(values), rel=1e-14)
    assert (law(8), law(9), law(1000)) == (8 / 9, 0.9, 0.9)
    assert RampedDecay(0.999)(0) == 1 / 10


def test_a_run_finds_the_line():
    loop = finished(Loop(Line(), settings(steps=600)))
    network = loop.averaged_network()
    # 9600 points with noise 0.1: standard error 0.001; the average remembers the last ten steps, of 16 points each
    assert network.weight.item() == pytest.approx(2, abs=0.03)
    assert network.bias.item() == pytest.approx(1, abs=0.03)
    assert (loop.step, len(loop.losses), loop.objective.seen) == (600, 600, 9600)


@pytest.mark.parametrize("limit", [None, 0.5])
def test_three_steps_are_those_of_adam_written_out(limit):
    loop = Loop(Line(), settings(rate=0.5, betas=(0.8, 0.95), largest_gradient_norm=limit, seed=4))
    twin, generator = Line(), torch.Generator().manual_seed(4)
    theta = torch.cat([p.detach().flatten() for p in twin.network.parameters()])
    m, v, average = torch.zeros(2), torch.zeros(2), theta.clone()
    for n, (done, loss) in enumerate(loop.steps(until=3)):
        x, y = (column.flatten() for column in twin.draw(generator))
        rest = theta[0] * x + theta[1] - y
        gradient = 2 * torch.stack(((rest * x).mean(), rest.mean()))
        assert (done, loss) == (n + 1, pytest.approx(float(rest.square().mean()), rel=1e-12))
        if limit is not None:
            assert float(gradient.norm()) > limit, "the limit is reached"
            gradient = gradient * limit / (gradient.norm() + 1e-6)
        m, v = 0.8 * m + 0.2 * gradient, 0.95 * v + 0.05 * gradient**2
        corrected = m / (1 - 0.8 ** (n + 1)), v / (1 - 0.95 ** (n + 1))
        rate = 0.5 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * n / 20))) * (n + 1) / 200
        theta = theta - rate * corrected[0] / (corrected[1].sqrt() + 1e-8)
        average = average + (1 - (1 + n) / (10 + n)) * (theta - average)
    found = loop.store()
    assert torch.allclose(torch.cat([found["network.weight"][0], found["network.bias"]]), theta, rtol=1e-12, atol=0)
    assert torch.allclose(torch.cat([found["average.weight"][0], found["average.bias"]]), average, rtol=1e-12, atol=0)


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
@pytest.mark.parametrize("steps", [0, 1, 13])
def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one(pieces, steps):
    unbroken, first, second = Loop(Line(), settings()), Loop(Line(), settings()), Loop(Line(), settings())
    finished(unbroken)
    for done, said in first.prepare():
        assert said.startswith(f"table {done - 1} is ")
        if done == pieces:
            break
    state = first.store() if pieces else Loop(Line(), settings()).store()
    second.restore(state)
    assert second.prepared == pieces
    list(second.prepare())
    list(second.steps(until=steps))
    third = Loop(Line(), settings())
    third.restore(second.store())
    assert (third.prepared, third.step) == (3, steps)
    finished(third)
    assert everything(third) == everything(unbroken)


def test_a_piece_that_is_given_up_is_done_again_from_the_state_before_it():
    unbroken = finished(Loop(Line(), settings()))
    loop, asked, states = Loop(Line(), settings()), [], []

    def pause(before):
        asked.append(before)
        if len(asked) == 7:  # within the second piece
            states.append(before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(loop.prepare(pause))
    rest = Loop(Line(), settings())
    rest.restore(states[0])
    assert rest.prepared == 1
    assert everything(finished(rest)) == everything(unbroken)


def test_taking_the_state_does_not_disturb_the_run():
    quiet, saved = finished(Loop(Line(), settings())), Loop(Line(), settings())
    list(saved.prepare(lambda before: None))
    for _ in saved.steps():
        saved.store()
    assert everything(quiet) == everything(saved)


def test_a_stored_state_does_not_change_with_the_run():
    loop = Loop(Line(), settings())
    list(loop.prepare())
    list(loop.steps(until=2))
    state = loop.store()
    before = {name: tensor.clone() for name, tensor in state.items()}
    list(loop.steps())
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_the_seed_decides_everything_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, same, other = (everything(finished(Loop(Line(seed=s), settings(seed=s)))) for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == same
    assert first["average.weight"] != other["average.weight"]


@pytest.mark.parametrize(
    ("objective", "other"),
    [(Line(), settings(steps=21)), (Line(), settings(rate=0.06)), (Line(), settings(seed=1)), (Line(3.0), settings())],
)
def test_states_of_other_runs_are_refused(objective, other):
    state = Loop(Line(), settings()).store()
    Loop(Line(), settings()).restore(state)
    with pytest.raises(DataError, match="saved state belongs to a training with other settings or data"):
        Loop(objective, other).restore(state)


def test_states_of_the_version_with_two_loops_are_refused_in_words():
    """They had no number of a format; the one of molecules had a digest, the one of points had none."""
    state = Loop(Line(), settings()).store()
    for old in ({"step": torch.tensor(3), "digest": torch.zeros(32)}, {"losses": torch.zeros(3)}):
        kept = {name: tensor for name, tensor in state.items() if name.startswith(("network.", "average.", "adam."))}
        with pytest.raises(DataError, match=r"another version of tpsctl.*nothing was changed.*--overwrite"):
            Loop(Line(), settings()).restore(kept | old)
