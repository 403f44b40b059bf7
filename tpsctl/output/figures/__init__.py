"""Figures of a run, one file per kind."""

from tpsctl.output.figures.arc_length import RouteProfile, arc_length
from tpsctl.output.figures.background import Background
from tpsctl.output.figures.comparison import comparison, highest_energies
from tpsctl.output.figures.contour import contour
from tpsctl.output.figures.disconnectivity import RouteMarks, disconnectivity
from tpsctl.output.figures.distributions import DistributionPanel, sample_distributions
from tpsctl.output.figures.history import action_history
from tpsctl.output.figures.learning_curve import learning_curve
from tpsctl.output.figures.profile import energy_profile
from tpsctl.output.figures.ramachandran import ramachandran, slow_coordinates
from tpsctl.output.figures.torsions import RouteTorsions, torsions
from tpsctl.output.figures.tube import TubeCourse, tube

__all__ = [
    "Background",
    "DistributionPanel",
    "RouteMarks",
    "RouteProfile",
    "RouteTorsions",
    "TubeCourse",
    "action_history",
    "arc_length",
    "comparison",
    "contour",
    "disconnectivity",
    "energy_profile",
    "highest_energies",
    "learning_curve",
    "ramachandran",
    "sample_distributions",
    "slow_coordinates",
    "torsions",
    "tube",
]
