"""How paths are best dealt out on CPU cores: paths per batch, threads inside an operation, batches side by side.

    python -m benchmarks.batches

The recipe of alanine dipeptide, four paths from the same guesses every time. "Side by side" are worker processes or
Python threads with one batch each, torch on one thread; start-up of the processes is not counted.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.optimize.stages import Stage, run_stages
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble

RECIPE = ROOT / "recipes" / "alanine_dipeptide.yaml"
PATHS, WORKERS = 4, 2


def problem() -> tuple[list[Stage], Tensor]:
    """Stages and unscreened guesses of the recipe."""
    recipe = load_recipe(RECIPE, SampleRecipe)
    system = assemble.make_system(recipe.endpoints)
    prior = assemble.make_prior(recipe.prior, system, torch.device("cpu"))
    chosen = assemble.choose(recipe, system, prior, torch.device("cpu"), lambda: None)
    guess, images = assemble.make_guess(recipe, prior, system), recipe.stages[0].images or chosen.images.value
    seeds = [torch.Generator().manual_seed(assemble.path_seed(recipe.seed, i)) for i in range(PATHS)]
    guesses = torch.cat([guess.draw(system.ends, images, [seed]) for seed in seeds])
    return assemble.make_stages(recipe, chosen, prior, system), guesses


class _Worker:
    """What a worker process keeps between batches."""

    stages: list[Stage]

    @classmethod
    def prepare(cls) -> None:
        torch.set_num_threads(1)
        cls.stages, _ = problem()

    @classmethod
    def work(cls, guesses: Tensor) -> Tensor:
        return run_stages(cls.stages, guesses)[0]


def side_by_side(pool: Executor, guesses: Tensor, size: int, work: Callable[[Tensor], Tensor]) -> float:
    """Seconds for all batches on the workers."""
    batches = guesses.split(size)
    started = time.perf_counter()
    list(pool.map(work, batches))
    return time.perf_counter() - started


def alone(guesses: Tensor, size: int, threads: int) -> float:
    """Seconds for all batches one after the other."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for batch in guesses.split(size):
        _Worker.work(batch)
    torch.set_num_threads(1)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    facts = machine() | {"paths": PATHS}
    _Worker.prepare()
    _, guesses = problem()
    seconds = {f"one after the other, {size} per batch, 1 thread": alone(guesses, size, 1) for size in (1, 2, 4)}
    seconds[f"one after the other, {PATHS} per batch, {WORKERS} threads"] = alone(guesses, PATHS, WORKERS)
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), _Worker.prepare) as processes:
        list(processes.map(time.sleep, [1.0] * WORKERS))  # each takes one, so all are up
        for size in (1, 2):
            seconds[f"{WORKERS} processes, {size} per batch"] = side_by_side(processes, guesses, size, _Worker.work)
    with ThreadPoolExecutor(WORKERS) as threads:
        for size in (1, 2):
            seconds[f"{WORKERS} Python threads, {size} per batch"] = side_by_side(threads, guesses, size, _Worker.work)
    rows = [[way, value / PATHS] for way, value in seconds.items()]
    table = Table("Optimizing paths of alanine dipeptide on a CPU", ["batches", "s per path"], rows)
    write_report("batches", facts, {"seconds": seconds}, [table])


if __name__ == "__main__":
    main()
