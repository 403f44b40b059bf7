"""The trial of CUDA graphs, with a graph that is none where there is no GPU."""

import pytest
import torch

from benchmarks.cuda_graphs import measure


def test_a_graph_is_compared_with_the_work_as_it_is():
    found, text = measure(10, "cpu", 3, capture=lambda work: work)
    assert found["differs"] == 0
    assert set(found) == {"images", "seconds", "seconds_graph", "differs"}
    assert "3 images at a time" in text
    assert "pay" in text


def test_a_graph_with_other_results_is_seen():
    found, _ = measure(10, "cpu", 3, capture=lambda work: lambda: [1.5 * part for part in work()])
    assert found["differs"] == pytest.approx(0.5)


def test_work_that_cannot_be_recorded_is_told_with_the_reason():
    def refuse(work):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    found, text = measure(10, "cpu", 3, capture=refuse)
    assert found["refused"] == "CUDA error: operation not permitted when stream is capturing"
    assert text.endswith("no CUDA graph: CUDA error: operation not permitted when stream is capturing")


@pytest.mark.gpu
def test_the_trial_ends_on_a_gpu_and_leaves_it_usable():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    found, _ = measure(10, "cuda", 20)
    assert found.get("differs", 0) < 1e-4  # float32
    assert torch.ones(3, device="cuda").sum().item() == 3
