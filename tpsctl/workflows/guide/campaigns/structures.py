"""Guidance along the paths of a few structures to noise, e.g. of images of transition states."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.recipe.guide import CommittorKernelSection, PathGuidanceSection
from tpsctl.score.guidance.base import Guide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.simulation.shooting.committor import wilson_interval
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED, Campaign, CampaignReport, clock_of
from tpsctl.workflows.guide.campaigns.comparison import plane_of
from tpsctl.workflows.guide.diversity import Collapse, bond_deviation, distances_nm, diversity, judge_collapse
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.kernels.base import GuideKernel, Lesson
from tpsctl.workflows.guide.kernels.committor import CommittorKernel
from tpsctl.workflows.guide.kernels.density import DensityKernel
from tpsctl.workflows.guide.structures import load_guides, require_handedness
from tpsctl.workflows.guide.success.base import WANTED
from tpsctl.workflows.guide.success.committor import CommittorSuccess
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

    names = GuideKernel.names
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
        self.kernel = make_kernel(tools, section, self.guides)
        self.box, self.tune, self.most_lessons = self.kernel.box, section.tune, self.kernel.most_lessons

    def learn(self, unguided: Drawn) -> None:
        if self._tools.is_molecule:
            require_handedness(self._tools.topology, self.guides, unguided.x, "guide.guides")
        self.clock = clock_of(unguided)
        self.kernel.learn(unguided, self.clock)
        self.given = self.kernel.given

    def lesson(self) -> Lesson | None:
        return self.kernel.lesson()

    def study(self, drawn: Drawn) -> str:
        return self.kernel.study(drawn)

    def mark_lesson(self, x: Tensor, stream: tuple[int, ...], shots: int) -> dict[str, Tensor]:
        assert isinstance(self._success, CommittorSuccess)  # only its kernel has lessons
        return self._success.shots(x, stream, shots)

    def guide(self, numbers: Sequence[float]) -> Guide:
        return self.kernel.guide(numbers)

    def mark(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        return self._success.judge(x, stream, tuning=tuning)

    def misfit(self, drawn: Drawn) -> float:
        return 1 - _fraction(drawn)

    def beside(self, numbers: Sequence[float]) -> dict[str, Guide]:
        if not self._section.sensitivity:
            return {}
        return {NARROW: self.kernel.guide(numbers, 0.5), WIDE: self.kernel.guide(numbers, 2.0)}

    def course(self, widths: Sequence[float], numbers: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
        times = [self.clock.time(width) for width in widths]
        found = self.kernel.schedules(numbers)
        return times, {
            "strength": [found.strength(t) for t in times],
            "bandwidth": [found.bandwidth(t) for t in times],
        }

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
            "success": {name: self._rate(each) for name, each in drawn.items() if WANTED in each.marks},
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
            facts=facts | self.kernel.facts(),
            tables=self.kernel.tables(),
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


def make_kernel(tools: GuideTools, section: PathGuidanceSection, guides: Tensor) -> GuideKernel:
    """The kernel that a recipe names; guides are (guide, bead, dim), nm."""
    if isinstance(section.kernel, CommittorKernelSection):
        return CommittorKernel(tools, section, section.kernel, guides)
    return DensityKernel(tools, section, section.kernel, guides)


def _fraction(drawn: Drawn) -> float:
    """The fraction of samples that are wanted."""
    return float(drawn.marks[WANTED].double().mean())
