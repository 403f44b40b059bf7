"""Onsager-Machlup actions of batches of paths with fixed ends.

A path is x_0 ... x_L with a physical step dt between images; it obeys overdamped Langevin dynamics
with score s = grad log p and one diffusion coefficient D_a per bead a,

    dx_a = D_a s_a(x) dtau + sqrt(2 D_a) dW_a ,      D_a = kT / (m_a gamma).

-log of its probability, up to constants, is a sum of

    kinetic     A = sum_i sum_a |x_{i+1,a} - x_{i,a}|^2 / (4 D_a dt)
    drift       B = sum_i sum_a dt D_a |s_a(x_i)|^2 / 4
    cross         = -1/2 sum_i sum_a (x_{i+1,a} - x_{i,a}) . s_a(x_i)
    divergence  C = (dt/2) sum_i sum_a D_a div_a s_a(x_i)

with i = 0 ... L-1 (left-point rule, O(dt)). Each subclass of `Action` contains some of these terms.
Value and gradient come from one evaluation of the score and one product with its transposed Jacobian
per image. No autograd graph spans the whole path, so images are worked on in chunks that fit a memory budget.

Source: Raja et al., arXiv:2504.18506 (whose S is 2 D (A + B + C) for one D).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.memory import Chunks
from tpsctl.errors import PathError, TpsctlError
from tpsctl.score.base import Score, VectorProduct
from tpsctl.score.constant import Constant
from tpsctl.units import diffusion_coefficient


@dataclass(frozen=True)
class Dynamics:
    """Overdamped Langevin dynamics of the beads.

    Attributes:
        dt_ps: Physical step between images, ps, > 0.
        diffusion: D_a of every bead, nm^2/ps, > 0, shape (bead,).

    Raises:
        TpsctlError: The step or a diffusion coefficient is not a finite number > 0.
    """

    dt_ps: float
    diffusion: Float[Tensor, " bead"]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt_ps) and self.dt_ps > 0):
            raise TpsctlError(f"action.dt_ps: got {self.dt_ps} ps, expected a finite value > 0 (ps).")
        if not bool((self.diffusion > 0).all() and self.diffusion.isfinite().all()):
            raise TpsctlError(f"diffusion: got {self.diffusion.min().item()} nm^2/ps, expected finite values > 0.")

    @cached_property
    def _column(self) -> Constant:
        return Constant(self.diffusion.unsqueeze(-1))

    @classmethod
    def langevin(
        cls, *, dt_ps: float, masses_amu: Sequence[float], friction_per_ps: float, temperature_k: float
    ) -> "Dynamics":
        """Dynamics with D_a = kT / (m_a gamma) for every bead.

        Args:
            dt_ps: Physical step between images, ps, > 0.
            masses_amu: Mass m_a of every bead, amu.
            friction_per_ps: Friction gamma, 1/ps.
            temperature_k: Temperature T, K.
        """
        d = [diffusion_coefficient(m, friction_per_ps, temperature_k) for m in masses_amu]
        return cls(dt_ps, torch.tensor(d, dtype=torch.float64))

    @classmethod
    def uniform(cls, *, dt_ps: float, diffusion_nm2_per_ps: float, n_beads: int) -> "Dynamics":
        """Dynamics of `n_beads` beads that all have the given diffusion coefficient, nm^2/ps."""
        return cls(dt_ps, torch.full((n_beads,), diffusion_nm2_per_ps, dtype=torch.float64))

    def with_dt(self, dt_ps: float) -> "Dynamics":
        """The same diffusion coefficients with another physical step, ps."""
        return replace(self, dt_ps=dt_ps)

    def diffusion_like(self, x: Tensor) -> Float[Tensor, "bead 1"]:
        """D_a, nm^2/ps, as a column that multiplies (..., bead, dim), in the precision and on the device of x."""
        return self._column.like(x)


@dataclass(frozen=True)
class ActionTerms:
    """Terms of the action, dimensionless, one value per path; terms that an action does not contain are zero.

    Attributes:
        kinetic: A of every path.
        drift: B of every path.
        cross: Cross term of every path.
        divergence: C of every path.
        divergence_error: Standard error of a stochastic divergence; zero for an exact one.
    """

    kinetic: Float[Tensor, " path"]
    drift: Float[Tensor, " path"]
    cross: Float[Tensor, " path"]
    divergence: Float[Tensor, " path"]
    divergence_error: Float[Tensor, " path"]

    @property
    def total(self) -> Float[Tensor, " path"]:
        """The action of every path: the sum of its four terms."""
        return self.kinetic + self.drift + self.cross + self.divergence

    def select(self, keep: Tensor) -> "ActionTerms":
        """The terms of some paths, chosen by a mask or by their indices."""
        return ActionTerms(*(getattr(self, field.name)[keep] for field in fields(self)))

    def scatter_into(self, whole: "ActionTerms", paths: Tensor) -> None:
        """Write these terms into the terms of a larger batch, `whole`, at the given indices of paths."""
        for field in fields(self):
            getattr(whole, field.name)[paths] = getattr(self, field.name).to(getattr(whole, field.name))

    @classmethod
    def empty(cls, n_paths: int, like: Tensor) -> "ActionTerms":
        """Terms of paths that have not been evaluated yet: NaN for every path."""
        return cls(*(like.new_full((n_paths,), math.nan) for _ in fields(cls)))


@dataclass(frozen=True)
class ImageTerms:
    """Contribution of each image x_i of a chunk to the action, and the derivatives of this contribution.

    Attributes:
        drift: B of every image.
        cross: Cross term of every image, or None.
        divergence: C of every image by every probe (one column if exact), or None.
        gradient: Derivative with respect to x_i at fixed dx_i = x_{i+1} - x_i, 1/nm.
        gradient_dx: Derivative with respect to dx_i, 1/nm, or None.
    """

    drift: Float[Tensor, " image"]
    cross: Float[Tensor, " image"] | None = None
    divergence: Float[Tensor, "image probe"] | None = None
    gradient: Float[Tensor, "image bead dim"] | None = None
    gradient_dx: Float[Tensor, "image bead dim"] | None = None


class Action(ABC):
    """Action of paths (path, image, bead, dim) in nm.

    Args:
        score: Score at the diffusion time of this action.
        dynamics: Step and diffusion coefficients.
        memory_gb: Memory that the graphs of the chunks at work may take, GB; None to choose by the device.

    Attributes:
        functional: Name of the functional in a recipe.
        chunks: How images are shared out among evaluations of the score.
    """

    functional: ClassVar[str]

    def __init__(self, score: Score, dynamics: Dynamics, *, memory_gb: float | None = None) -> None:
        self.score = score
        self.dynamics = dynamics
        self.chunks = Chunks(score, None if memory_gb is None else memory_gb * 1e9)

    def terms(self, paths: Float[Tensor, "path image bead dim"]) -> ActionTerms:
        """The terms of the action of every path, without its gradient; paths in nm.

        Raises:
            PathError: The paths have a shape that the dynamics cannot have (`check_paths`).
            TpsctlError: The memory does not suffice for one image.
        """
        return self._evaluate(paths, gradient=False)[0]

    def value_and_gradient(self, paths: Float[Tensor, "path image bead dim"]) -> tuple[ActionTerms, Tensor]:
        """The terms of every path, and dS/dx in 1/nm, shaped like the paths and zero at both ends.

        Raises:
            PathError: The paths have a shape that the dynamics cannot have (`check_paths`).
            TpsctlError: The memory does not suffice for one image.
        """
        return self._evaluate(paths, gradient=True)

    @abstractmethod
    def _evaluate(self, paths: Tensor, *, gradient: bool) -> tuple[ActionTerms, Tensor]:
        """The terms of every path and, if asked for, the gradient; an empty tensor if not."""


class TimedAction(Action):
    """An action with one time step between all images: the kinetic term, and terms of single images."""

    @abstractmethod
    def _image_terms(self, x: Tensor, dx: Tensor, index: Tensor, *, gradient: bool) -> ImageTerms:
        """Terms of images x (image, bead, dim) with steps dx that start there.

        Args:
            x: The images.
            dx: The steps.
            index: Positions of the images in their paths; on the host, whatever the device of x.
            gradient: Whether derivatives are computed as well.
        """

    def _evaluate(self, paths: Tensor, *, gradient: bool) -> tuple[ActionTerms, Tensor]:
        check_paths(paths, self.dynamics)
        n_paths, n_steps = paths.shape[0], paths.shape[1] - 1
        dx = paths.diff(dim=1)
        weighted = dx / (2 * self.dynamics.diffusion_like(paths) * self.dynamics.dt_ps)
        x, flat_dx = paths[:, :-1].flatten(0, 1), dx.flatten(0, 1)
        index = torch.arange(n_steps).expand(n_paths, -1).flatten()
        parts = self.chunks.map(partial(self._image_terms, gradient=gradient), x, flat_dx, index)
        terms = _sum_terms((weighted * dx).sum((1, 2, 3)) / 2, parts, n_paths)
        return terms, _assemble_gradient(paths, weighted, parts) if gradient else torch.empty(0)


class LeastSquaresAction(TimedAction):
    """An action that is half a sum of squared residuals, which gives the Gauss-Newton matrix of its residuals.

    In scaled coordinates z = x / sqrt(D) the Gauss-Newton matrix times 2 dt is dimensionless and
    block-tridiagonal over the interior images 1 ... L-1, with blocks of n = bead * dim rows; K = dt sqrt(D) J sqrt(D)
    is the Jacobian of the score in the same scale.
    """

    @abstractmethod
    def normal_blocks(self, scaled_jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks of the Gauss-Newton matrix, computed from K (path, L-1, n, n) at images 1 ... L-1.

        Returns:
            Diagonal blocks (path, L-1, n, n), and upper off-diagonal blocks (path, L-2, n, n), or (1, 1, n, n) if
            all off-diagonal blocks are the same.
        """

    @abstractmethod
    def normal_product(self, v: Tensor, k: VectorProduct, k_transposed: VectorProduct) -> Tensor:
        """The Gauss-Newton matrix times v (path, L-1, n), computed from products with K and K^T."""

    @abstractmethod
    def project(self, change: Tensor, k_transposed: VectorProduct) -> Tensor:
        """The right-hand side that a change of the scaled drift dt sqrt(D) s adds to the Gauss-Newton equations.

        It is R^T r with R the Jacobian of the residuals and r the change of the residuals that follows from the given
        change (path, L-1, n) of the scaled drift.
        """

    def scaled_drift(self, paths: Float[Tensor, "path image bead dim"]) -> Float[Tensor, "path interior n"]:
        """dt sqrt(D) s at the interior images: the displacement in z by the drift in one step."""
        x = paths[:, 1:-1].flatten(0, 1)
        score = torch.cat(self.chunks.map(self.score, x))
        scaled = self.dynamics.dt_ps * self.dynamics.diffusion_like(x).sqrt() * score
        return scaled.flatten(1).unflatten(0, (paths.shape[0], -1))

    def scaled_products(self, paths: Float[Tensor, "path image bead dim"]) -> tuple[VectorProduct, VectorProduct]:
        """The maps v -> K v and v -> K^T v at the interior images, without storing K; v has shape (path, L-1, n)."""
        x = paths[:, 1:-1].flatten(0, 1)
        root, dt = self.dynamics.diffusion_like(paths).sqrt(), self.dynamics.dt_ps

        def forward(v: Tensor) -> Tensor:
            w = root * v.reshape(x.shape)
            return (dt * root * torch.cat(self.chunks.map(self.score.jvp, x, w))).view_as(v)

        def backward(v: Tensor) -> Tensor:
            w = root * v.reshape(x.shape)
            products = self.chunks.map(lambda part, v: self.score.with_vjp(part)[1](v), x, w)
            return (dt * root * torch.cat(products)).view_as(v)

        return forward, backward

    def scaled_jacobian(self, paths: Float[Tensor, "path image bead dim"]) -> Float[Tensor, "path interior n n"]:
        """K = dt sqrt(D) J sqrt(D) at the interior images."""
        x = paths[:, 1:-1].flatten(0, 1)
        jacobian = torch.cat(self.chunks.map(self.score.jacobian, x))
        root = self.dynamics.diffusion_like(paths).sqrt().expand(x.shape[1:]).flatten()
        scaled = jacobian.mul_(self.dynamics.dt_ps * root.unsqueeze(0) * root.unsqueeze(1))
        return scaled.unflatten(0, (paths.shape[0], -1))


