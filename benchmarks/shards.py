"""How shards scale, and what gathering very many of them costs.

    python -m benchmarks.shards prepare     1000 shards of one tiny path each, on the Mueller-Brown surface
    python -m benchmarks.shards gather      join them
    python -m benchmarks.shards compare     eight paths of alanine dipeptide as one shard, and as two at once

Times are those of whole commands, from the shell's point of view.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

SHARDS = 1000
MANY = ROOT / "runs" / "thousand_shards"
TINY = """\
version: 1
name: many
seed: 2026
endpoints: {start: {position_nm: [23, 30]}, end: {position_nm: [40, 9]}}
prior: {kind: mueller_brown, temperature_k: 2.405454}
path: {paths: 1000, batch_paths: 1, images: 20, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.1, diffusion_nm2_per_ps: 0.2}
optimize: {method: adam, max_steps: 2, learning_rate_nm: 0.2}
output: {directory: thousand_shards}
"""
PATHS = 8


def prepare() -> None:
    """Make all shards, one after the other, in this process."""
    recipe = MANY.with_suffix(".yaml")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(TINY)
    loaded = load_recipe(recipe, SampleRecipe)
    for number in range(1, SHARDS + 1):
        run_recipe(loaded, RunSettings(threads=1, shard=Shard(number, SHARDS), origin=(str(recipe),)), Progress())


def gather() -> None:
    """Time the joining of all shards."""
    facts = machine() | {"shards": SHARDS}
    seconds, memory_gb = timed([tpsctl("gather", MANY)])
    table = Table(f"Gathering {SHARDS} shards", ["seconds", "largest memory, GB"], [[seconds, memory_gb]])
    write_report("shards_gathered", facts, {"seconds": seconds, "memory_gb": memory_gb}, [table])


def compare() -> None:
    """Time one shard, and two at once."""
    facts = machine() | {"threads_per_process": 1, "paths": PATHS}
    one, _ = timed([alanine("1/1")])
    two, _ = timed([alanine("1/2"), alanine("2/2")])
    head = ["one shard, s", "two shards at once, s", "ratio"]
    table = Table(f"{PATHS} paths of alanine dipeptide", head, [[one, two, two / one]])
    write_report("shards_compared", facts, {"one_s": one, "two_s": two, "ratio": two / one}, [table])


def tpsctl(*words: object) -> list[str]:
    return [sys.executable, "-m", "tpsctl", *map(str, words)]


def alanine(shard: str) -> list[str]:
    """A shard of the example recipe, in a new directory for every division."""
    out = Path(tempfile.gettempdir()) / f"tpsctl-shards-{os.getpid()}-{shard[-1]}"
    recipe = ROOT / "recipes" / "alanine_dipeptide.yaml"
    sets = ("--set", f"path.paths={PATHS}", "--set", "path.batch_paths=2")
    return tpsctl("sample", recipe, *sets, "--out", out, "--shard", shard, "--threads", 1)


def timed(commands: list[list[str]]) -> tuple[float, float]:
    """Seconds until all commands, started at once, are done; the largest memory of any, GB."""
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    used = [os.wait4(process.pid, 0) for process in running]
    seconds = time.perf_counter() - began
    codes = [os.waitstatus_to_exitcode(status) for _, status, _ in used]
    assert all(code in (0, 3) for code in codes), f"{commands} ended with {codes}"
    return seconds, max(usage.ru_maxrss for _, _, usage in used) / 1e6


if __name__ == "__main__":
    {"prepare": prepare, "gather": gather, "compare": compare}[sys.argv[1]]()
