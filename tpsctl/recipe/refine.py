"""The recipe of `tpsctl refine`: paths, shots, guided samples and new guesses, round by round."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from tpsctl.recipe.guide import GuidedSamplingSection, SigmoidBandwidthSection, SigmoidStrengthSection, TuneSection
from tpsctl.recipe.guide_success import ShotCountSection
from tpsctl.recipe.section import Section, key


class RefineShotsSection(Section):
    """Shots from images near the tops of the best paths, which find the structures that guidance starts from."""

    paths: int = key("Paths that are shot from: the valid ones with the lowest barriers.", "1", default=2, ge=1)
    around: int = key("Images on either side of a top that are shot from, too.", "1", default=2, ge=0)
    least: int = key("Shots from an image before any decision.", "1", default=20, ge=1)
    most: int = key("Most shots from an image.", "1", default=100, ge=1)
    dynamics: Literal["auto", "force_field", "prior"] = key(
        "The force field's Langevin dynamics, or the overdamped dynamics of the prior; auto: the force field if there "
        "is one.",
        default="auto",
    )
    friction_per_ps: float = key("Friction of Langevin dynamics.", "1/ps", default=1.0, gt=0)
    dt_ps: float | None = key("Time step; without this key, found by the program.", "ps", default=None, gt=0)
    longest_ps: float | None = key(
        "Longest time of a shot; without this key, 20 ps or 50000 steps.", "ps", default=None, gt=0
    )

    @model_validator(mode="after")
    def _least_is_less(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"shots.least: got {self.least}, expected no more than shots.most ({self.most})")
        return self


class RefineGuideSection(Section):
    """Guided samples around the images with a committor near one half; a sample succeeds by its own committor."""

    low: float = key("Least committor of a wanted sample.", "1", default=0.4, gt=0, lt=1)
    high: float = key("Largest committor of a wanted sample.", "1", default=0.6, gt=0, lt=1)
    strength: SigmoidStrengthSection = key("The strength, unless it is tuned.", default=SigmoidStrengthSection())
    bandwidth: SigmoidBandwidthSection = key("The bandwidth, unless it is tuned.", default=SigmoidBandwidthSection())
    tune: TuneSection | None = key("Choose strength and bandwidth; without it, as given.", default=None)
    shots: ShotCountSection = key("How many shots from a sample.", default=ShotCountSection())
    sampling: GuidedSamplingSection = key(
        "How many samples are drawn, and how.", default=GuidedSamplingSection(samples=100, batch_samples=20)
    )

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: got {self.low}, expected a number below high ({self.high})")
        return self


class RefineOutputSection(Section):
    """The directory of a `tpsctl refine` run."""

    directory: Path = key("Directory of all rounds; made new.")


class RefineRecipe(Section):
    """A complete description of one `tpsctl refine` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the run, for tables.", min_length=1)
    sample: Path = key("Recipe of `tpsctl sample` for the paths; its prior must be one that `tpsctl guide` can sample.")
    rounds: int = key(
        "Rounds; each but the first starts from guesses through the last one's samples.", "1", default=2, ge=1
    )
    shots: RefineShotsSection = key("Shots from the paths.", default=RefineShotsSection())
    guide: RefineGuideSection = key("The guided samples.", default=RefineGuideSection())
    output: RefineOutputSection = key("Where the rounds go.")
