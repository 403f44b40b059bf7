"""Full Onsager-Machlup action A + B + C at finite temperature."""

from torch import Tensor

from tpsctl.action.base import Dynamics, ImageTerms, TimedAction
from tpsctl.action.divergence import Divergence
from tpsctl.score.base import Score


class OnsagerMachlupAction(TimedAction):
    """The action with kinetic, drift and divergence term, dimensionless.

    Source: Raja et al., arXiv:2504.18506 (their S is 2 D times ours for one D).

    Args:
        score: Score at the diffusion time of this action.
        dynamics: Step and diffusion coefficients.
        divergence: Evaluates the divergence, exactly or by random probes.
        memory_gb: Memory that the graphs of the chunks at work may take, GB; None to choose by the device.
    """

    functional = "onsager_machlup"

    def __init__(
        self, score: Score, dynamics: Dynamics, divergence: Divergence, *, memory_gb: float | None = None
    ) -> None:
        super().__init__(score, dynamics, memory_gb=memory_gb)
        self.divergence = divergence

    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        diffusion, half_dt = self.dynamics.diffusion_like(x), self.dynamics.dt_ps / 2
        scale, root = half_dt * diffusion / 2, diffusion.sqrt()
        score, vjp = self.score.with_vjp(x)
        drift = (scale * score.square()).sum((1, 2))
        divergence = half_dt * self.divergence.value(x, vjp, root, index)
        if not gradient:
            return ImageTerms(drift, divergence=divergence)
        slope = vjp(2 * scale * score) + half_dt * self.divergence.gradient(x, self.score, root, index)
        return ImageTerms(drift, divergence=divergence, gradient=slope)
