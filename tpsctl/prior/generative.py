"""A trained prior: an energy network on noised structures with its schedule.

Diffusion and flow matching differ in the schedule and in how training weighs noise widths; what both
learn is the energy U(y; s) of y = x_t / alpha at relative width s = sigma / alpha, so one class serves both.
"""

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.hessian import hessian
from tpsctl.networks.internal_energy.network import InternalEnergy
from tpsctl.prior.base import Prior
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.reverse_process import geometric_widths, in_chunks, reverse, standard_normal
from tpsctl.score.schedule import NoiseSchedule

KINDS = ("diffusion", "flow_matching")
_CHUNK = 1000
"""Configurations per network call while sampling."""

_CORRECTIONS = 24
"""Langevin steps at every width of `sample`; without them basins keep the weights they got under heavy noise."""

_JACOBIAN_CHUNK = 50
"""Configurations whose Hessians are computed together; fewer waste calls, more leave the cache."""


class GenerativePrior(Prior):
    """Score, noise and samples from an `InternalEnergy`.

    Args:
        kind: "diffusion" or "flow_matching".
        network: Energy in kT for positions and widths in nm.
        schedule: Schedule in nm.
        topology: The molecule.
        temperature_k: Temperature of the training data, K.
        smallest_width_nm: Smallest noise width trained on, nm; smaller ones are refused.
    """

    def __init__(
        self,
        kind: str,
        network: InternalEnergy,
        schedule: NoiseSchedule,
        topology: Topology,
        temperature_k: float,
        smallest_width_nm: float,
    ) -> None:
        self.kind = kind
        self.network = network.eval().requires_grad_(False)
        self.schedule = schedule
        self.topology = topology
        self.n_beads, self.n_dims = topology.n_atoms, 3
        self.temperature_k = temperature_k
        self.conservative = True
        self.one_thread = True
        self.smallest_width_nm = smallest_width_nm

    def at(self, t: float) -> Score:
        width = self.sigma_nm(t)
        if width < self.smallest_width_nm * (1 - 1e-6):
            smallest = self.time_of(self.smallest_width_nm)
            raise PriorError(
                f"diffusion_time: got {t:g}, noise of {width:.2g} nm; this prior was trained down to "
                f"{self.smallest_width_nm:g} nm. Use diffusion_time >= {smallest:.3g}."
            )
        return _NetworkScore(self, width)

    def sigma_nm(self, t: float) -> float:
        if not 0 <= t <= 1:
            raise PriorError(f"diffusion_time: got {t}, expected a value in [0, 1] (0 = data).")
        return float(self.schedule.relative_sigma(torch.tensor(t, dtype=torch.float64)))

    def time_of(self, width_nm: float) -> float:
        """Diffusion time at which the noise relative to clean positions has this width, nm."""
        return float(self.schedule.time_of(torch.tensor(width_nm, dtype=torch.float64)))

    @property
    def largest_width_nm(self) -> float:
        """Largest noise width trained on, nm: it swamps the molecule."""
        return float(self.network.linear.log_sigmas[-1].exp())

    @property
    def generative(self) -> bool:
        return True

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = float(self.schedule.alpha(time)), float(self.schedule.sigma(time))
        return alpha * x + sigma * standard_normal(x, generator)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        width = self.sigma_nm(t)
        y = x_t / float(self.schedule.alpha(torch.tensor(t, dtype=torch.float64)))
        if width <= self.smallest_width_nm:
            return y
        parameter = next(self.network.parameters())
        return self._reverse(y.to(parameter), width, generator, steps, shared_noise=shared_noise).to(x_t)

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        parameter = next(self.network.parameters())
        shape = torch.empty(count, self.n_beads, self.n_dims, dtype=parameter.dtype, device=parameter.device)
        width = self.largest_width_nm
        return self._reverse(
            width * standard_normal(shape, generator), width, generator, steps, corrections=_CORRECTIONS
        )

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "GenerativePrior":
        self.network.to(device=device, dtype=dtype)
        return self

    def score_at_width(self, y: Tensor, width: float) -> Tensor:
        """Score of y with noise of this width (nm), 1/nm; differentiable where y requires a gradient."""
        with torch.enable_grad():
            create_graph = y.requires_grad
            y = y if create_graph else y.detach().requires_grad_(True)
            sigma = torch.full((len(y),), width, dtype=y.dtype, device=y.device)
            (gradient,) = torch.autograd.grad(self.network(y, sigma).sum(), y, create_graph=create_graph)
        return -gradient

    def _reverse(
        self,
        y: Tensor,
        width: float,
        generator: torch.Generator,
        steps: int,
        *,
        corrections: int = 0,
        shared_noise: bool = False,
    ) -> Tensor:
        widths = geometric_widths(width, self.smallest_width_nm, steps)

        def reversed_(part: Tensor) -> Tensor:
            return reverse(
                self._detached_score, part, widths, generator, corrections=corrections, shared_noise=shared_noise
            )

        return in_chunks(reversed_, y, _CHUNK, generator, shared_noise=shared_noise)

    def _detached_score(self, y: Tensor, width: float) -> Tensor:
        return self.score_at_width(y, width).detach()


class _NetworkScore(AutogradScore):
    """Score of a network at one width, with its dense Jacobian from `hessian`."""

    def __init__(self, prior: GenerativePrior, width: float) -> None:
        super().__init__(lambda x: prior.score_at_width(x, width))
        self._network, self._width = prior.network, width

    def jacobian(self, x: Tensor) -> Tensor:
        parts = x.detach().split(_JACOBIAN_CHUNK)
        return torch.cat([-hessian(self._network, part, self._width).detach() for part in parts])
