"""The section `output`: which files are written, and where."""

from pathlib import Path
from typing import Literal

from tpsctl.recipe.section import Section, key


class OutputSection(Section):
    """The files to write, and their directory."""

    directory: Path = key("Run directory; made new, never overwritten without --overwrite.")
    trajectories: tuple[Literal["dcd", "pdb"], ...] = key("Formats of the paths.", default=("dcd",))
    figures: bool = key("Draw the figures.", default=True)
    report: bool = key("Write report.html, one page with everything about the run.", default=True)
