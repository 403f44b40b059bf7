"""Would CUDA graphs pay? One evaluation of the score and a product with its Jacobian, as it is and as a graph.

An optimization step calls hundreds of kernels from Python. A CUDA graph records them once and starts all of them with
one call, so it gains where the GPU waits for Python: with few images at a time. A graph keeps its addresses, so a use
of it in tpsctl would need buffers for a fixed size of chunks. `benchmarks.gpu_check` has a row for each of two sizes.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.network_step import Step

WARM_UP, ROUNDS = 3, 10

Work = Callable[[], tuple[Tensor, Tensor]]
"""Computes score and product from an array that does not move, and returns them."""


def captured(work: Work) -> Work:
    """The work as a CUDA graph.

    Raises:
        RuntimeError: Something in it cannot be recorded, e.g. a wait for the GPU, or a copy from the host.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):  # libraries take their workspaces before the recording
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()

    def replay() -> tuple[Tensor, Tensor]:
        graph.replay()
        return found

    return replay


def measure(
    beads: int, device: str, images: int, capture: Callable[[Work], Work] = captured
) -> tuple[dict[str, Any], str]:
    """Seconds with and without a graph, or why there is no graph; and a sentence about it.

    Args:
        beads: Size of the network (`benchmarks.network_step.HIDDEN`).
        device: The device.
        images: Number of images at a time.
        capture: Makes a graph of the work.
    """
    step = Step("tpsctl", beads, images=images, device=device)
    score, x = step.action.score, step.path.clone()

    def work() -> tuple[Tensor, Tensor]:
        value, vjp = score.with_vjp(x)
        return value, vjp(value)

    plain, expected = _median_seconds(work, device), [part.clone() for part in work()]
    found: dict[str, Any] = {"images": images, "seconds": plain}
    text = f"{images} images at a time: {1e3 * plain:.3g} ms as it is"
    try:
        replay = capture(work)
        found["seconds_graph"] = _median_seconds(replay, device)
        parts = zip(replay(), expected, strict=True)
        found["differs"] = max(float((a - b).abs().max() / b.abs().max()) for a, b in parts)
    except (RuntimeError, AssertionError) as error:  # the trial may fail: that is its answer
        found["refused"] = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return found, f"{text}; no CUDA graph: {found['refused']}"
    gain = plain / found["seconds_graph"]
    verdict = "pays" if gain > 1.1 else "does not pay"
    text += f", {1e3 * found['seconds_graph']:.3g} ms as a CUDA graph, which {verdict} ({gain:.2f} times as fast)"
    return found, f"{text}; results differ by {found['differs']:.1g}"


def _median_seconds(work: Work, device: str) -> float:
    rounds = []
    for number in range(WARM_UP + ROUNDS if device != "cpu" else 2):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        if number:
            rounds.append(time.perf_counter() - started)
    return statistics.median(rounds)
