"""One optimization step of the published networks: tpsctl beside a plain implementation of the published layer.

    python -m benchmarks.network_step [--beads 10 20 28 35 56]

A step is value and gradient of the truncated action of 1 path x 200 images in float32, at the published sizes of each
protein's network with random weights. Each implementation runs in a process of its own, so that peak memory is its own;
the two take turns, so that other work on the machine hits them alike. The speed of a step is compared with that of a
large matrix product right before it, as both drift with the machine. Sizes not asked for keep their earlier results.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import report
from benchmarks.plain_layer import plain_step
from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.action.memory import bytes_per_image
from tpsctl.networks.graph_transformer import attend_compiled
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import noise_prior
from tpsctl.score.levels import Levels, cosine_tables

HIDDEN = {10: 64, 20: 128, 28: 96, 35: 128, 56: 128}
"""Width of the published networks of chignolin, Trp-cage, BBA, villin and protein G; 3 blocks, 8 heads of 64."""
BARS = {10: (6, 3), 20: (9, 6), 28: (14, 8), 35: (20, 10), 56: (35, 15)}
"""Least ratios plain / tpsctl of time and memory."""
TURNS = {10: (1, 5), 20: (0, 2), 28: (0, 1), 35: (0, 1), 56: (0, 1)}
"""Steps of each that are not counted, and that are: the plain step takes a minute at 56 beads."""
PER_TURN = 5
"""Steps of tpsctl in a turn, of which the median counts."""
SPIN_S = 0.3
"""After a product in this process its threads may spin for so long, waiting for another."""
WAYS = ("tpsctl", "plain")
IMAGES, TIME, SCALE_NM = 200, 0.02, 0.5
MASS_AMU = 12.011


class Step:
    """One implementation, ready for steps; random weights and path are the same for both."""

    def __init__(self, way: str, beads: int, *, images: int = IMAGES, device: str = "cpu"):
        torch.manual_seed(beads)
        self.way = way
        sizes = GraphTransformerSizes(beads, 0, HIDDEN[beads], 3, 8, 64, False, True, False, 1)
        network = GraphTransformer(sizes)
        self.path = (SCALE_NM * torch.randn(images, beads, 3)).float().to(device)
        self.dynamics = Dynamics.langevin(
            dt_ps=0.001, masses_amu=[MASS_AMU] * beads, friction_per_ps=1.0, temperature_k=350.0
        )
        field = GraphTransformerField(network, Beads(torch.arange(beads)))
        prior = noise_prior(field, Levels(cosine_tables(1000)), scale_nm=(SCALE_NM,))
        prior.to(device=device, dtype=torch.float32)
        self.sigma = float(prior.schedule.sigma(torch.tensor(TIME, dtype=torch.float64)))
        self.action = TruncatedAction(prior.at(TIME), self.dynamics)
        self.plain = network.float().to(device)

    def gradient(self, path: torch.Tensor) -> torch.Tensor:
        if self.way == "tpsctl":
            return self.action.value_and_gradient(path.unsqueeze(0))[1][0]
        return plain_step(self.plain, path, self.dynamics, time=TIME, sigma=self.sigma, scale_nm=SCALE_NM)[1]

    def gflop(self) -> float:
        """Arithmetic of all matrix products of a step, counted on a short path; none that is done twice."""
        short, threads = self.path[:9], torch.get_num_threads()
        chunks, planned = self.action.chunks, self.action.chunks.images
        chunks.images = len(short)  # nothing is planned while counting, nor for the steps to come
        torch.set_num_threads(1)  # the counter sees the thread it is in
        compiled, call = [], attend_compiled._call

        def counted(name: str, arrays: Any, results: Any, shape: tuple[int, ...]) -> None:
            images, beads, heads, channels, _ = shape
            compiled.append(COMPILED_PRODUCTS[name] * 2 * images * heads * beads**2 * (channels + 4))
            call(name, arrays, results, shape)

        counter = FlopCounterMode(display=False, custom_mapping=IN_PLACE)
        with counter, mock.patch.object(attend_compiled, "_call", counted):
            self.gradient(short)
        torch.set_num_threads(threads)
        chunks.images = planned
        return (counter.get_total_flops() + sum(compiled)) / 1e9 * (IMAGES - 1) / (len(short) - 1)


COMPILED_PRODUCTS = {"attend_value": 2, "attend_slope": 4, "attend_slope_derivative": 10}
"""Products of [bead, bead] and [bead, channel] matrices (see `tpsctl.networks.graph_transformer.attend`).

