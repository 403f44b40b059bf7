"""Wall time to the published protocol's final action: tpsctl beside the protocol itself, from the same guess.

    python -m benchmarks.time_to_action

Both sides take turns, as the machine's speed drifts. On the Mueller-Brown surface the protocol is run in full. On
alanine dipeptide 5000 steps at 200 images take too long for a benchmark: its time is the measured step time (the better
of one and two threads) times 5000, and where it ends is taken from a full run at 26 images over the same duration, as
excess over the least action found there; with fewer images Adam gets closer to the minimum, so this favors it. Its
learning rate is one that all-atom structures bear (`benchmarks.published_protocol`; the published 0.2 standard
deviations breaks every bond).

tpsctl runs the shipped recipe on one thread. After every step the path as it stands, interpolated to all images as the
next stage would do it, is judged by the very same action, and the clock stands still meanwhile; its time counts until
that is as low as where the protocol ends. The time to its own end, converged and far lower, stands beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.published_protocol import (
    ALANINE_RATES_NM,
    STEPS,
    Problem,
    PublishedRun,
    alanine_dipeptide,
    mueller_brown,
)
from benchmarks.report import Table, machine, write_report
from tpsctl.optimize.stages import interpolated, run_stages
from tpsctl.optimize.state import State

ROUNDS = 3
FEWER_IMAGES = 26
DESCENTS = {"alanine dipeptide": 1, "Müller–Brown": 7}
"""How often tpsctl descends in a round; the median of all counts. On the surface one takes hundredths of a second."""
TIMED_STEPS = {"alanine dipeptide": 10, "Müller–Brown": 300}
"""Steps of the published side in a round."""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        step_s: Published side, seconds per step.
        published_s: Published side, whole run.
        action: Where it ends.
        ours_s: tpsctl to an action as low.
        ours_action: The action it had then.
        converged_s: tpsctl to its end.
        converged_action: Where that is.
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
    converged_s: float
    converged_action: float


def step_seconds(problem: Problem, rate: float, threads: int) -> float:
    """Published side: seconds per step, mean of some."""
    torch.set_num_threads(threads)
    run, steps = PublishedRun(problem, rate), TIMED_STEPS[problem.name]
    run.step()
    started = time.perf_counter()
    for _ in range(steps):
        run.step()
    seconds = (time.perf_counter() - started) / steps
    torch.set_num_threads(1)
    return seconds


def in_rounds(problem: Problem, rate: float) -> tuple[dict[int, float], list[list[tuple[float, float]]]]:
    """Both sides in turns: seconds per published step by threads, medians of the rounds; and all descents of tpsctl."""
    rounds: dict[int, list[float]] = {1: [], 2: []}
    descents = []
    for _ in range(ROUNDS):
        for threads, seconds in rounds.items():
            seconds.append(step_seconds(problem, rate, threads))
        descents += [descent(problem) for _ in range(DESCENTS[problem.name])]
    return {threads: statistics.median(seconds) for threads, seconds in rounds.items()}, descents


def descent(problem: Problem) -> list[tuple[float, float]]:
    """tpsctl: (seconds, action at all images of the path as it stands) after every step of every stage."""
    found: list[tuple[float, float]] = []
    images, last = problem.guess.shape[1], problem.stages[-1].action
    started = time.perf_counter()

    def judge(take: Callable[[], State]) -> None:
        nonlocal started
        now = time.perf_counter()
        path = interpolated(take()["minimization.record.good"], images)
        found.append((now - started, last.terms(path).total.item()))
        started += time.perf_counter() - now  # the clock stands still

    first = problem.stages[0].images
    run_stages(problem.stages, interpolated(problem.guess, first or images), between_steps=judge)
    return found


def full_run(problem: Problem, rate: float) -> tuple[float, float]:
    """Published side, all steps: seconds and final action."""
    started, run = time.perf_counter(), PublishedRun(problem, rate)
    for _ in range(STEPS):
        run.step()
    return time.perf_counter() - started, run.action


def compare(problem: Problem, rate: float, small: Problem | None) -> tuple[Row, dict[str, Any]]:
    """One system; `small` is the same one at fewer images, to be run in full in its place."""
    steps, descents = in_rounds(problem, rate)
    descents.sort(key=lambda found: found[-1][0])
    found = descents[len(descents) // 2]  # the median one
    details = {"step_s_by_threads": steps, "descents": descents}
    seconds, action = full_run(small or problem, rate)
    details["full_run"] = {"images": (small or problem).guess.shape[1], "s": seconds, "action": action}
    if small is not None:
        least = descent(small)[-1][1]
        details["full_run"]["least_action"] = least
        action = found[-1][1] * max(1.0, action / least)
    published = STEPS * min(steps.values())
    ours_s, ours_action = next(entry for entry in found if entry[1] <= action)
    row = (problem.name, problem.guess.shape[1], rate, min(steps.values()), published, action, ours_s, ours_action)
    return Row(*row, published / ours_s, *found[-1]), details


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    facts, rows, details = machine(), [], {}
    torch.set_num_threads(1)
    surface, molecule = mueller_brown(), alanine_dipeptide()
    tasks = [(surface, surface.rates[0], None), (molecule, ALANINE_RATES_NM[0], alanine_dipeptide(FEWER_IMAGES))]
    for problem, rate, small in tasks:
        row, details[problem.name] = compare(problem, rate, small)
        rows.append(row)
    head = ["system", "images", "Adam's rate, nm", "published: s per step", f"{STEPS} steps, s", "its action"]
    head += ["tpsctl: s to that", "action then", "ratio", "s to its end", "action there"]
    table = Table("Time to the published protocol's final action", head, [list(asdict(row).values()) for row in rows])
    write_report("time_to_action", facts, {"rows": [asdict(row) for row in rows], "details": details}, [table])


if __name__ == "__main__":
    main()
