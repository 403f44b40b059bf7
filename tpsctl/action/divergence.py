"""Divergence term C = (dt/2) sum_a D_a div_a s_a(x), exact or by Hutchinson's estimator.

The sum over a is the trace of J weighted by D. It follows from quadratic forms w^T J w of vectors w with entries
sqrt(D_j) v_j: their sum over all unit vectors v is the weighted trace exactly, and their mean over Rademacher probes v
(random entries +-1) is an unbiased estimate of it, exact for a diagonal J. The gradient of a form,

    d(w^T J w)/dx = d/de [ J(x + e w)^T w ] at e = 0 ,

is a central difference of two products with the transposed Jacobian, so no third derivative of the model is needed.

Source: Hutchinson, Commun. Stat. Simul. Comput. 19 (1990) 433.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tpsctl.score.base import Score, VectorProduct
from tpsctl.score.constant import Constant


class Divergence(ABC):
    """A set of vectors whose quadratic forms make up the weighted trace of J.

    Args:
        step_nm: Length of the largest displacement in the gradient's central difference, nm.
    """

    def __init__(self, *, step_nm: float = 1e-4) -> None:
        self._step_nm = step_nm

    @abstractmethod
    def vectors(self, x: Tensor, index: Tensor) -> Tensor:
        """v of shape (vector, image, bead, dim) for images x at the places `index` (on the host) of their paths."""

    @abstractmethod
    def combine(self, forms: Tensor) -> Tensor:
        """Independent estimates (image, probe) of the weighted trace from quadratic forms (image, vector)."""

    @property
    @abstractmethod
    def weight(self) -> float:
        """Factor of one quadratic form in the estimate: d estimate / d form."""

    def value(self, x: Tensor, vjp: VectorProduct, root: Tensor, index: Tensor) -> Tensor:
        """Estimates (image, probe) of sum_a D_a div_a s_a, 1/ps.

        Args:
            x: Images (image, bead, dim), nm.
            vjp: The map v -> J^T v at these images.
            root: sqrt(D), (bead, 1), nm/sqrt(ps).
            index: Places of the images in their paths, on the host.
        """
        forms = [(root * v * vjp(root * v)).sum((1, 2)) for v in self.vectors(x, index)]
        return self.combine(torch.stack(forms, dim=1))

    def gradient(self, x: Tensor, score: Score, root: Tensor, index: Tensor) -> Tensor:
        """Gradient of the mean estimate, (image, bead, dim), 1/(ps nm); arguments as in `value`."""
        total = torch.zeros_like(x)
        for v in self.vectors(x, index):
            w = root * v
            e = self._step_nm / w.abs().amax((1, 2), keepdim=True)
            ahead, behind = score.with_vjp(x + e * w)[1], score.with_vjp(x - e * w)[1]
            total += (ahead(w) - behind(w)) / (2 * e)
        return self.weight * total


class ExactDivergence(Divergence):
    """The exact weighted trace from all n = bead * dim unit vectors: n products per image, so for small systems."""

    def vectors(self, x: Tensor, index: Tensor) -> Tensor:
        n = x[0].numel()
        unit = torch.eye(n, dtype=x.dtype, device=x.device).view(n, 1, *x.shape[1:])
        return unit.expand(n, *x.shape)

    def combine(self, forms: Tensor) -> Tensor:
        return forms.sum(1, keepdim=True)

    @property
    def weight(self) -> float:
        return 1.0


class HutchinsonDivergence(Divergence):
    """Hutchinson's estimate from Rademacher probes.

    The probes are the same for every path and every step, so the action stays a fixed function. The estimate at the
    minimum is biased by the minimization; for a number to report, evaluate the action again with another seed.

    Args:
        probes: Number of probes; the spread over them is the error bar, so at least 2.
        seed: Seed of the probes.
        step_nm: Length of the largest displacement in the gradient's central difference, nm.
    """

    def __init__(self, *, probes: int = 8, seed: int = 0, step_nm: float = 1e-4) -> None:
        super().__init__(step_nm=step_nm)
        self._probes, self._seed = probes, seed
        self._drawn: Constant | None = None

    def vectors(self, x: Tensor, index: Tensor) -> Tensor:
        drawn, needed = self._drawn, int(index.max()) + 1
        if drawn is None or drawn.value.shape[0] < needed or drawn.value.shape[2:] != x.shape[1:]:
            drawn = self._drawn = Constant(
                self._draw(needed, x)
            )  # `drawn` is local: another thread may replace the attribute
        return drawn.like(x)[index.to(x.device, non_blocking=True)].transpose(0, 1)

    def combine(self, forms: Tensor) -> Tensor:
        return forms

    @property
    def weight(self) -> float:
        return 1.0 / self._probes

    def _draw(self, images: int, x: Tensor) -> Tensor:
        """Signs (image, probe, bead, dim), drawn image by image, so that a longer path begins with the same signs."""
        generator = torch.Generator().manual_seed(self._seed)
        shape = (self._probes, *x.shape[1:])
        return torch.stack([torch.randint(0, 2, shape, generator=generator) * 2 - 1 for _ in range(images)])
