"""Dense Jacobians of the published networks: one evaluation of the score, against an evaluation for every column.

    python -m benchmarks.jacobian [--beads 10 20] [--images 50]

Both ways take turns in one process on one thread; the networks have the published sizes and random weights, in float32.
The Jacobians are compared bit by bit.
"""

import argparse
from typing import Any

import torch
from torch import Tensor

from benchmarks.network_step import HIDDEN, Step
from benchmarks.report import Table, in_turns, machine, medians, write_report
from tpsctl.score.base import Score

HEAD = ("beads", "images", "an evaluation per column, s", "one evaluation, s", "ratio (goal 1.5)", "largest difference")


def column_by_column(score: Score, x: Tensor) -> Tensor:
    """J v for every unit vector v, each product with an evaluation of its own."""
    n = x[0].numel()
    units = torch.eye(n, dtype=x.dtype, device=x.device).view(n, 1, *x.shape[1:])
    return torch.stack([score.jvp(x, unit.expand_as(x)).flatten(1) for unit in units], dim=2)


def measure(beads: int, images: int, rounds: int) -> dict[str, Any]:
    """One size."""
    step = Step("tpsctl", beads, images=images)
    score, x = step.action.score, step.path
    difference = (score.jacobian(x) - column_by_column(score, x)).abs().max()
    ways = {"columns": lambda: column_by_column(score, x), "once": lambda: score.jacobian(x)}
    seconds = medians(in_turns(ways, rounds=rounds))
    return {"images": images, "seconds": seconds, "difference": float(difference)}


def row(beads: int, found: dict[str, Any]) -> list[Any]:
    """A size's line in the table."""
    columns, once = found["seconds"]["columns"], found["seconds"]["once"]
    return [beads, found["images"], columns, once, columns / once, found["difference"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beads", type=int, nargs="*", default=[10, 20], choices=list(HIDDEN))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine() | {"threads": 1}
    sizes = {beads: measure(beads, arguments.images, arguments.rounds) for beads in arguments.beads}
    rows = [row(beads, found) for beads, found in sizes.items()]
    title = "Jacobian of the score at every image, float32, one thread"
    write_report("jacobian", facts, {"sizes": sizes}, [Table(title, HEAD, rows)])


if __name__ == "__main__":
    main()
