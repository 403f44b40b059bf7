"""What is written of an ensemble: trials.csv, tube.csv, distances.csv, and the manifest with its verdict in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.environment import versions
from tpsctl.output.tables import Column, write_table
from tpsctl.simulation.shooting.tube import Tube, progress
from tpsctl.simulation.shooting.two_way import TrialOutcome
from tpsctl.workflows.shoot.ensemble import BURN_IN, OUTCOMES, ChainOfPaths

PATH = "the path"

_LOW, _HIGH = 0.05, 0.95
"""A path lies in the tube if it is nearer to the axis than this fraction of the ensemble's own paths."""


@dataclass(frozen=True)
class EnsembleWriter:
    """Writes an ensemble, and judges paths by it.

    Attributes:
        names: The collective variables.
        angles: Whether they are angles.
        frame_ps: Time between two frames, ps.
        judged: Collective variables (image, cv) of the path and of controls, by name; the first one is `PATH`.
        top: The highest image of the path.
        about: What the manifest has besides.
    """

    names: Sequence[str]
    angles: bool
    frame_ps: float
    judged: Mapping[str, Tensor]
    top: int
    about: dict[str, Any]

    def write(self, folder: Path, chains: Sequence[ChainOfPaths], facts: dict[str, Any]) -> dict[str, Any]:
        """Write the tables into a new folder, and return the manifest."""
        paths = [path for chain in chains for path in chain.paths]
        weights = [weight for chain in chains for weight in chain.weights]
        ends = self._embedded(self.judged[PATH])[[0, -1]]
        tube = Tube.around([self._embedded(path) for path in paths], weights, ends)
        members = sorted(float(tube.distances(self._embedded(path)).mean()) for path in paths)
        away = {name: tube.distances(self._embedded(path)) for name, path in self.judged.items()}
        distances = {name: (float(each.mean()), float(each.max())) for name, each in away.items()}
        length = torch.tensor([(len(path) - 1) * self.frame_ps for path in paths], dtype=torch.float64)
        write_table(folder / "trials.csv", self._trials(chains))
        write_table(folder / "tube.csv", self._tube(tube, paths, weights))
        write_table(
            folder / "distances.csv",
            {
                "path": list(distances),
                "mean_distance_in_spreads": torch.tensor([mean for mean, _ in distances.values()], dtype=torch.float64),
                "largest_distance_in_spreads": torch.tensor(
                    [most for _, most in distances.values()], dtype=torch.float64
                ),
            },
        )
        counts = {str(kind): sum(OUTCOMES[k] is kind for c in chains for k in c.outcomes) for kind in TrialOutcome}
        accepted = sum(chain.accepted for chain in chains)
        middle = _weighted(length, torch.tensor(weights, dtype=torch.float64))
        result: dict[str, Any] = {
            "accepted": accepted,
            "trials": sum(len(chain.outcomes) for chain in chains),
            "outcomes": counts,
            "length_ps": middle | {"shortest": float(length.min()), "longest": float(length.max())},
            "distances": {name: {"mean": mean, "largest": most} for name, (mean, most) in distances.items()},
            "members": {
                "low": _quantile(members, _LOW),
                "median": _quantile(members, 0.5),
                "high": _quantile(members, _HIGH),
            },
            "top": self._top(tube, paths, weights),
        }
        inside = distances[PATH][0] <= _quantile(members, _HIGH)
        return (
            self.about
            | facts
            | {
                "kind": "ensemble",
                "outcome": "complete" if inside else "not_in_the_tube",
                "verdict": _verdict(result, inside=inside),
                "requested": accepted,
                "produced": accepted,
                "converged": accepted,
                "valid": accepted,
                "ensemble": result,
                "versions": versions(),
            }
        )

    def _embedded(self, path: Tensor) -> Tensor:
        """Collective variables as coordinates without jumps."""
        return torch.cat((path.cos(), path.sin()), 1) if self.angles else path

    def _trials(self, chains: Sequence[ChainOfPaths]) -> dict[str, Column]:
        rows = [
            (chain, trial, outcome, frames)
            for chain, found in enumerate(chains)
            for trial, (outcome, frames) in enumerate(zip(found.outcomes, found.frames, strict=True))
        ]
        return {
            "chain": [str(chain) for chain, *_ in rows],
            "trial": [str(trial) for _, trial, *_ in rows],
            "counts": torch.tensor([trial >= BURN_IN for _, trial, *_ in rows]),
            "outcome": [str(OUTCOMES[outcome]) for *_, outcome, _ in rows],
            "length_ps": torch.tensor([(frames - 1) * self.frame_ps for *_, frames in rows], dtype=torch.float64),
        }

    def _tube(self, tube: Tube, paths: Sequence[Tensor], weights: Sequence[float]) -> dict[str, Column]:
        """One row per level: mean and deviation of every variable, and how far the judged paths are from the axis."""
        columns: dict[str, Column] = {"progress": tube.levels}
        points = torch.stack([self._at_levels(tube, path) for path in paths], dim=1)
        moments = [self._moments(each, torch.tensor(weights, dtype=torch.float64)) for each in points]
        for i, name in enumerate(self.names):
            column = "_".join(name.lower().split())
            columns[f"{column}_mean_{self._unit}"] = torch.tensor([mean[i] for mean, _ in moments], dtype=torch.float64)
            columns[f"{column}_deviation_{self._unit}"] = torch.tensor(
                [deviation[i] for _, deviation in moments], dtype=torch.float64
            )
        columns["spread"] = tube.spread
        for name, path in self.judged.items():
            columns[f"{'_'.join(name.split())}_in_spreads"] = tube.distances(self._embedded(path))
        return columns

    def _at_levels(self, tube: Tube, path: Tensor) -> Tensor:
        """Collective variables of a path (level, cv) where it passes the levels of the tube."""
        points = tube.points(self._embedded(path))
        cosine, sine = points.chunk(2, dim=1) if self.angles else (points, points)
        return torch.atan2(sine, cosine) if self.angles else points

    def _top(self, tube: Tube, paths: Sequence[Tensor], weights: Sequence[float]) -> dict[str, Any]:
        """Where the ensemble has the progress of the highest image of the path: every variable there."""
        top = self.judged[PATH][self.top : self.top + 1]
        level = progress(self._embedded(top), tube.ends)
        here = replace(tube, levels=level)
        passed = torch.cat([self._at_levels(here, path) for path in paths])
        mean, deviation = self._moments(passed, torch.tensor(weights, dtype=torch.float64))
        of_path = torch.rad2deg(top[0]).tolist() if self.angles else top[0].tolist()
        each = zip(self.names, of_path, mean, deviation, strict=True)
        return {name: {"path": at, "mean": middle, "deviation": width} for name, at, middle, width in each}

    def _moments(self, values: Tensor, weight: Tensor) -> tuple[list[float], list[float]]:
        """Weighted mean and standard deviation of every variable; of angles about their circular mean, in degrees."""
        share = (weight / weight.sum()).to(values).unsqueeze(1)
        if not self.angles:
            mean = (share * values).sum(0)
            return mean.tolist(), (share * (values - mean).square()).sum(0).sqrt().tolist()
        mean = torch.atan2((share * values.sin()).sum(0), (share * values.cos()).sum(0))
        away = (values - mean + math.pi).remainder(2 * math.pi) - math.pi
        return mean.rad2deg().tolist(), (share * away.square()).sum(0).sqrt().rad2deg().tolist()

    @property
    def _unit(self) -> str:
        return "deg" if self.angles else "nm"


def _weighted(values: Tensor, weight: Tensor) -> dict[str, float]:
    share = (weight / weight.sum()).to(values)
    mean = (share * values).sum()
    return {"mean": float(mean), "deviation": float((share * (values - mean).square()).sum().sqrt())}


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[round(fraction * (len(ordered) - 1))]


def _verdict(result: dict[str, Any], *, inside: bool) -> str:
    """Whether the path lies in the tube, in words."""
    mean, members = result["distances"][PATH]["mean"], result["members"]
    rest = {name: found["mean"] for name, found in result["distances"].items() if name != PATH}
    controls = ", ".join(f"{name} {value:.2f}" for name, value in rest.items())
    blind = inside and all(value <= members["high"] for value in rest.values())
    return (
        f"The path {'lies in the tube' if inside else 'leaves the tube'} of {result['accepted']} transition paths: its "
        f"mean distance from the axis is {mean:.2f} spreads (paths of the ensemble itself: {members['low']:.2f} to "
        f"{members['high']:.2f}; {controls})."
        + (" So do all controls, so the ensemble cannot tell this path from one that knows nothing." if blind else "")
    )
