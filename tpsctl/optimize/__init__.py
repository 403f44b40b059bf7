"""Minimizers of the action of a batch of paths."""

from tpsctl.optimize.base import Convergence, Optimizer, Outcome, Status, StepCallback, StepReport
from tpsctl.optimize.first_order import SGD, Adam

__all__ = ["SGD", "Adam", "Convergence", "Optimizer", "Outcome", "Status", "StepCallback", "StepReport"]
