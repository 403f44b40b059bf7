"""Actions of paths: the functionals that optimizers minimize."""

from tpsctl.action.base import Action, ActionTerms, Dynamics, LeastSquaresAction
from tpsctl.action.divergence import Divergence, ExactDivergence, HutchinsonDivergence
from tpsctl.action.euler_maruyama import EulerMaruyamaAction
from tpsctl.action.geometric import GeometricAction
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.transport import TransportAction
from tpsctl.action.truncated import TruncatedAction
from tpsctl.score.precision import ScoreInPrecision

__all__ = [
    "Action",
    "ActionTerms",
    "Divergence",
    "Dynamics",
    "EulerMaruyamaAction",
    "ExactDivergence",
    "GeometricAction",
    "HutchinsonDivergence",
    "LeastSquaresAction",
    "OnsagerMachlupAction",
    "ScoreInPrecision",
    "TransportAction",
    "TruncatedAction",
]
