"""Chunks side by side: the same results in the same order, and nothing of it seen outside."""

import threading

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.action.lanes import in_lanes, lanes_for
from tpsctl.action.memory import Chunks
from tpsctl.score.base import AutogradScore

CPU = torch.device("cpu")


@pytest.fixture(params=[2, 3, 9])
def threads(request):
    """So many of torch's threads; the suite has one otherwise."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def score(parallel):
    return AutogradScore(lambda x: -x - x**3, parallel=parallel)


def test_there_are_as_many_lanes_as_threads_up_to_four(threads):
    assert lanes_for(score(True), CPU) == min(threads, 4)


def test_a_score_that_does_not_allow_it_and_a_gpu_have_one_lane(threads):
    assert lanes_for(score(False), CPU) == 1
    assert lanes_for(score(True), torch.device("cuda")) == 1


def test_results_come_in_order_from_several_threads_at_once(threads):
    lanes = min(threads, 4)
    together = threading.Barrier(lanes, timeout=120)

    def work(piece):
        together.wait()  # passes only when all lanes are here at the same time
        return piece, threading.get_ident(), torch.get_num_threads()

    found = in_lanes(work, range(3 * lanes), lanes)
    assert [piece for piece, _, _ in found] == list(range(3 * lanes))
    assert len({ident for _, ident, _ in found}) == lanes
    assert {inside for _, _, inside in found} == {threads // lanes}, "threads are shared out"


def test_threads_of_the_caller_and_of_others_stay_as_they_were(threads):
    in_lanes(lambda piece: piece, range(8), min(threads, 4))
    assert torch.get_num_threads() == threads
    elsewhere = []
    other = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert elsewhere == [threads]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_a_lane_records_gradients_where_its_caller_does(threads, mode):
    with mode():
        assert set(in_lanes(lambda _: torch.is_grad_enabled(), range(4), 2)) == {torch.is_grad_enabled()}


def test_an_error_in_a_lane_is_raised(threads):
    with pytest.raises(ZeroDivisionError):
        in_lanes(lambda piece: 1 // (3 - piece), range(8), 2)


def test_lanes_do_not_change_actions_and_gradients(threads):
    paths, dynamics = torch.randn(3, 31, 2, 3), Dynamics(0.1, torch.ones(2))
    expected = TruncatedAction(score(False), dynamics).value_and_gradient(paths)
    beside = TruncatedAction(score(True), dynamics)
    beside.chunks.images = 4
    terms, gradient = beside.value_and_gradient(paths)
    torch.testing.assert_close(terms.total, expected[0].total)
    torch.testing.assert_close(gradient, expected[1], rtol=0, atol=0)


def test_lanes_share_the_budget_and_get_as_many_chunks_each(threads):
    weight = torch.randn(6, 1000)
    wide = AutogradScore(lambda x: (torch.tanh(x.flatten(1) @ weight) @ weight.T).view_as(x), parallel=True)
    chunks = Chunks(wide, budget_bytes=40 * 16_500.0)  # an image keeps 1000 float64 numbers, and as much in passing
    sizes = chunks.map(len, torch.randn(100, 2, 3))
    lanes = min(threads, 4)
    assert max(sizes) * lanes <= 41
    assert len(sizes) % lanes == 0
    assert sum(sizes) == 100


def test_a_chunk_that_does_not_fit_beside_others_is_halved_and_done_again(threads):
    seen = []

    def work(x):
        seen.append(len(x))
        if len(x) > 6:
            raise MemoryError
        return x.sum()

    x = torch.randn(40, 2, 3)
    chunks = Chunks(score(True), budget_bytes=1e9)
    torch.testing.assert_close(torch.stack(chunks.map(work, x)).sum(), x.sum())
    assert max(seen) > 6
    assert chunks.images <= 6


def test_one_image_that_does_not_fit_beside_others_is_tried_alone(threads):
    at_work, busy = 0, threading.Lock()

    def work(x):
        nonlocal at_work
        with busy:
            at_work += 1
            crowd = at_work
        try:
            if len(x) > 1 or crowd > 1:
                raise MemoryError
            return x.sum()
        finally:
            with busy:
                at_work -= 1

    x = torch.randn(8, 2, 3)
    torch.testing.assert_close(torch.stack(Chunks(score(True), budget_bytes=1e9).map(work, x)).sum(), x.sum())
