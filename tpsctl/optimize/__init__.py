"""Minimizers of the action of a batch of paths."""

from tpsctl.optimize.base import Convergence, Optimizer, StepCallback, StepReport
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.optimize.lbfgs import LBFGS
from tpsctl.optimize.levenberg_marquardt import LevenbergMarquardt
from tpsctl.optimize.outcome import Outcome, Status
from tpsctl.optimize.stages import Stage, interpolated, run_stages
from tpsctl.optimize.state import BetweenSteps, State
from tpsctl.optimize.string import String

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "BetweenSteps",
    "Convergence",
    "LevenbergMarquardt",
    "Optimizer",
    "Outcome",
    "Stage",
    "State",
    "Status",
    "StepCallback",
    "StepReport",
    "String",
    "interpolated",
    "run_stages",
]