The last computes one of the second again instead of keeping it, which is not counted."""


def _addmm_flop(_: Any, a: Any, b: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _baddbmm_flop(_: Any, a: Any, b: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]


IN_PLACE = {torch.ops.aten.addmm_: _addmm_flop, torch.ops.aten.baddbmm_: _baddbmm_flop}
"""What torch's counter does not know."""


def work(way: str, beads: int) -> None:
    """A process that makes steps on request: one line in, one line of JSON out."""
    torch.set_num_threads(report_threads())
    step = Step(way, beads)
    idle = report.memory_mb("VmRSS")
    print("{}", flush=True)
    for line in sys.stdin:
        if line.startswith("step"):
            started = time.perf_counter()
            gradient = step.gradient(step.path)
            answer = {"seconds": time.perf_counter() - started, "peak_mb": report.memory_mb("VmHWM") - idle}
        elif line.startswith("facts"):
            saved = bytes_per_image(step.action.score, step.path[:4]) if way == "tpsctl" else float("nan")
            answer = {"gflop": step.gflop(), "bytes_per_image": saved, "chunk": step.action.chunks.images}
        else:
            torch.save(gradient, line.split()[1])
            answer = {}
        print(json.dumps(answer), flush=True)


def report_threads() -> int:
    """All cores that this process may use, two at most: the bars are for two."""
    return min(2, len(os.sched_getaffinity(0)))