def identity_like(matrices: Float[Tensor, "*batch n n"]) -> Float[Tensor, "n n"]:
    """The identity, made on the device of the matrices in their precision."""
    return torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)


def check_paths(paths: Tensor, dynamics: Dynamics) -> None:
    """Refuse paths of a shape that the dynamics cannot have.

    Raises:
        PathError: The shape is not (path, image, bead, dim), or there are fewer than 2 images or another number of
            beads than the dynamics has.
    """
    if paths.ndim != 4:
        raise PathError(f"paths: got shape {tuple(paths.shape)}, expected (path, image, bead, dim).")
    if paths.shape[1] < 2:
        raise PathError(f"paths: got {paths.shape[1]} image(s), expected at least 2 (the two ends).")
    if paths.shape[2] != len(dynamics.diffusion):
        raise PathError(f"paths: got {paths.shape[2]} beads, the dynamics has {len(dynamics.diffusion)}.")


def _sum_terms(kinetic: Tensor, parts: list[ImageTerms], n_paths: int) -> ActionTerms:
    """Chunks of images summed into one value per path."""
    zero = torch.zeros_like(kinetic)

    def per_path(name: str) -> Tensor:
        values = [getattr(part, name) for part in parts]
        return zero if values[0] is None else torch.cat(values).unflatten(0, (n_paths, -1)).sum(1)

    divergence, error = per_path("divergence"), zero
    if divergence.ndim == 2:
        n_probes = divergence.shape[1]
        error = divergence.std(1) / math.sqrt(n_probes) if n_probes > 1 else zero
        divergence = divergence.mean(1)
    return ActionTerms(kinetic, per_path("drift"), per_path("cross"), divergence, error)


def _assemble_gradient(paths: Tensor, weighted: Tensor, parts: list[ImageTerms]) -> Tensor:
    """dS/dx with fixed ends from the kinetic part dx/(2 D dt) and the images' own derivatives."""
    gradient = torch.zeros_like(paths)
    along = weighted
    own = torch.cat([part.gradient for part in parts if part.gradient is not None]).view_as(weighted)
    if parts[0].gradient_dx is not None:
        crossing = torch.cat([part.gradient_dx for part in parts if part.gradient_dx is not None])
        along = weighted + crossing.view_as(weighted)
    gradient[:, 1:-1] = own[:, 1:] - along.diff(dim=1)
    return gradient
