"""Figures of a run, one file per kind."""

from tpsctl.output.figures.contour import contour
from tpsctl.output.figures.history import action_history
from tpsctl.output.figures.profile import energy_profile
from tpsctl.output.figures.ramachandran import Background, ramachandran

__all__ = ["Background", "action_history", "contour", "energy_profile", "ramachandran"]
