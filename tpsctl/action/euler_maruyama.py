"""Exact transition-kernel likelihood of the Euler-Maruyama chain: A + B + cross, one perfect square.

    S = sum_i sum_a |dx_a - D_a s_a(x_i) dt|^2 / (4 D_a dt)

This action is needed when the score is not conservative. For a conservative score the cross term
of a smooth path tends, as dt -> 0, to a difference of values at the ends, which no optimization changes.
With K = dt sqrt(D) J sqrt(D) the residuals' Jacobian times sqrt(2 dt) is -(1 + K_i) at x_i and 1 at x_{i+1}.
"""

from torch import Tensor

from tpsctl.action.base import ImageTerms, LeastSquaresAction, identity_like
from tpsctl.score.base import VectorProduct


class EulerMaruyamaAction(LeastSquaresAction):
    """The action with kinetic, drift and cross term, dimensionless: -log p of the discrete chain up to a constant."""

    functional = "euler_maruyama"

    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        scale = self.dynamics.dt_ps * self.dynamics.diffusion_like(x) / 4
        if gradient:
            score, vjp = self.score.with_vjp(x)
        else:
            score = self.score(x)
        drift, cross = (scale * score.square()).sum((1, 2)), -(dx * score).sum((1, 2)) / 2
        if not gradient:
            return ImageTerms(drift, cross)
        return ImageTerms(drift, cross, gradient=vjp(2 * scale * score - dx / 2), gradient_dx=-score / 2)

    def normal_blocks(self, scaled_jacobian: Tensor) -> tuple[Tensor, Tensor]:
        identity = identity_like(scaled_jacobian)
        forward = identity + scaled_jacobian
        return forward.mT @ forward + identity, -forward[:, :-1].mT

    def normal_product(self, v: Tensor, k: VectorProduct, k_transposed: VectorProduct) -> Tensor:
        residual = -v - k(v)
        residual[:, :-1] += v[:, 1:]
        product = -residual - k_transposed(residual)
        product[:, 1:] += residual[:, :-1]
        product[:, 0] += v[:, 0]
        return product

    def project(self, change: Tensor, k_transposed: VectorProduct) -> Tensor:
        projected = change + k_transposed(change)
        projected[:, 1:] -= change[:, :-1]
        return projected
