"""Onsager-Machlup action of paths through the time-dependent field of a potential: dx = grad s(x, t) dt + sigma dW.

With D = sigma^2 / 2, Onsager and Machlup's integral of |dx/dt - grad s|^2 / 4D + laplacian(s) / 2 is, because
ds = grad s . dx + ds/dt dt,

    S = kinetic + integral r(x(t), t) / 2D dt - [s(x(T), T) - s(x(0), 0)] / 2D ,
    r = ds/dt + |grad s|^2 / 2 + D laplacian(s) ,

so that the residual r of Action Matching decides about paths as it does about the training. The bracket is fixed by the
ends and left out. The parts of r / 2D are the terms of an action: the drift |grad s|^2 / 4D, the divergence
laplacian(s) / 2, and (ds/dt) / 2D, which takes the place of the cross term. Left-point rule, O(dt).

Where frames gain or lose weight on their way, d log w = g s dt, a path counts with its weight (Feynman and Kac), so
that its action is S - integral g s(x(t), t) dt; this part, too, stands in the place of the cross term. The part
g s^2 / 2 of the residual of unbalanced Action Matching is no part of it: it decides which growth is learned, and not
what a path costs.

A potential that was learned from snapshots knows their marginals and not the dynamics between them. A path through its
field is a transport map between distributions, and its time is the time of the snapshots and no rate.

Source: Neklyudov et al., arXiv:2210.06662, eqs. 13 and 17; Onsager and Machlup, Phys. Rev. 91 (1953) 1505; Kac,
Trans. Am. Math. Soc. 65 (1949) 1 (weights along paths).
"""

import torch
from torch import Tensor

from tpsctl.action.base import Dynamics, ImageTerms, TimedAction
from tpsctl.errors import TpsctlError
from tpsctl.score.base import AutogradScore
from tpsctl.score.hamilton_jacobi import Potential, hjb_residual, potential_gradient


class TransportAction(TimedAction):
    """The action without its values at the ends, dimensionless.

    Args:
        potential: s(x, t), nm^2/ps, of configurations (batch, bead, dim) in nm and times (batch,) in ps.
        dynamics: Step between images, and one diffusion coefficient for all beads.
        start_ps: Time of the first image, ps.
        growth_per_nm2: g of the weights of paths, d log w = g s dt, 1/nm^2; 0 where frames keep their weight.
        memory_gb: Memory that the graphs of the chunks at work may take, GB; None to choose by the device.

    Raises:
        TpsctlError: The beads have different diffusion coefficients.
    """

    functional = "transport"

    def __init__(
        self,
        potential: Potential,
        dynamics: Dynamics,
        *,
        start_ps: float = 0.0,
        growth_per_nm2: float = 0.0,
        memory_gb: float | None = None,
    ) -> None:
        if bool((dynamics.diffusion != dynamics.diffusion[0]).any()):
            raise TpsctlError(
                "the transport action needs one diffusion coefficient for all beads, because its noise is that of the "
                "trained field. Set action.diffusion_nm2_per_ps."
            )
        self.potential, self.start_ps, self.growth_per_nm2 = potential, start_ps, growth_per_nm2
        self._diffusion = float(dynamics.diffusion[0])
        super().__init__(AutogradScore(self._drift_at_start), dynamics, memory_gb=memory_gb)

    def _drift_at_start(self, x: Tensor) -> Tensor:
        """grad s / D at the time of the first image, 1/nm: by its cost the chunks of images are measured."""
        time = x.new_full((len(x),), self.start_ps)
        return hjb_residual(self.potential, x, time).gradient / self._diffusion

    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        x = x.detach().requires_grad_(True)
        time = self.start_ps + self.dynamics.dt_ps * index.to(x)
        scale = self.dynamics.dt_ps / (2 * self._diffusion)
        found = hjb_residual(self.potential, x, time, noise=(2 * self._diffusion) ** 0.5)
        bare = hjb_residual(self.potential, x, time)
        drift = scale / 2 * bare.gradient.detach().square().sum((1, 2))
        grown = self.dynamics.dt_ps * self.growth_per_nm2 * found.value
        rate = scale * bare.residual.detach() - drift - grown.detach()
        divergence = scale * (found.residual - bare.residual).detach().unsqueeze(1)
        if not gradient:
            return ImageTerms(drift, rate, divergence)
        (slope,) = torch.autograd.grad((scale * found.residual - grown).sum(), x)
        return ImageTerms(drift, rate, divergence, gradient=slope)


def boundary_terms(
    potential: Potential, paths: Tensor, *, start_ps: float, duration_ps: float, diffusion: float
) -> Tensor:
    """-[s(x(T), T) - s(x(0), 0)] / 2D of paths (path, image, bead, dim): what `TransportAction` leaves out."""
    times = [paths.new_full((len(paths),), time) for time in (start_ps, start_ps + duration_ps)]
    first, last = (
        potential_gradient(potential, x, t)[0] for x, t in zip((paths[:, 0], paths[:, -1]), times, strict=True)
    )
    return (first - last) / (2 * diffusion)
