"""Chunks of images: planned by the budget, halved when memory runs out, refused when one image is too much."""

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.action.memory import Chunks, default_budget
from tpsctl.errors import TpsctlError
from tpsctl.score.base import AutogradScore

FAILURES = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
]


class Crowded(AutogradScore):
    """A score that fails, as if memory had run out, for more than a few images at once."""

    def __init__(self, most, failure):
        super().__init__(lambda x: -x - x**3)
        self.most, self.failure, self.seen = most, failure, []

    def with_vjp(self, x):
        self.seen.append(len(x))
        if len(x) > self.most:
            raise self.failure
        return super().with_vjp(x)


def action(score):
    return TruncatedAction(score, Dynamics(0.1, torch.ones(2)), memory_gb=1.0)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: type(f).__name__)
def test_a_chunk_that_does_not_fit_is_halved_and_done_again(failure):
    paths = torch.randn(2, 21, 2, 3)
    expected, gradient = action(AutogradScore(lambda x: -x - x**3)).value_and_gradient(paths)
    crowded = action(Crowded(6, failure))
    found, found_gradient = crowded.value_and_gradient(paths)
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(found_gradient, gradient)
    assert crowded.chunks.images == 5  # 40, 20, 10, 5
    before = len(crowded.score.seen)
    crowded.value_and_gradient(paths)
    assert crowded.score.seen[before:] == [5] * 8  # what was learned is kept


def test_one_image_that_does_not_fit_is_an_error_with_a_remedy():
    with pytest.raises(TpsctlError, match=r"out of memory on cpu with one image of 2 beads.*endpoints.select"):
        action(Crowded(0, MemoryError())).value_and_gradient(torch.randn(1, 5, 2, 3))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        action(Crowded(3, RuntimeError("shapes do not match"))).value_and_gradient(torch.randn(1, 9, 2, 3))


def test_a_plan_keeps_to_the_budget_in_chunks_of_like_size():
    weight = torch.randn(6, 1000)
    score = AutogradScore(lambda x: (torch.tanh(x.flatten(1) @ weight) @ weight.T).view_as(x))
    x = torch.randn(100, 2, 3)
    chunks = Chunks(score, budget_bytes=40 * 16_500.0)  # an image keeps 1000 float64 numbers, and as much in passing
    sizes = chunks.map(len, x)
    assert max(sizes) <= 41
    assert max(sizes) - min(sizes) <= 2
    assert sum(sizes) == 100


def test_the_default_budget_of_a_cpu_is_a_fraction_of_a_gigabyte():
    assert 5e7 < default_budget(torch.device("cpu")) < 5e8
