"""Chunks of images: planned by the budget, halved when memory runs out, refused when one image is too much."""

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.action.memory import Chunks, default_budget, explained_out_of_memory
from tpsctl.errors import TpsctlError
from tpsctl.optimize import LevenbergMarquardt
from tpsctl.optimize.gauss_newton import BlockSystem
from tpsctl.score.base import AutogradScore

FAILURES = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
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


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: str(f)[:40] or type(f).__name__)
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


class CrowdedAtFirst(AutogradScore):
    """A score for which memory has run out at the first few calls, because another program had it."""

    def __init__(self, failures):
        super().__init__(lambda x: -x - x**3)
        self.failures, self.seen = failures, []

    def with_vjp(self, x):
        self.seen.append(len(x))
        if self.failures:
            self.failures -= 1
            raise MemoryError
        return super().with_vjp(x)


def test_a_plan_that_failed_does_not_leave_one_image_per_chunk_for_good():
    paths, score = torch.randn(2, 21, 2, 3), CrowdedAtFirst(1)
    crowded = action(score)
    crowded.value_and_gradient(paths)
    assert set(score.seen[1:]) == {1}, "one image at a time while nothing is known"
    before = len(score.seen)
    crowded.value_and_gradient(paths)
    assert score.seen[before:] == [4, 2, 40], "the next batch plans again, with four images and with two"


def test_batches_are_cut_by_their_own_size_whatever_came_before():
    chunks = Chunks(AutogradScore(lambda x: -x), budget_bytes=1e9)
    chunks.images = 59
    assert chunks.map(len, torch.randn(118, 2, 3)) == [59, 59]
    assert chunks.map(len, torch.randn(60, 2, 3)) == [30, 30]


def test_a_plan_is_stored_for_the_kind_of_device_it_was_made_for():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    first, second = (Chunks(AutogradScore(lambda x: -x), budget_bytes=1e9) for _ in range(2))
    assert first.store(cpu) == {}
    first.images = 17
    second.restore(first.store(cpu), cpu)
    assert second.images == 17
    second.restore(first.store(cpu), cuda)
    assert second.images is None


def test_half_of_the_free_memory_of_a_gpu_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000)
    assert default_budget(torch.device("cuda")) == 6_000  # what torch keeps of freed memory is free, too


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: str(f)[:40] or type(f).__name__)
def test_memory_that_runs_out_elsewhere_is_an_error_with_a_remedy(failure):
    with (
        pytest.raises(TpsctlError, match=r"out of memory while solving .*Use fewer paths\."),
        explained_out_of_memory("solving", "Use fewer paths."),
    ):
        raise failure


def test_other_errors_pass_through_the_explanation():
    with pytest.raises(RuntimeError, match="shapes"), explained_out_of_memory("solving", "Use fewer paths."):
        raise RuntimeError("shapes do not match")


def test_an_optimizer_whose_matrices_do_not_fit_says_what_to_do(monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(BlockSystem, "refresh", full)
    optimizer = LevenbergMarquardt(max_steps=3, solver="block")
    with pytest.raises(TpsctlError, match=r"out of memory while optimizing 2 paths of 9 images.*path\.batch_paths"):
        optimizer.minimize(action(AutogradScore(lambda x: -x - x**3)), torch.randn(2, 9, 2, 3))
