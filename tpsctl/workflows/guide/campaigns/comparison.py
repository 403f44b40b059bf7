"""Averages of an observable over several ensembles, beside what an experiment found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tpsctl.molecule.observables.base import Observable
from tpsctl.molecule.observables.geometric import DihedralAngle
from tpsctl.output.figures.guidance import SamplePlane, TargetRow
from tpsctl.output.tables import Column
from tpsctl.score.guidance.work import unguided_averages
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED
from tpsctl.workflows.guide.observables import Measured
from tpsctl.workflows.guide.tools import GuideTools

_ERRORS_ALLOWED = 2.0
"""Standard errors of an average by which it may miss a target."""


@dataclass(frozen=True)
class Comparison:
    """One observable.

    Attributes:
        measured: The observable with its target.
        averages: Average of f and its standard error by the name of the ensemble.
        multiplier: lambda and its error; None for an observable that was held out.
    """

    measured: Measured
    averages: Mapping[str, tuple[float, float]]
    multiplier: tuple[float, float] | None

    def reported(self, ensemble: str) -> tuple[float, float]:
        """The reported number of an ensemble and its standard error."""
        average, error = self.averages[ensemble]
        observable = self.measured.observable
        return observable.shown(average), observable.shown_error(average, error)

    @property
    def achieved(self) -> bool | None:
        """Whether the guided average is the target within its errors; None without a target.

        It may miss it by the error of the target and two standard errors of the guided average and of the unguided one,
        from which the multipliers come, added in squares.
        """
        if self.measured.target is None:
            return None
        value, error = self.reported(GUIDED)
        unguided = self.reported(UNGUIDED)[1]
        allowed = math.hypot(self.measured.error or 0.0, _ERRORS_ALLOWED * error, _ERRORS_ALLOWED * unguided)
        return abs(value - self.measured.target) <= allowed

    @property
    def better_than_unguided(self) -> bool | None:
        """Whether the guided average is nearer to the target than the unguided one; None without a target."""
        if self.measured.target is None:
            return None
        away = [abs(self.reported(name)[0] - self.measured.target) for name in (GUIDED, UNGUIDED)]
        return away[0] < away[1]

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        shown = {name: self.reported(name) for name in self.averages}
        return {
            "observable": self.measured.observable.name,
            "unit": self.measured.observable.unit,
            "held_out": self.measured.held_out,
            "target": self.measured.target,
            "target_error": self.measured.error,
            "achieved": self.achieved,
            "better_than_unguided": self.better_than_unguided,
            "multiplier": None if self.multiplier is None else self.multiplier[0],
            "multiplier_error": None if self.multiplier is None else self.multiplier[1],
            "averages": {name: {"value": value, "error": error} for name, (value, error) in shown.items()},
        }

    def for_figure(self) -> TargetRow:
        """For the figure of targets."""
        shown = {name: self.reported(name) for name in self.averages}
        measured = self.measured
        return TargetRow(measured.observable.label, measured.target, measured.error or 0.0, shown, measured.held_out)


def comparison_columns(rows: Sequence[Comparison]) -> dict[str, Column]:
    """The columns of observables.csv, one row per observable; what is unknown is nan."""
    columns: dict[str, Column] = {
        "observable": [row.measured.observable.name for row in rows],
        "unit": [row.measured.observable.unit or "1" for row in rows],
        "role": ["held out" if row.measured.held_out else "fitted" for row in rows],
        "target": _numbers([row.measured.target for row in rows]),
        "target_error": _numbers([row.measured.error for row in rows]),
        "multiplier": _numbers([None if row.multiplier is None else row.multiplier[0] for row in rows]),
        "multiplier_error": _numbers([None if row.multiplier is None else row.multiplier[1] for row in rows]),
    }
    for name in rows[0].averages:
        columns[name] = _numbers([row.reported(name)[0] for row in rows])
        columns[f"{name}_error"] = _numbers([row.reported(name)[1] for row in rows])
    return columns


def weighted(values: Tensor, log_weights: Tensor) -> tuple[float, float]:
    """Weighted average and its standard error."""
    average, error = unguided_averages(values.unsqueeze(1), -log_weights)
    return float(average), float(error)


def plane_of(
    tools: GuideTools, unguided: Tensor, guided: Tensor, observables: Sequence[Observable], marks: Tensor | None = None
) -> SamplePlane | None:
    """The plane in which samples are drawn: phi and psi of the first residue that has both, or two coordinates."""
    if not tools.is_molecule:
        if tools.prior.n_dims < 2:
            return None
        points = [None if x is None else x[:, 0, :2] for x in (unguided, guided, marks)]
        assert points[0] is not None
        assert points[1] is not None
        return SamplePlane(("x (nm)", "y (nm)"), points[0], points[1], points[2])
    named = dict(tools.topology.backbone_dihedrals)
    residue = next((name[4:] for name in named if name.startswith("phi ") and f"psi {name[4:]}" in named), None)
    if residue is not None:
        pair: Sequence[Observable] = [DihedralAngle(f"{a} {residue}", named[f"{a} {residue}"]) for a in ("phi", "psi")]
    elif len(observables) >= 2:
        pair = observables[:2]
    else:
        return None
    found = [None if x is None else torch.stack([each(x) for each in pair], 1) for x in (unguided, guided, marks)]
    assert found[0] is not None
    assert found[1] is not None
    return SamplePlane((pair[0].label, pair[1].label), found[0], found[1], found[2], degrees=residue is not None)


def _numbers(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
