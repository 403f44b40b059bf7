"""Wall time to the published protocol's final action: tpsctl beside the protocol itself, from the same guess.

    python -m benchmarks.time_to_action

The published side is its measured step time (the better of one and two threads) times 5000 steps; on the Mueller-Brown
surface it is run in full, too. Where it ends on alanine dipeptide was found by whole runs of 5000 steps
(`benchmarks.published_protocol`), whose stored result is read here. tpsctl runs its recipe on one thread; its time
counts until an evaluation of the very same action, at all images, is as low.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.published_protocol import PROBLEMS, STEPS, Problem, PublishedRun
from benchmarks.report import RESULTS, Table, machine, write_report
from tpsctl.optimize.base import StepReport
from tpsctl.optimize.stages import interpolated, run_stages

ROUNDS = 3
TIMED_STEPS = {"alanine dipeptide": 30, "Müller–Brown": 500}


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        step_s: Published side, seconds per step.
        published_s: Published side, whole run.
        action: Where it ends.
        ours_s: tpsctl to an action as low.
        ours_action: The action it had then.
    """

    system: str
    images: int
    rate_nm: float
    step_s: float
    published_s: float
    action: float
    ours_s: float
    ours_action: float
    ratio: float


def step_seconds(problem: Problem, rate: float) -> dict[int, float]:
    """Published side: seconds per step by number of threads, median of rounds."""
    seconds: dict[int, float] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run, rounds = PublishedRun(problem, rate), []
        run.step()
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(TIMED_STEPS[problem.name] // ROUNDS):
                run.step()
            rounds.append((time.perf_counter() - started) / (TIMED_STEPS[problem.name] // ROUNDS))
        seconds[threads] = statistics.median(rounds)
    torch.set_num_threads(1)
    return seconds


def descent(problem: Problem) -> list[tuple[float, float]]:
    """tpsctl: (seconds, action) of every evaluation of the final stage; the stages before it count in the time."""
    found: list[tuple[float, float]] = []
    started = time.perf_counter()

    def note(report: StepReport) -> None:
        if report.stage == problem.stages[-1].name:
            found.append((time.perf_counter() - started, report.terms.total.item()))

    images = problem.stages[0].images
    run_stages(problem.stages, interpolated(problem.guess, images or problem.guess.shape[1]), on_step=note)
    return found


def ends(name: str, rate: float) -> float:
    """Where the published protocol ends, as stored."""
    runs = json.loads((RESULTS / "published_protocol.json").read_text())["runs"]
    return next(run["action"] for run in runs if run["system"] == name and abs(run["rate_nm"] / rate - 1) < 1e-3)


def compare(problem: Problem) -> tuple[list[Row], dict[str, Any]]:
    """A row for each learning rate of the published protocol."""
    steps = step_seconds(problem, problem.rates[-1])
    descents = sorted((descent(problem) for _ in range(ROUNDS)), key=lambda found: found[-1][0])
    found, rows = descents[ROUNDS // 2], []  # the median one
    for rate in problem.rates:
        action = ends(problem.name, rate)
        ours_s, ours_action = next(entry for entry in found if entry[1] <= action)
        published = STEPS * min(steps.values())
        row = (problem.name, problem.guess.shape[1], rate, min(steps.values()), published, action)
        rows.append(Row(*row, ours_s, ours_action, published / ours_s))
    return rows, {"step_s_by_threads": steps, "descents": descents}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    facts, rows, details = machine(), [], {}
    for name, make in PROBLEMS.items():
        torch.set_num_threads(1)
        of_one, details[name] = compare(make())
        rows += of_one
    problem = PROBLEMS["Müller–Brown"]()
    started, run = time.perf_counter(), PublishedRun(problem, problem.rates[0])
    for _ in range(STEPS):
        run.step()
    details["Müller–Brown"]["whole_published_run"] = {"s": time.perf_counter() - started, "action": run.action}
    head = ["system", "images", "Adam's rate, nm", "published: s per step", f"{STEPS} steps, s", "its action"]
    head += ["tpsctl: s to that", "action then", "ratio"]
    table = Table("Time to the published protocol's final action", head, [list(asdict(row).values()) for row in rows])
    write_report("time_to_action", facts, {"rows": [asdict(row) for row in rows], "details": details}, [table])


if __name__ == "__main__":
    main()
