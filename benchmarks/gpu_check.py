"""Everything that is to be known of tpsctl on a CUDA GPU, in ten minutes on one card.

    python -m benchmarks.gpu_check [--device cuda] [--minutes 10]

* what `tpsctl doctor` says;
* the tests marked `gpu`: CPU against GPU, run twice and resumed, memory running out;
* one optimization step at 10 and 56 beads (`benchmarks.network_gpu`): time, memory, share of the matmul peak in float32
  and TF32, share of time in which the card idles;
* the time of that step by the size of its chunks, beside the size that was planned;
* the network with and without a CUDA graph (`benchmarks.cuda_graphs`), with one path at a time and with all of them;
* the recipes of alanine dipeptide and of the Mueller-Brown surface, whole commands, on the CPU and on the GPU: time,
  and how far actions and barriers are apart.

A part that fails is noted with its reason and the others go on; one for which no time is left is noted, too. The table
is printed and stored with all numbers in benchmarks/results. `--device cpu` with small sizes tries the script where
there is no GPU. `torch.compile` is not measured, because it does not take what is differentiated twice. The idle share
of the step is what it could gain at most.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import cuda_graphs, network_gpu, report
from benchmarks.network_step import HIDDEN, Step, matmul_gflops
from tpsctl.workflows.doctor import examine

CHUNKS = (16, 50, 100, 200, 400, 800, 1600, 3200)
RECIPES = ("mueller_brown.yaml", "alanine_dipeptide.yaml")
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        device: "cuda", or "cpu" to try the script.
        beads: Sizes of the networks.
        paths: Paths of a step.
        images: Images of each.
        recipes: What is sampled as a whole.
        changes: Changes of the recipes, as after `--set`.
    """

    device: str = "cuda"
    beads: tuple[int, ...] = (10, 56)
    paths: int = 32
    images: int = 200
    recipes: tuple[str, ...] = RECIPES
    changes: tuple[str, ...] = ()


@dataclass
class Check:
    """Parts done one after the other, until the time is over."""

    deadline: float
    results: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def part(self, name: str, work: Callable[[float], tuple[Any, str]]) -> None:
        """Do a part, which is told how many seconds are left, and note its result and a sentence about it."""
        started = time.monotonic()
        left = self.deadline - started
        if left <= 0:
            self.rows.append((name, "not run: no time left", 0.0))
            return
        try:
            self.results[name], sentence = work(left)
        except Exception as error:  # whatever goes wrong in one part, the others are wanted
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            self.results[name], sentence = {"error": reason}, f"FAILED: {reason}"
        self.rows.append((name, sentence, time.monotonic() - started))
        print(f"{name}: {sentence}", flush=True)


def doctor(_: float) -> tuple[Any, str]:
    """What the machine has."""
    facts = examine()
    return facts, f"{', '.join(facts['torch_devices'])}; problems: {' '.join(facts['problems']) or 'none'}"


def tests(left: float) -> tuple[Any, str]:
    """The tests marked `gpu`; their last line."""
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/devices", "tests/benchmarks"]
    done = subprocess.run(words, cwd=report.ROOT, capture_output=True, text=True, timeout=left, check=False)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"exit_code": done.returncode, "summary": lines[-1], "failures": failures}, lines[-1]


def step(beads: int, sizes: Sizes, peak: float) -> tuple[Any, str]:
    """One step at a size."""
    if sizes.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    found = network_gpu.measure(beads, sizes.device, sizes.paths, sizes.images, peak)
    text = f"{1e3 * found['seconds']:.3g} ms, {100 * found['share_of_peak']:.0f} % of the float32 matmul peak, "
    text += f"{found['peak_mb']:.0f} MB, idle {100 * found['idle']:.0f} %; TF32 {1e3 * found['seconds_tf32']:.3g} ms"
    return found, text


def chunks(beads: int, sizes: Sizes) -> tuple[Any, str]:
    """Seconds of a step by the size of its chunks."""
    one = Step("tpsctl", beads, images=sizes.images, device=sizes.device)
    batch = one.path.expand(sizes.paths, -1, -1, -1).contiguous()
    one.action.value_and_gradient(batch)
    planned, seconds = one.action.chunks.images, {}
    whole = sizes.paths * (sizes.images - 1)
    for images in sorted({size for size in CHUNKS if size < whole} | {min(planned or whole, whole)}):
        one.action.chunks.images = images
        one.action.value_and_gradient(batch)
        _wait(sizes.device)
        started = time.perf_counter()
        one.action.value_and_gradient(batch)
        _wait(sizes.device)
        seconds[images] = time.perf_counter() - started
    best = min(seconds, key=lambda images: seconds[images])
    here = min(planned or whole, whole)
    text = f"fastest with {best} images a chunk ({1e3 * seconds[best]:.3g} ms); "
    text += f"planned {here} ({1e3 * seconds[here]:.3g} ms)"
    return {"planned": planned, "seconds": seconds}, text


