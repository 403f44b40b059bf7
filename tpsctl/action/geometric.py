"""The geometric action: the truncated action, minimized over the time that each step takes as well.

In scaled coordinates z = x / sqrt(D) with drift b = sqrt(D) s a segment of a path has

    |dz|^2 / (4 dt) + dt |b|^2 / 4   >=   |dz| |b| / 2 ,     equal for dt = |dz| / |b| ,

so that the least action, whatever the times, is the integral of |b| |dz| / 2: no time step is left to choose, and the
path may be cut into images in any way. Its minima are minimum-energy paths, for which S = sum |dU| / 2kT over all ups
and downs; no path between the same ends over the same passes has less.

A sum over images alone would reward a path for jumping over what it should climb. So the integral is taken with the
trapezoidal rule at equally spaced points of the polygon through the images (`molecule.curves.respaced`), as many as
there are images; images that lie close together or far apart change it only by how well they follow the valley. What
keeps the images themselves at equal distances is the relative variance of their distances, which is added to S:

    S = sum_i |dz_i| (|b_i| + |b_{i+1}|) / 4   +   L sum_i |dz_i|^2 / (sum_i |dz_i|)^2 - 1 .

It is no half sum of squares, so Levenberg-Marquardt does not apply; on the stiff landscape of a molecule use
`optimize.string`, whose strings at rest are the minima of this action.

Sources: Heymann and Vanden-Eijnden, Comm. Pure Appl. Math. 61 (2008) 1052 (geometric minimum action); Olender and
Elber, J. Mol. Struct. THEOCHEM 398 (1997) 63 (the same for overdamped molecules).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action, ActionTerms, check_paths
from tpsctl.molecule.curves import gaps, respaced


class GeometricAction(Action):
    """The time-free action, dimensionless. Kinetic and drift term are its halves; `dynamics.dt_ps` plays no part."""

    functional = "geometric"

    def _evaluate(self, paths: Tensor, *, gradient: bool) -> tuple[ActionTerms, Tensor]:
        check_paths(paths, self.dynamics)
        scale = self.dynamics.diffusion_like(paths).rsqrt()
        x = paths.detach().requires_grad_(gradient)
        with torch.set_grad_enabled(gradient):
            y = respaced(x, scale)
            length, uneven = gaps(y * scale), _unevenness(gaps(x * scale))
        size, pull = self._drift(y.detach(), scale, _shares(length.detach()), gradient=gradient)
        with torch.set_grad_enabled(gradient):
            half = _integral(length, size) / 2
        zero = torch.zeros_like(half.detach())
        terms = ActionTerms(half.detach() + uneven.detach(), half.detach(), zero, zero, zero)
        if not gradient:
            return terms, torch.empty(0)
        (found,) = torch.autograd.grad((2 * half + uneven).sum() + (y * pull).sum(), x)
        found[:, 0], found[:, -1] = 0, 0
        return terms, found

    def _drift(
        self, y: Tensor, scale: Tensor, shares: Float[Tensor, "path image"], *, gradient: bool
    ) -> tuple[Float[Tensor, "path image"], Tensor]:
        """|b| at all points, and its derivative with respect to them, weighted by their shares of the integral."""

        def work(part: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
            if not gradient:
                return (self.score(part) / scale).flatten(1).norm(dim=1), part[:0]
            score, vjp = self.score.with_vjp(part)
            drift = score / scale
            size = drift.flatten(1).norm(dim=1)
            weight = share / size.clamp_min(torch.finfo(size.dtype).tiny)
            return size, vjp(weight.view(-1, 1, 1) * drift / scale)

        sizes, pulls = zip(*self.chunks.map(work, y.flatten(0, 1), shares.flatten()), strict=True)
        return torch.cat(sizes).view(y.shape[:2]), torch.cat(pulls).view_as(y) if gradient else y


def geometric_terms(z: Float[Tensor, "path image bead dim"], drift: Float[Tensor, "path image n"]) -> ActionTerms:
    """The terms of equally spaced images in scaled coordinates z whose drift b is known."""
    length = gaps(z)
    half = _integral(length, drift.norm(dim=2)) / 2
    zero = torch.zeros_like(half)
    return ActionTerms(half + _unevenness(length), half, zero, zero, zero)


def _integral(length: Float[Tensor, "path gap"], size: Float[Tensor, "path image"]) -> Float[Tensor, " path"]:
    """The integral of |b| |dz| / 2 by the trapezoidal rule."""
    return (length * (size[:, 1:] + size[:, :-1])).sum(1) / 4


def _shares(length: Float[Tensor, "path gap"]) -> Float[Tensor, "path image"]:
    """Factor of |b| at every point in that integral."""
    beside = torch.nn.functional.pad(length, (1, 1))
    return (beside[:, 1:] + beside[:, :-1]) / 4


def _unevenness(length: Float[Tensor, "path gap"]) -> Float[Tensor, " path"]:
    """The variance of the distances over the square of their mean."""
    return length.shape[1] * length.square().sum(1) / length.sum(1).square() - 1
