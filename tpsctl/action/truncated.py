"""Truncated action A + B: the zero-temperature (Freidlin-Wentzell) limit, and a sum of squares.

S is half the sum of the squares of the residuals dx_a / sqrt(2 D_a dt) and sqrt(dt D_a / 2) s_a(x_i). The Gauss-Newton
matrix times 2 dt in z = x / sqrt(D) is the path Laplacian (-1, 2, -1) plus K^T K on the diagonal.
"""

from torch import Tensor

from tpsctl.action.base import ImageTerms, LeastSquaresAction, identity_like
from tpsctl.score.base import VectorProduct


class TruncatedAction(LeastSquaresAction):
    """The action with kinetic and drift term, dimensionless. Source: Raja et al., arXiv:2504.18506."""

    functional = "truncated"

    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        scale = self.dynamics.dt_ps * self.dynamics.diffusion_like(x) / 4
        if not gradient:
            return ImageTerms((scale * self.score(x).square()).sum((1, 2)))
        score, vjp = self.score.with_vjp(x)
        return ImageTerms((scale * score.square()).sum((1, 2)), gradient=vjp(2 * scale * score))

    def normal_blocks(self, scaled_jacobian: Tensor) -> tuple[Tensor, Tensor]:
        identity = identity_like(scaled_jacobian)
        diagonal = scaled_jacobian.mT @ scaled_jacobian + 2 * identity
        return diagonal, -identity.view(1, 1, *identity.shape)

    def normal_product(self, v: Tensor, k: VectorProduct, k_transposed: VectorProduct) -> Tensor:
        product = 2 * v + k_transposed(k(v))
        product[:, 1:] -= v[:, :-1]
        product[:, :-1] -= v[:, 1:]
        return product

    def project(self, change: Tensor, k_transposed: VectorProduct) -> Tensor:
        return k_transposed(change)