def recipe(name: str, sizes: Sizes, left: float) -> tuple[Any, str]:
    """A recipe as a whole on the CPU and on the device."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        found = {
            device: _sampled(report.ROOT / "recipes" / name, Path(folder) / where, device, sizes.changes, left / 2)
            for where, device in (("cpu", "cpu"), ("device", sizes.device))
        }
    cpu, there = found["cpu"], found[sizes.device]
    apart = compared(cpu["paths"], there["paths"])
    text = f"CPU {cpu['seconds']:.1f} s, {sizes.device} {there['seconds']:.1f} s; "
    text += f"actions differ by {apart['action']:.1g}, barriers by {apart['barrier_kj_per_mol']:.1g} kJ/mol"
    return {"seconds": {device: part["seconds"] for device, part in found.items()}, "differ": apart}, text


def compared(some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Largest relative difference of actions, and largest difference of raw barriers, of the same paths."""
    actions, barriers = [0.0], [0.0]
    for one, other in zip(some, others, strict=True):
        a, b = one["action"]["total"], other["action"]["total"]
        actions.append(abs(a - b) / abs(a))
        if one.get("raw"):
            name = "barrier_forward_kj_per_mol"
            barriers.append(abs(one["raw"][name] - other["raw"][name]))
    return {"action": max(actions), "barrier_kj_per_mol": max(barriers)}


def _sampled(file: Path, out: Path, device: str, changes: Sequence[str], limit_s: float) -> dict[str, Any]:
    words = [sys.executable, "-m", "tpsctl", "sample", str(file), "--out", str(out), "--device", device]
    words += ["--set", "output.figures=false", *(word for change in changes for word in ("--set", change))]
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
    seconds = time.perf_counter() - started
    if not (out / "manifest.json").exists():
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return {"seconds": seconds, "paths": json.loads((out / "manifest.json").read_text())["paths"]}


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def run(sizes: Sizes, minutes: float, *, with_tests: bool = True) -> Check:
    """All parts."""
    check = Check(time.monotonic() + 60 * minutes)
    check.part("doctor", doctor)
    if with_tests:
        check.part("tests", tests)
    check.part("peak", lambda _: _peak(sizes))
    peak = check.results.get("peak", {}).get("gflops", float("nan"))
    for beads in sizes.beads:
        check.part(f"step of {beads} beads", lambda _, beads=beads: step(beads, sizes, peak))
    if sizes.beads:
        check.part(f"chunks of {sizes.beads[-1]} beads", lambda _: chunks(sizes.beads[-1], sizes))
    for beads in sizes.beads:
        for images in sorted({sizes.images, sizes.images * sizes.paths}):
            name = f"CUDA graph of {beads} beads, {images} images"
            check.part(name, lambda _, b=beads, n=images: cuda_graphs.measure(b, sizes.device, n))
    for name in sizes.recipes:
        check.part(name, lambda left, name=name: recipe(name, sizes, left))
    return check


def _peak(sizes: Sizes) -> tuple[Any, str]:
    gflops, _ = matmul_gflops(sizes.device, PEAK_SIZE[torch.device(sizes.device).type])
    return {"gflops": gflops}, f"{gflops / 1e3:.3g} TFLOP/s in large float32 products"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--beads", type=int, nargs="*", default=[10, 56], choices=list(HIDDEN))
    parser.add_argument("--paths", type=int, default=32)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0, help="when these are over, no further part is begun")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--set", action="append", default=[], dest="changes", help="a change of the recipes")
    parser.add_argument("--without-tests", action="store_true")
    parser.add_argument("--out", default="gpu_check", help="name of the result without suffix")
    given = parser.parse_args()
    if given.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU here; `--device cpu --beads 10 --paths 1 --images 12` tries the script")
    facts = report.machine() | {"device": given.device}
    sizes = Sizes(
        given.device, tuple(given.beads), given.paths, given.images, tuple(given.recipes), tuple(given.changes)
    )
    check = run(sizes, given.minutes, with_tests=not given.without_tests)
    table = report.Table(f"tpsctl on {given.device}", ("part", "result", "took, s"), check.rows)
    report.write_report(given.out, facts, {"parts": check.results}, [table])


if __name__ == "__main__":
    main()
