"""Time and memory against the number of paths, images and beads; one curve for each, the rest fixed.

    python -m benchmarks.growth

Steps of two kinds, on one thread: a gradient of the truncated action under a graph transformer of the fast-folder size
with random weights (paths, images, beads), and a Levenberg-Marquardt step of the alanine dipeptide recipe (paths,
images). Each point is a process of its own, forked before torch has any threads; memory is its peak over what it held
before the first step.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.published_protocol import alanine_dipeptide
from benchmarks.report import ROOT, Table, machine, memory_mb, write_report
from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.optimize import LevenbergMarquardt
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import noise_prior
from tpsctl.score.levels import Levels, cosine_tables

FIGURE = ROOT / "docs" / "figures" / "growth.png"
GRADIENT = {"paths": (1, 2, 4, 8), "images": (25, 50, 100, 200), "beads": (10, 20, 40, 80)}
FIXED = {"paths": 1, "images": 50, "beads": 20}
NEWTON = {"paths": (1, 2, 4), "images": (25, 50, 100)}
NEWTON_FIXED = {"paths": 1, "images": 50}
ROUNDS = 3


def gradient(paths: int, images: int, beads: int) -> Callable[[], Any]:
    """A gradient of the action under a network of 3 blocks of width 128, 8 heads of 64, random weights."""
    torch.manual_seed(0)
    network = GraphTransformer(GraphTransformerSizes(beads, 0, 128, 3, 8, 64, False, True, False, 1))
    field = GraphTransformerField(network, Beads(torch.arange(beads)))
    prior = noise_prior(field, Levels(cosine_tables(1000)), scale_nm=(0.5,))
    prior.to(device="cpu", dtype=torch.float32)
    dynamics = Dynamics.uniform(dt_ps=1e-3, diffusion_nm2_per_ps=1.0, n_beads=beads)
    action, x = TruncatedAction(prior.at(0.02), dynamics), 0.5 * torch.randn(paths, images, beads, 3)
    return lambda: action.value_and_gradient(x)


def newton(paths: int, images: int) -> Callable[[], Any]:
    """Two steps of Levenberg-Marquardt on alanine dipeptide."""
    problem = alanine_dipeptide(images)
    optimizer, x = LevenbergMarquardt(max_steps=2), problem.guess.repeat(paths, 1, 1, 1)
    return lambda: optimizer.minimize(problem.action, x)


def measured(point: dict[str, Any]) -> dict[str, Any]:
    """The point with median seconds, and peak memory over what was there before (MB), in this process."""
    kind = point["kind"]
    sizes = {name: value for name, value in point.items() if name not in ("kind", "varied")}
    torch.set_num_threads(1)
    work = gradient(**sizes) if kind == "gradient" else newton(**sizes)
    idle, seconds = memory_mb("VmRSS"), []
    work()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    divided = 1 if kind == "gradient" else 2
    memory = memory_mb("VmHWM") - idle
    return {**point, "seconds": sorted(seconds)[ROUNDS // 2] / divided, "memory_mb": memory}


def curves(kind: str, values: dict[str, tuple[int, ...]], fixed: dict[str, int]) -> list[dict[str, Any]]:
    """A point for each value of each quantity."""
    return [
        {"kind": kind, "varied": varied, **(fixed | {varied: value})}
        for varied, several in values.items()
        for value in several
    ]


def draw(points: list[dict[str, Any]]) -> None:
    """Time above, memory below; a panel for each quantity varied."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    names = {"gradient": "gradient, graph transformer", "newton": "Levenberg–Marquardt step, 22 atoms"}
    looks = {"gradient": ("#0072B2", "o"), "newton": ("#D55E00", "s")}
    figure, panels = pyplot.subplots(2, 3, figsize=(8.4, 4.6), sharey="row", sharex="col")
    for column, varied in enumerate(GRADIENT):
        for row, (what, label) in enumerate((("seconds", "time of a step, s"), ("memory_mb", "memory, MB"))):
            axes = panels[row][column]
            for kind, (color, marker) in looks.items():
                chosen = [p for p in points if p["kind"] == kind and p["varied"] == varied]
                if chosen:
                    axes.plot(
                        [p[varied] for p in chosen],
                        [p[what] for p in chosen],
                        color=color,
                        marker=marker,
                        label=names[kind],
                    )
            axes.set(xscale="log", yscale="log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(ticker.NullLocator())
            axes.grid(which="major", color="#e4e4e4", linewidth=0.6)
            if column == 0:
                axes.set_ylabel(label)
        panels[1][column].set_xlabel(varied)
        ticks = GRADIENT[varied]
        panels[1][column].set_xticks(ticks, [str(t) for t in ticks])
        panels[1][column].minorticks_off()
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    facts = machine() | {"threads": 1}
    asked = curves("gradient", GRADIENT, FIXED) + curves("newton", NEWTON, NEWTON_FIXED)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        points = pool.map(measured, asked, chunksize=1)
    draw(points)
    head = ["step", "varied", "paths", "images", "beads", "s", "MB"]
    cells = [
        [p["kind"], p["varied"], p["paths"], p["images"], p.get("beads", 22), p["seconds"], p["memory_mb"]]
        for p in points
    ]
    write_report("growth", facts, {"points": points}, [Table("Growth", head, cells)])


if __name__ == "__main__":
    main()
