"""One optimization step of the published networks on a GPU: 32 paths x 200 images at the published sizes.

    python -m benchmarks.network_gpu [--device cuda] [--beads 10 20 28 35 56] [--paths 32] [--images 200]

Reports step time, peak memory, share of the device's measured matmul peak, how far the gradient is from the CPU's (on
one path; both float32), the error that TF32 products would bring and the time they would save, and how much of a few
steps in a row the device was idle. `--device cpu` runs all of it but the profile, for trying the script.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import report
from benchmarks.network_step import HIDDEN, IMAGES, Step, bandwidth_gb_s, matmul_gflops

STEPS = 10
HEAD = (
    "beads",
    "step, ms",
    "peak, MB",
    "images per chunk",
    "GFLOP",
    "TFLOP/s",
    "of matmul peak, %",
    "gradient differs from CPU by",
    "step with TF32, ms",
    "gradient with TF32 differs by",
    "device idle, %",
)


def measure(beads: int, device: str, paths: int, images: int, peak_gflops: float) -> dict[str, Any]:
    """One size."""
    step, on_cpu = Step("tpsctl", beads, images=images, device=device), Step("tpsctl", beads, images=images)
    batch = step.path.expand(paths, -1, -1, -1).contiguous()
    gflop = step.gflop() * (images - 1) / (IMAGES - 1) * paths
    expected = on_cpu.gradient(on_cpu.path)
    seconds = _median_seconds(step, batch, device)
    found = {
        "seconds": seconds,
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if device != "cpu" else float("nan"),
        "images_per_chunk": min(step.action.chunks.images or 0, paths * (images - 1)),
        "gflop": gflop,
        "share_of_peak": gflop / seconds / peak_gflops,
        "differs_from_cpu": _difference(step.gradient(step.path), expected),
        "idle": _idle(step, batch) if device != "cpu" else float("nan"),
    }
    torch.set_float32_matmul_precision("high")  # TF32 products
    found["seconds_tf32"] = _median_seconds(step, batch, device)
    found["differs_with_tf32"] = _difference(step.gradient(step.path), expected)
    torch.set_float32_matmul_precision("highest")
    return found


def _median_seconds(step: Step, batch: torch.Tensor, device: str) -> float:
    """Of one step in a row of them; the device is waited for at the end of each row only."""
    rows = []
    for row in range(4):
        started = time.perf_counter()
        for _ in range(STEPS if device != "cpu" else 1):
            step.action.value_and_gradient(batch)
        if device != "cpu":
            torch.cuda.synchronize()
        if row:  # the first warms up
            rows.append((time.perf_counter() - started) / (STEPS if device != "cpu" else 1))
    return statistics.median(rows)


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.cpu() - expected).abs().max() / expected.abs().max())


def _idle(step: Step, batch: torch.Tensor) -> float:
    """Share of a row of steps in which no kernel ran, from the first kernel's start to the last one's end."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        for _ in range(STEPS):
            step.action.value_and_gradient(batch)
        torch.cuda.synchronize()
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in trace.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    busy, reached = 0.0, kernels[0][0]
    for start, end in kernels:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return 1 - busy / (reached - kernels[0][0])


def row(beads: int, found: dict[str, Any]) -> list[Any]:
    """A size's line in the table."""
    return [
        beads,
        1e3 * found["seconds"],
        found["peak_mb"],
        found["images_per_chunk"],
        found["gflop"],
        found["gflop"] / found["seconds"] / 1e3,
        100 * found["share_of_peak"],
        found["differs_from_cpu"],
        1e3 * found["seconds_tf32"],
        found["differs_with_tf32"],
        100 * found["idle"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--beads", type=int, nargs="*", default=list(HIDDEN), choices=list(HIDDEN))
    parser.add_argument("--paths", type=int, default=32)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", default="network_gpu", help="name of the result without suffix")
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU here; `--device cpu --paths 1 --images 12 --beads 10` tries the script")
    facts = report.machine() | {"device": arguments.device}
    peak, _ = matmul_gflops(arguments.device, 8192 if arguments.device != "cpu" else 2048)
    sizes = {}
    for beads in arguments.beads:
        if arguments.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        sizes[beads] = measure(beads, arguments.device, arguments.paths, arguments.images, peak)
    title = f"One step, truncated action, {arguments.paths} paths x {arguments.images} images, float32"
    machine = {"matmul_gflops": peak, "bandwidth_gb_s": bandwidth_gb_s(arguments.device)}
    rows = [row(beads, found) for beads, found in sizes.items()]
    report.write_report(arguments.out, facts, {"peaks": machine, "sizes": sizes}, [report.Table(title, HEAD, rows)])


if __name__ == "__main__":
    main()
