"""What a run will need: time and memory, from a trial of one path."""

import resource
import sys
from dataclasses import dataclass

from tpsctl.recipe.optimize import LevenbergMarquardtSection, MethodSection

TYPICAL_STEPS = 20
"""Steps that Levenberg-Marquardt took of a stage with 60 to 400 allowed: 5 to 17 for alanine dipeptide, 15 to 58 for
ACE-PRO-NME and ACE-ALA-ALA-NME. The other methods take all their steps."""


@dataclass(frozen=True)
class Estimate:
    """What a run will need, by a trial of one path on this machine.

    Attributes:
        seconds_per_path: Guess and optimization of one path, if every stage takes all its steps.
        base_bytes: Largest resident memory of the trial: program, libraries, prior, one path.
        gradient_bytes: What the gradients of all images of one path take at once.
        budget_bytes: What they may take; more images are worked on chunk by chunk (`action.memory`).
    """

    seconds_per_path: float
    base_bytes: float
    gradient_bytes: float
    budget_bytes: float = 1e9

    def seconds(self, paths: int) -> float:
        """Upper bound for so many paths, one after the other."""
        return self.seconds_per_path * paths

    def memory_bytes(self, paths: int) -> float:
        """Resident memory with so many paths at once."""
        return self.base_bytes + min(self.gradient_bytes * paths, self.budget_bytes)


def typical_steps(section: MethodSection) -> int:
    """How many steps a stage, whose number of steps was given or chosen, typically takes."""
    assert section.max_steps is not None
    least_squares = isinstance(section, LevenbergMarquardtSection)
    return min(section.max_steps, TYPICAL_STEPS) if least_squares else section.max_steps


def resident_bytes() -> float:
    """Largest resident memory of this process so far (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def duration(seconds: float) -> str:
    """A time in words."""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