class Worker:
    """Handle of such a process."""

    def __init__(self, way: str, beads: int):
        command = [sys.executable, "-m", "benchmarks.network_step", "--worker", way, "--beads", str(beads)]
        waits = {"OMP_WAIT_POLICY": "PASSIVE"} if way == "tpsctl" else {}  # as the command does
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=report.ROOT,
            env=os.environ | waits,
        )

    def ask(self, request: str) -> dict[str, Any]:
        assert self._process.stdin
        print(request, file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next one; the first comes when the process is ready."""
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def matmul_gflops(device: str = "cpu", n: int = 2048) -> tuple[float, float]:
    """Speed of a float32 product n^3, GFLOP/s: the best of some, and their median."""
    a, b, c = (torch.randn(n, n, device=device) for _ in range(3))
    seconds = _seconds(lambda: torch.mm(a, b, out=c), device)
    return 2 * n**3 / min(seconds) / 1e9, 2 * n**3 / statistics.median(seconds) / 1e9


def numpy_gflops(n: int = 2048) -> float:
    """The same with numpy, whose library is another one (OpenBLAS): the best of some."""
    a, b, c = (np.ones((n, n), np.float32) for _ in range(3))
    return 2 * n**3 / min(_seconds(lambda: np.matmul(a, b, out=c), "cpu")) / 1e9


def bandwidth_gb_s(device: str = "cpu", megabytes: int = 256) -> float:
    """Speed of a copy between two large arrays, read plus write, GB/s."""
    a = torch.ones(megabytes * 250_000, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / min(_seconds(lambda: b.copy_(a), device)) / 1e9


def _seconds(work: Any, device: str, repeats: int = 5) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return times


def measure(beads: int) -> dict[str, Any]:
    """Both implementations in turns at one size."""
    facts = report.machine()
    workers = {way: Worker(way, beads) for way in WAYS}
    for worker in workers.values():
        worker.answer()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    peaks: dict[str, list[float]] = {"matmul": [], "bandwidth": []}
    memory = {}
    warm_up, turns = TURNS[beads]
    beside: dict[str, list[float]] = {"best": [], "median": [], "numpy": []}
    for turn in range(-warm_up, turns):
        peaks["bandwidth"].append(bandwidth_gb_s())
        for way, worker in workers.items():
            own = []
            for _ in range(PER_TURN if way == "tpsctl" else 1):
                by_numpy = numpy_gflops() if way == "tpsctl" else float("nan")
                best, median = matmul_gflops()
                peaks["matmul"].append(best)
                time.sleep(SPIN_S)
                answer = worker.ask("step")
                own.append(answer["seconds"])
                if way == "tpsctl":
                    beside["best"].append(best * answer["seconds"])
                    beside["median"].append(median * answer["seconds"])
                    beside["numpy"].append(by_numpy * answer["seconds"])
            memory[way] = answer["peak_mb"]
            if turn >= 0:
                seconds[way].append(statistics.median(own))
    with tempfile.TemporaryDirectory() as folder:
        for way, worker in workers.items():
            worker.ask(f"save {folder}/{way}.pt")
        plain, ours = (torch.load(f"{folder}/{way}.pt", weights_only=True) for way in ("plain", "tpsctl"))
    about = {way: worker.ask("facts") for way, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return {
        "machine": facts | {"threads": report_threads()},
        "seconds": seconds,
        "median_seconds": report.medians(seconds),
        "peak_mb": memory,
        "gflop": {way: about[way]["gflop"] for way in WAYS},
        "bytes_per_image": about["tpsctl"]["bytes_per_image"],
        "images_per_chunk": about["tpsctl"]["chunk"],
        "matmul_gflops": statistics.median(peaks["matmul"]),
        "share_of_matmul": {of: about["tpsctl"]["gflop"] / statistics.median(all_) for of, all_ in beside.items()},
        "bandwidth_gb_s": max(peaks["bandwidth"]),
        "gradient_difference": float((ours - plain).abs().max() / plain.abs().max()),
    }


def row(beads: int, found: dict[str, Any]) -> list[Any]:
    """A size's line in the table."""
    time_, memory = found["median_seconds"], found["peak_mb"]
    speed = found["gflop"]["tpsctl"] / time_["tpsctl"]
    saved = found["bytes_per_image"] * (IMAGES - 1) / time_["tpsctl"] / 1e9  # half saved; written once, read once
    return [
        beads,
        time_["plain"],
        time_["tpsctl"],
        time_["plain"] / time_["tpsctl"],
        BARS[beads][0],
        memory["plain"],
        memory["tpsctl"],
        memory["plain"] / memory["tpsctl"],
        BARS[beads][1],
        found["gradient_difference"],
        found["gflop"]["plain"],
        found["gflop"]["tpsctl"],
        f"{speed:.0f} of {found['matmul_gflops']:.0f}",
        " / ".join(f"{100 * share:.0f} %" for share in found["share_of_matmul"].values()),
        f"{saved:.1f} of {found['bandwidth_gb_s']:.0f}",
    ]


HEAD = (
    "beads",
    "plain, s",
    "tpsctl, s",
    "ratio",
    "bar",
    "plain, MB",
    "tpsctl, MB",
    "ratio",
    "bar",
    "gradient differs by",
    "plain, GFLOP",
    "tpsctl, GFLOP",
    "GFLOP/s of a matmul's best",
    "median step of the best / of the median of five matmuls right before it / of numpy's best",
    "GB/s kept for derivatives of copy speed",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beads", type=int, nargs="*", default=list(HIDDEN), choices=list(HIDDEN))
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.beads[0])
        return
    torch.set_num_threads(report_threads())
    facts = report.machine() | {"threads": report_threads()}
    stored = report.RESULTS / "network_step.json"
    sizes = json.loads(stored.read_text())["sizes"] if stored.exists() else {}
    title = "One step, truncated action, 1 path x 200 images, float32; memory over the idle process"
    for beads in arguments.beads:
        sizes[str(beads)] = measure(beads)
        sizes = dict(sorted(sizes.items(), key=lambda item: int(item[0])))
        rows = [row(int(key), found) for key, found in sizes.items()]
        report.write_report("network_step", facts, {"sizes": sizes}, [report.Table(title, HEAD, rows)])


if __name__ == "__main__":
    main()
