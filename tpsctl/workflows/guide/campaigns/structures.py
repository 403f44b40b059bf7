"""Guidance along the paths of a few structures to noise, e.g. of images of transition states."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tpsctl.endpoints.load import load_frames, load_structures
from tpsctl.errors import RecipeError
from tpsctl.optimize.tuning import Interval
from tpsctl.recipe.guide import GuideFilesSection, GuideFramesSection, PathGuidanceSection
from tpsctl.score.guidance.base import Guide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.kernel import KernelGuide, flow_to_noise
from tpsctl.score.guidance.schedules import SigmoidBandwidth, SigmoidStrength
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED, Campaign, CampaignReport, clock_of
from tpsctl.workflows.guide.campaigns.comparison import plane_of
from tpsctl.workflows.guide.diversity import Collapse, bond_deviation, distances_nm, diversity, judge_collapse
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.success import make_success, wilson_interval
from tpsctl.workflows.guide.tools import GuideTools, in_order_of_prior

NARROW, WIDE = "half bandwidth", "double bandwidth"
"""Names of the samples that show the sensitivity to the bandwidth."""


class PathCampaign(Campaign):
    """Guidance to a few structures.

    Attributes:
        guides: The structures, nm, in the order of the prior's beads.
        clock: The clock of the guidance, once learned.
    """

    names = ("strength_height", "strength_midpoint", "bandwidth_floor", "bandwidth_midpoint")
    box = (Interval(0.05, 2.0), Interval(0.05, 0.9), Interval(0.05, 1.0), Interval(0.2, 1.2))
    clock: GuidanceClock

    def __init__(self, tools: GuideTools, section: PathGuidanceSection) -> None:
        self._tools, self._section = tools, section
        self.guides = _load_guides(tools, section)
        self._is_wanted = make_success(tools, section.success)
        strength, bandwidth = section.strength, section.bandwidth
        self.given = (strength.height, strength.midpoint, bandwidth.floor, bandwidth.midpoint)
        self.tune = section.tune

    def learn(self, unguided: Drawn) -> None:
        self.clock = clock_of(unguided)
        model = self._tools.model
        self._widths = self._tools.widths[::-1]
        start = model.from_nm(self.guides).to(model.like)
        self._points = flow_to_noise(model.law, start, self._widths).double()

    def guide(self, numbers: Sequence[float]) -> Guide:
        return self._with_bandwidth(numbers, 1.0)

    def misfit(self, x: Tensor) -> float:
        return 1 - float(self._is_wanted(x).double().mean())

    def beside(self, numbers: Sequence[float]) -> dict[str, Guide]:
        return {NARROW: self._with_bandwidth(numbers, 0.5), WIDE: self._with_bandwidth(numbers, 2.0)}

    def course(self, widths: Sequence[float], numbers: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
        times = [self.clock.time(width) for width in widths]
        strength, bandwidth = self._schedules(numbers)
        return times, {"strength": [strength(t) for t in times], "bandwidth": [bandwidth(t) for t in times]}

    def outcome(self, drawn: Mapping[str, Drawn]) -> str:
        if not bool(self._is_wanted(drawn[GUIDED].x).any()):
            return "no_success"
        return "collapsed" if self._collapse(drawn).collapsed else "complete"

    def report(self, drawn: Mapping[str, Drawn], numbers: Sequence[float]) -> CampaignReport:
        guided, topology = drawn[GUIDED].x, self._tools.topology
        wanted = {name: self._is_wanted(samples.x) for name, samples in drawn.items()}
        nearest = distances_nm(guided, self.guides, superposed=self._tools.is_molecule).amin(1)
        rates = {name: float(is_wanted.double().mean()) for name, is_wanted in wanted.items()}
        return CampaignReport(
            facts={
                "guides": len(self.guides),
                "success": {name: self._success(drawn[name], wanted[name]) for name in drawn},
                "collapse": self._collapse(drawn).as_json()
                | {"bond_deviation": bond_deviation(guided, drawn[UNGUIDED].x, topology.bonds)},
                "bandwidth": {
                    "success": {name: rates[name] for name in (NARROW, GUIDED, WIDE)},
                    "words": f"sensitivity to the bandwidth: success {rates[NARROW]:.3f} at half, {rates[GUIDED]:.3f} "
                    f"at the used, {rates[WIDE]:.3f} at the double one",
                },
            },
            columns={
                "success": wanted[GUIDED],
                "nearest_guide_nm": nearest,
            },
            plane=plane_of(self._tools, drawn[UNGUIDED].x, guided, (), self.guides),
        )

    def _success(self, drawn: Drawn, wanted: Tensor) -> dict[str, float]:
        count, whole = int(wanted.sum()), len(wanted)
        low, high = wilson_interval(count, whole)
        apart = diversity(drawn.x[wanted], superposed=self._tools.is_molecule)
        return {
            "fraction": count / whole,
            "low": low,
            "high": high,
            "work_nats": drawn.work.nats,
            "diversity_nm": apart,
        }

    def _collapse(self, drawn: Mapping[str, Drawn]) -> Collapse:
        guided, unguided = drawn[GUIDED].x, drawn[UNGUIDED].x
        return judge_collapse(
            guided[self._is_wanted(guided)],
            self.guides,
            unguided,
            unguided[self._is_wanted(unguided)],
            superposed=self._tools.is_molecule,
        )

    def _with_bandwidth(self, numbers: Sequence[float], factor: float) -> KernelGuide:
        strength, bandwidth = self._schedules(numbers)
        clock = self.clock

        def width_of_kernel(width: float) -> float:
            return factor * bandwidth(clock.time(width)) * clock.spread / clock.alpha(width)

        return KernelGuide(
            self._widths,
            self._points,
            strength=lambda width: strength(clock.time(width)),
            bandwidth=width_of_kernel,
            superposed=self._tools.model.law.centered,
        )

    def _schedules(self, numbers: Sequence[float]) -> tuple[Callable[[float], float], Callable[[float], float]]:
        height, when, floor, widening = numbers
        section = self._section
        return (
            SigmoidStrength(height, section.strength.slope, when),
            SigmoidBandwidth(floor, section.bandwidth.slope, widening),
        )


def _load_guides(tools: GuideTools, section: PathGuidanceSection) -> Tensor:
    """The guides, nm.

    Raises:
        RecipeError: They are of another molecule, or there is only one.
    """
    given, key = section.guides, "guide.guides"
    if isinstance(given, GuideFilesSection | GuideFramesSection):
        if not tools.is_molecule:
            raise RecipeError(f"{key}: the prior is of a point. Give points_nm.")
        if isinstance(given, GuideFilesSection):
            structures = [frame for file in given.structures for frame in load_structures(file, select=given.select)]
        else:
            structures = load_frames(given.trajectory, given.frames, topology=given.topology, select=given.select)
        found = in_order_of_prior(tools, structures, key, winding=True)
    else:
        if tools.is_molecule:
            raise RecipeError(f"{key}: the prior is of a molecule. Give structures, or frames of a trajectory.")
        wrong = [point for point in given.points_nm if len(point) != tools.prior.n_dims]
        if wrong:
            raise RecipeError(
                f"{key}.points_nm: got a point of {len(wrong[0])} coordinates, the prior has {tools.prior.n_dims}."
            )
        found = torch.tensor(given.points_nm, dtype=torch.float64).unsqueeze(1)
    if len(found) < 2:
        raise RecipeError(
            f"{key}: got 1 structure, expected at least 2: samples around a single one would be copies of it. Give "
            "further ones, e.g. the tops of several paths."
        )
    return found
