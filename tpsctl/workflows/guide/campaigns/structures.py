"""Guidance along the paths of a few structures to noise, e.g. of images of transition states."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.torsions import named_torsions
from tpsctl.optimize.tuning import Interval
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.guide import KernelSection, PathGuidanceSection, SuperposedKernelSection
from tpsctl.score.guidance.base import Guide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.kernel import KernelGuide, flow_to_noise
from tpsctl.score.guidance.metrics import InTorsions, KernelMetric, Superposition
from tpsctl.score.guidance.schedules import SigmoidBandwidth, SigmoidStrength
from tpsctl.simulation.shooting.committor import wilson_interval
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED, Campaign, CampaignReport, clock_of
from tpsctl.workflows.guide.campaigns.comparison import plane_of
from tpsctl.workflows.guide.diversity import (
    Collapse,
    bond_deviation,
    distances_nm,
    diversity,
    judge_collapse,
    natural_bandwidth,
)
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.structures import load_guides, require_handedness
from tpsctl.workflows.guide.success.base import WANTED
from tpsctl.workflows.guide.success.make import make_success
from tpsctl.workflows.guide.tools import GuideTools

NARROW, WIDE = "half bandwidth", "double bandwidth"
"""Names of the samples that show the sensitivity to the bandwidth."""

_SAME_NM = 1e-4
"""RMSD below which guides are one structure: the precision of a PDB file."""


class PathCampaign(Campaign):
    """Guidance to a few structures.

    Attributes:
        guides: The structures, nm, in the order of the prior's beads.
        clock: The clock of the guidance, once learned.
    """

    names = ("strength_height", "strength_midpoint", "bandwidth_floor", "bandwidth_midpoint")
    box = (
        Interval(0.05, 10.0, logarithmic=True),
        Interval(0.05, 0.9),
        Interval(0.05, 1.0, logarithmic=True),
        Interval(0.2, 1.2),
    )
    clock: GuidanceClock

    def __init__(self, tools: GuideTools, section: PathGuidanceSection) -> None:
        self._tools, self._section = tools, section
        self.guides = load_guides(tools, section.guides, "guide.guides")
        if len(self.guides) < 2:
            raise RecipeError(
                "guide.guides: got 1 structure, expected at least 2: samples around a single one would be copies of "
                "it. Give further ones, e.g. the tops of several paths."
            )
        if float(distances_nm(self.guides, self.guides[:1], superposed=tools.is_molecule).max()) < _SAME_NM:
            raise RecipeError(
                f"guide.guides: all {len(self.guides)} structures are the same one, around which samples would be "
                "copies of it. Give different ones, e.g. the tops of several paths."
            )
        self._success = make_success(tools, section.success, self.guides)
        self._metric = metric_of(tools, section.kernel)
        self.tune = section.tune

    def learn(self, unguided: Drawn) -> None:
        if self._tools.is_molecule:
            require_handedness(self._tools.topology, self.guides, unguided.x, "guide.guides")
        self.clock = clock_of(unguided)
        model = self._tools.model
        strength, bandwidth = self._section.strength, self._section.bandwidth
        floor = bandwidth.floor
        if floor == AUTO:
            floor = natural_bandwidth(self.guides, unguided.x, self._metric)
            floor /= self.clock.spread * model.unit_nm if self._metric.is_length else 1.0
        self.given = (strength.height, strength.midpoint, float(floor), bandwidth.midpoint)
        self._widths = self._tools.widths[::-1]
        start = model.from_nm(self.guides).to(model.like)
        self._points = flow_to_noise(model.law, start, self._widths).double()

    def guide(self, numbers: Sequence[float]) -> Guide:
        return self._with_bandwidth(numbers, 1.0)

    def mark(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        return self._success.judge(x, stream, tuning=tuning)

    def misfit(self, drawn: Drawn) -> float:
        return 1 - _fraction(drawn)

    def beside(self, numbers: Sequence[float]) -> dict[str, Guide]:
        if not self._section.sensitivity:
            return {}
        return {NARROW: self._with_bandwidth(numbers, 0.5), WIDE: self._with_bandwidth(numbers, 2.0)}

    def course(self, widths: Sequence[float], numbers: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
        times = [self.clock.time(width) for width in widths]
        strength, bandwidth = self._schedules(numbers)
        return times, {"strength": [strength(t) for t in times], "bandwidth": [bandwidth(t) for t in times]}

    def outcome(self, drawn: Mapping[str, Drawn]) -> str:
        if not bool(drawn[GUIDED].marks[WANTED].any()):
            return "no_success"
        return "collapsed" if self._collapse(drawn).collapsed else "complete"

    def report(self, drawn: Mapping[str, Drawn], numbers: Sequence[float]) -> CampaignReport:
        guided, topology = drawn[GUIDED].x, self._tools.topology
        nearest = distances_nm(guided, self.guides, superposed=self._tools.is_molecule).amin(1)
        facts = {
            "guides": len(self.guides),
            "criterion": self._success.name,
            "success": {name: self._rate(each) for name, each in drawn.items()},
            "collapse": self._collapse(drawn).as_json()
            | {"bond_deviation": bond_deviation(guided, drawn[UNGUIDED].x, topology.bonds)},
        }
        if self._section.sensitivity:
            rates = {name: _fraction(drawn[name]) for name in (NARROW, GUIDED, WIDE)}
            facts["bandwidth"] = {
                "success": rates,
                "words": f"sensitivity to the bandwidth: success {rates[NARROW]:.3f} at half, {rates[GUIDED]:.3f} "
                f"at the used, {rates[WIDE]:.3f} at the double one",
            }
        found = {name: values for name, values in drawn[GUIDED].marks.items() if name != WANTED}
        return CampaignReport(
            facts=facts,
            columns={"success": drawn[GUIDED].marks[WANTED], "nearest_guide_nm": nearest, **found},
            plane=plane_of(self._tools, drawn[UNGUIDED].x, guided, (), self.guides),
        )

    def _rate(self, drawn: Drawn) -> dict[str, float]:
        wanted = drawn.marks[WANTED]
        low, high = wilson_interval(int(wanted.sum()), len(wanted))
        return {
            "fraction": _fraction(drawn),
            "low": low,
            "high": high,
            "work_nats": drawn.work.nats,
            "diversity_nm": diversity(drawn.x[wanted], superposed=self._tools.is_molecule),
        }

    def _collapse(self, drawn: Mapping[str, Drawn]) -> Collapse:
        guided, unguided = drawn[GUIDED], drawn[UNGUIDED]
        return judge_collapse(
            guided.x[guided.marks[WANTED]],
            self.guides,
            unguided.x,
            unguided.x[unguided.marks[WANTED]],
            superposed=self._tools.is_molecule,
        )

    def _with_bandwidth(self, numbers: Sequence[float], factor: float) -> KernelGuide:
        strength, bandwidth = self._schedules(numbers)
        clock = self.clock

        def width_of_kernel(width: float) -> float:
            unit = clock.spread / clock.alpha(width) if self._metric.is_length else 1.0
            return factor * bandwidth(clock.time(width)) * unit

        return KernelGuide(
            self._widths,
            self._points,
            strength=lambda width: strength(clock.time(width)),
            bandwidth=width_of_kernel,
            metric=self._metric,
        )

    def _schedules(self, numbers: Sequence[float]) -> tuple[Callable[[float], float], Callable[[float], float]]:
        height, when, floor, widening = numbers
        section = self._section
        return (
            SigmoidStrength(height, section.strength.slope, when),
            SigmoidBandwidth(floor, section.bandwidth.slope, widening),
        )


def metric_of(tools: GuideTools, section: KernelSection) -> KernelMetric:
    """In what samples are drawn to the guides.

    Raises:
        RecipeError: The prior has no torsions, or not one of this name.
    """
    if isinstance(section, SuperposedKernelSection):
        return Superposition(tools.prior.n_beads * tools.prior.n_dims, superposed=tools.model.law.centered)
    usual = [torsion for torsion in named_torsions(tools.topology) if not torsion.rotor] if tools.is_molecule else []
    if not usual:
        raise RecipeError("guide.kernel: torsions: no bond of this prior's molecule can turn. Use kind: superposed.")
    by_name = {torsion.name: torsion for torsion in usual}
    for name in section.torsions or ():
        if name not in by_name:
            raise RecipeError(f"guide.kernel.torsions: got {name!r}, expected some of {', '.join(by_name)}.")
    chosen = section.torsions or tuple(by_name)
    return InTorsions(torch.tensor([by_name[name].atoms for name in chosen]))


def _fraction(drawn: Drawn) -> float:
    """The fraction of samples that are wanted."""
    return float(drawn.marks[WANTED].double().mean())
