"""A prior whose beads are the user's, in another order.

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


class ReorderedPrior(Prior):
    """The prior in the order of the user's beads.

    Args:
        prior: A prior in its own order.
        order: For each of its beads the index of the user's bead.
        topology: The user's beads.
    """

    def __init__(self, prior: Prior, order: Sequence[int], topology: Topology) -> None:
        self.kind, self.n_beads, self.n_dims = prior.kind, prior.n_beads, prior.n_dims
        self.temperature_k, self.conservative = prior.temperature_k, prior.conservative
        self.topology, self.one_thread = topology, prior.one_thread
        self._prior = prior
        self._order = torch.tensor(order)
        self._back = torch.argsort(self._order)
        if prior.masses_amu is not None:
            self.masses_amu = tuple(prior.masses_amu[i] for i in self._back.tolist())

    def at(self, t: float) -> Score:
        return _ReorderedScore(self._prior.at(t), self._order, self._back)

    def sigma_nm(self, t: float) -> float:
        return self._prior.sigma_nm(t)

    @property
    def generative(self) -> bool:
        return self._prior.generative

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        return self._prior.noise(x[:, self._order], t, generator)[:, self._back]

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        clean = self._prior.denoise(x_t[:, self._order], t, generator, steps=steps, shared_noise=shared_noise)
        return clean[:, self._back]

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        return self._prior.sample(count, generator, steps=steps)[:, self._back]

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> Prior:
        assert self.topology is not None
        return ReorderedPrior(self._prior.to(device=device, dtype=dtype), self._order.tolist(), self.topology)


class _ReorderedScore(Score):
    """See the module."""

    def __init__(self, score: Score, order: Tensor, back: Tensor) -> None:
        self.conservative, self.parallel = score.conservative, score.parallel
        self._score, self._order, self._back = score, order, back

    def __call__(self, x: Tensor) -> Tensor:
        return self._score(x[:, self._order])[:, self._back]

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        score, vjp = self._score.with_vjp(x[:, self._order])
        return score[:, self._back], lambda v: vjp(v[:, self._order])[:, self._back]

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return self._score.jvp(x[:, self._order], v[:, self._order])[:, self._back]

    def jacobian(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch n n"]:
        dim = x.shape[-1]
        back = (self._back.unsqueeze(1) * dim + torch.arange(dim)).flatten()
        return self._score.jacobian(x[:, self._order])[:, back][:, :, back]
