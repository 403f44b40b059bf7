"""Truncated action A + B: the zero-temperature (Freidlin-Wentzell) limit, and a sum of squares.

Residuals dx_a / sqrt(2 D_a dt) and sqrt(dt D_a / 2) s_a(x_i), S half their squares. The Gauss-Newton
matrix times 2 dt in z = x / sqrt(D) is the path Laplacian (-1, 2, -1) plus K^T K on the diagonal.
"""

import torch
from torch import Tensor

from tpsctl.action.base import ImageTerms, LeastSquaresAction


class TruncatedAction(LeastSquaresAction):
    """Kinetic plus drift term."""

    functional = "truncated"

    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        scale = self.dynamics.dt_ps * self.dynamics.diffusion_like(x) / 4
        if not gradient:
            return ImageTerms((scale * self.score(x).square()).sum((1, 2)))
        score, vjp = self.score.with_vjp(x)
        return ImageTerms((scale * score.square()).sum((1, 2)), gradient=vjp(2 * scale * score))

    def normal_blocks(self, scaled_jacobian: Tensor) -> tuple[Tensor, Tensor]:
        identity = torch.eye(scaled_jacobian.shape[-1]).to(scaled_jacobian)
        diagonal = scaled_jacobian.mT @ scaled_jacobian + 2 * identity
        n_paths, n_images = scaled_jacobian.shape[:2]
        return diagonal, (-identity).expand(n_paths, n_images - 1, -1, -1)

    def normal_product(self, paths: Tensor, v: Tensor) -> Tensor:
        x, d = paths[:, 1:-1].flatten(0, 1), self.dynamics.diffusion_like(paths)
        flat, parts = v.flatten(0, 1) * d.sqrt(), []
        for c in self.chunks(x):
            _, vjp = self.score.with_vjp(x[c])
            parts.append(vjp(d * self.score.jvp(x[c], flat[c])))
        product = 2 * v + self.dynamics.dt_ps**2 * d.sqrt() * torch.cat(parts).view_as(v)
        product[:, 1:] -= v[:, :-1]
        product[:, :-1] -= v[:, 1:]
        return product
