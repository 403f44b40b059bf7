"""Draws a number of samples with a guide, in nm, from a random stream of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError, RecipeError
from tpsctl.optimize.state import named, within
from tpsctl.score.guidance.base import Guide, PotentialGuide
from tpsctl.score.guidance.process import GuidedSamples, guided_diffusion, guided_flow, initial_noise
from tpsctl.score.guidance.work import ExcessWork, excess_work
from tpsctl.workflows.guide.tools import GuideTools
from tpsctl.workflows.sample.assemble import path_seed

_STREAMS = 1_000_000
"""Random streams of each phase of a run."""

_MARKS = "marks"


@dataclass(frozen=True)
class Drawn:
    """Samples with what they cost.

    Attributes:
        x: Configurations, nm, float64, (sample, bead, dim).
        samples: The same in the length unit of the law, with log q/p and the work of the steps.
        marks: What the campaign found of each sample when it was drawn (`Campaign.mark`).
    """

    x: Float[Tensor, "sample bead dim"]
    samples: GuidedSamples
    marks: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def work(self) -> ExcessWork:
        """The excess work."""
        return excess_work(self.samples)

    @property
    def log_ratio(self) -> Float[Tensor, " sample"]:
        """log q/p of each sample, nats."""
        return self.samples.log_ratio

    def store(self) -> dict[str, Tensor]:
        """As plain tensors."""
        s = self.samples
        plain = {"x": self.x, "y": s.y, "log_ratio": s.log_ratio, "work": s.work}
        return plain | named(_MARKS, dict(self.marks))

    @classmethod
    def joined(cls, blocks: "list[Mapping[str, Tensor]]") -> "Drawn":
        """Several blocks of samples, as `store` gave them, as one."""
        parts = {name: torch.cat([block[name] for block in blocks], int(name == "work")) for name in blocks[0]}
        marks = within(parts, f"{_MARKS}.")
        return cls(parts["x"], GuidedSamples(parts["y"], parts["log_ratio"], parts["work"]), marks)

    @classmethod
    def stored(cls, tensors: Mapping[str, Tensor], name: str) -> "Drawn":
        """The samples of this name among the tensors of a finished run."""
        return cls.joined([within(dict(tensors), f"{name}.")])


def draw(tools: GuideTools, guide: Guide, count: int, *, phase: int, stream: int) -> Drawn:
    """Draw samples; the same phase and stream give the same random numbers, whatever the guide.

    Raises:
        PriorError: A sample is not finite.
    """
    sampling, model = tools.recipe.sampling, tools.model
    generator = torch.Generator().manual_seed(path_seed(tools.recipe.seed, phase * _STREAMS + stream))
    like = torch.zeros(count, *model.shape).to(model.like)
    start = initial_noise(model.law, like, generator)
    if sampling.process == "ode":
        if not isinstance(guide, PotentialGuide):
            raise RecipeError("sampling.process: ode needs guidance whose term is a known gradient.")
        found = guided_flow(model.law, guide, start, tools.widths)
    else:
        corrections = sampling.corrections
        found = guided_diffusion(model.law, guide, start, tools.widths, generator, corrections=corrections)
    bad = int((~found.y.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise PriorError(
            f"{bad} of {count} samples are not finite. Use more sampling.steps, a weaker guide.strength, or a larger "
            "prior.diffusion_time."
        )
    plain = GuidedSamples(found.y.cpu().double(), found.log_ratio.cpu(), found.work.cpu())
    return Drawn(model.to_nm(plain.y), plain)
