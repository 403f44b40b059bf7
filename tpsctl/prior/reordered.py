"""A prior that has the user's beads in another order.

With P the permutation that puts the user's beads into the prior's order,

    s(x) = P^T s_prior(P x) ,     J(x) = P^T J_prior(P x) P .
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.score.base import Score, VectorProduct
from tpsctl.score.constant import Constant


class ReorderedPrior(Prior):
    """Wraps a prior so that it takes and returns configurations in the user's order of beads.

    Args:
        prior: A prior in its own order.
        order: For each of its beads, the index of the same bead in the user's order.
        topology: The molecule in the user's order.
    """

    def __init__(self, prior: Prior, order: Sequence[int], topology: Topology) -> None:
        self.kind, self.n_beads, self.n_dims = prior.kind, prior.n_beads, prior.n_dims
        self.temperature_k, self.conservative = prior.temperature_k, prior.conservative
        self.topology, self.one_thread = topology, prior.one_thread
        self._prior = prior
        self._order = Constant(torch.tensor(order))
        self._back = Constant(torch.argsort(self._order.value))
        if prior.masses_amu is not None:
            self.masses_amu = tuple(prior.masses_amu[i] for i in self._back.value.tolist())

    def at(self, t: float) -> Score:
        return _ReorderedScore(self._prior.at(t), self._order, self._back)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        return self._prior.log_density(_taken(x, self._order), t)

    def sigma_nm(self, t: float) -> float:
        return self._prior.sigma_nm(t)

    @property
    def generative(self) -> bool:
        return self._prior.generative

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        return _taken(self._prior.noise(_taken(x, self._order), t, generator), self._back)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        noised = _taken(x_t, self._order)
        return _taken(self._prior.denoise(noised, t, generator, steps=steps, shared_noise=shared_noise), self._back)

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        return _taken(self._prior.sample(count, generator, steps=steps), self._back)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> Prior:
        assert self.topology is not None
        return ReorderedPrior(self._prior.to(device=device, dtype=dtype), self._order.value.tolist(), self.topology)


class _ReorderedScore(Score):
    """The score s(x) = P^T s_prior(P x), and its derivatives (see the module)."""

    def __init__(self, score: Score, order: Constant, back: Constant) -> None:
        self.conservative, self.parallel = score.conservative, score.parallel
        self._score, self._order, self._back = score, order, back

    def __call__(self, x: Tensor) -> Tensor:
        return _taken(self._score(_taken(x, self._order)), self._back)

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        score, vjp = self._score.with_vjp(_taken(x, self._order))
        return _taken(score, self._back), lambda v: _taken(vjp(_taken(v, self._order)), self._back)

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return _taken(self._score.jvp(_taken(x, self._order), _taken(v, self._order)), self._back)

    def jacobian(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch n n"]:
        dim = x.shape[-1]
        back = (self._back.on(x.device).unsqueeze(1) * dim + torch.arange(dim, device=x.device)).flatten()
        return self._score.jacobian(_taken(x, self._order))[:, back][:, :, back]


def _taken(x: Float[Tensor, "batch bead dim"], beads: Constant) -> Float[Tensor, "batch bead dim"]:
    """The beads of x in another order."""
    return x[:, beads.on(x.device)]
