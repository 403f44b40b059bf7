"""The GPU benchmark runs on the CPU at a small size, so that it is ready where there is a GPU."""

import pytest
import torch

from benchmarks.network_gpu import HEAD, measure, row


def test_a_small_size_on_the_cpu():
    found = measure(10, "cpu", 1, 12, 1.0)
    assert found["differs_from_cpu"] == 0  # it is the CPU
    assert found["gflop"] > 0
    assert len(row(10, found)) == len(HEAD)


@pytest.mark.gpu
def test_gradients_of_gpu_and_cpu_agree():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    found = measure(10, "cuda", 2, 50, 1.0)
    assert found["differs_from_cpu"] < 1e-4
