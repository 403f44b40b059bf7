"""A published network as a prior: its own lengths and times outside, nm and t in [0, 1] inside tpsctl.

With y = (x - offset) / scale, and eps_hat the noise the network sees in y,

    score(x, t) = -eps_hat(y, t) / (sigma_t scale)

x is used as it is, not scaled by alpha: at the small t of path sampling alpha is 1 - sigma^2/2, and this is the
protocol the models were published with. What a network puts out and which clock it reads differ:

    diffusion        eps_hat = f(y, t)                       clock t, i.e. level / levels
    flow matching    eps_hat = y - (1 - t) f(y, 1 - t)       clock 1 - t, from noise (0) to data (1)

Networks of molecules see y centered, and everything they give is centered; those of model potentials do not.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.levels import Levels
from tpsctl.score.reverse_process import in_chunks
from tpsctl.score.schedule import Flow, NoiseSchedule

_CHUNK = 512
"""Configurations per network call while sampling."""
_LEVEL = ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")


class Field(ABC):
    """A network as a function of positions in its own length and of its own time.

    Attributes:
        n_beads: Beads per configuration.
        n_dims: Coordinates per bead.
        conservative: Whether the output is a gradient.
        centered: Whether the center of mass is taken out.
    """

    n_beads: int
    n_dims: int
    conservative: bool
    centered: bool

    @abstractmethod
    def __call__(self, y: Float[Tensor, "batch bead dim"], time: float) -> Float[Tensor, "batch bead dim"]:
        """Output of the network, differentiable if y is."""

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor on the network's device in its precision."""

    @abstractmethod
    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        """Compute on this device in this precision from now on."""

    def energy(self, y: Float[Tensor, "batch bead dim"], time: float) -> Float[Tensor, " batch"] | None:
        """E with output = -dE/dy, where the network has one."""
        return None

    def gauge(self, y: Tensor) -> Tensor:
        """y without its center of mass, if that means nothing to the network."""
        return center(y) if self.centered else y


class PublishedPrior(Prior):
    """Score, noise and samples from a published network.

    Args:
        kind: "diffusion" or "flow_matching".
        field: The network.
        tables: For diffusion: the checkpoint's tables (see `noising.TABLES`).
        scale_nm: Length of one network unit, nm; one value, or one per dimension.
        offset_nm: Position of the network's origin, nm, likewise.
        temperature_k: Temperature of the training data, K; None if unknown.
        topology: The molecule, where the beads were matched to one.
    """

    def __init__(
        self,
        kind: str,
        field: Field,
        tables: dict[str, Tensor],
        *,
        scale_nm: tuple[float, ...],
        offset_nm: tuple[float, ...] = (0.0,),
        temperature_k: float | None = None,
        topology: Topology | None = None,
    ) -> None:
        self.kind = kind
        self.field = field
        self.tables = {name: table.double() for name, table in tables.items()}
        self.schedule: NoiseSchedule = Flow()
        if kind == "diffusion":
            self.schedule = Levels(self.tables["sqrt_alphas_cumprod"], self.tables["sqrt_one_minus_alphas_cumprod"])
        self.temperature_k = temperature_k
        self.topology = topology
        self.n_beads, self.n_dims, self.conservative = field.n_beads, field.n_dims, field.conservative
        self._scale, self._offset = torch.tensor(scale_nm, dtype=torch.float64), torch.tensor(offset_nm).double()

    @property
    def generative(self) -> bool:
        return True

    def at(self, t: float) -> Score:
        self._check(t)
        if self._sigma(t) == 0:
            raise PriorError(
                "diffusion_time: got 0, where this prior has no noise and hence no score. Published runs use 0.05."
            )
        return AutogradScore(lambda x: self._score(x, t), conservative=self.conservative, parallel=True)

    def sigma_nm(self, t: float) -> float:
        """Width of the noise relative to clean positions, nm (root mean square over dimensions)."""
        self._check(t)
        relative = float(self.schedule.relative_sigma(torch.tensor(t, dtype=torch.float64)))
        return relative * float(self._scale.square().mean().sqrt())

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        self._check(t)
        y = self.to_network(x)
        return self.from_network(self.mix(y, torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y), t))

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        self._check(t)
        y = self.to_network(x_t).to(self.field.like)

        def reversed_(part: Tensor) -> Tensor:
            return self._reverse(part, t, generator, steps, shared_noise=shared_noise)

        clean = in_chunks(reversed_, y, _CHUNK, generator, shared_noise=shared_noise)
        return self.from_network(clean.to(x_t))

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 400) -> Tensor:
        y = self.field.gauge(
            torch.randn(count, self.n_beads, self.n_dims, generator=generator, dtype=torch.float64).to(self._scale)
        )
        return self.denoise(self.from_network(y), 1.0, generator, steps=steps)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "PublishedPrior":
        self.field.to(device=device, dtype=dtype)
        return self

    def to_network(self, x: Tensor) -> Tensor:
        """Positions (nm) in the network's own length."""
        return self.field.gauge((x - self._offset.to(x)) / self._scale.to(x))

    def from_network(self, y: Tensor) -> Tensor:
        """Inverse of `to_network`, but for the center of mass."""
        return y * self._scale.to(y) + self._offset.to(y)

    def noise_estimate(self, y: Tensor, t: float) -> Tensor:
        """eps_hat at positions in the network's own length."""
        if self.kind == "diffusion":
            return self.field(y, t)
        return self.field.gauge(y) - (1 - t) * self.field(y, 1 - t)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        """log p_t(x) up to a constant, (batch,), where the network has an energy.

        For flows eps_hat = y - s f with f = -dE/dy, so its potential is |y|^2/2 + s E.
        """
        y, time = self.to_network(x), t if self.kind == "diffusion" else 1 - t
        energy = self.field.energy(y, time)
        if energy is None:
            return None
        sigma = self._sigma(t)
        if self.kind == "diffusion":
            return energy / sigma
        return -(y.square().sum((1, 2)) / 2 + time * energy) / sigma

    def mix(self, y: Tensor, noise: Tensor, t: float) -> Tensor:
        """alpha y + sigma noise, in the network's own length."""
        alpha = float(self.schedule.alpha(torch.tensor(t, dtype=torch.float64)))
        return alpha * self.field.gauge(y) + self._sigma(t) * self.field.gauge(noise)

    def posterior(self, y: Tensor, level: int) -> tuple[Tensor, float]:
        """Mean and log-variance of x_{i-1} given x_i, in the network's own length; diffusion only."""
        table = {name: float(values[level]) for name, values in self.tables.items()}
        estimate = self.field.gauge(self.noise_estimate(y, level / self._n_levels).detach())
        clean = table["sqrt_recip_alphas_cumprod"] * y - table["sqrt_recipm1_alphas_cumprod"] * estimate
        mean = table["posterior_mean_coef1"] * self.field.gauge(clean) + table["posterior_mean_coef2"] * y
        return mean, table["posterior_log_variance_clipped"]

    def _score(self, x: Tensor, t: float) -> Tensor:
        y = (x - self._offset.to(x)) / self._scale.to(x)
        return -self.noise_estimate(y, t) / (self._sigma(t) * self._scale.to(x))

    def _reverse(self, y: Tensor, t: float, generator: torch.Generator, steps: int, *, shared_noise: bool) -> Tensor:
        if self.kind == "diffusion":
            level = min(round(t * self._n_levels), self._n_levels - 1)
            return self.ancestral(y, level, generator, steps=steps, shared_noise=shared_noise)
        return self.flow_to_data(y, t, steps=steps)

    def ancestral(
        self,
        y: Tensor,
        level: int,
        generator: torch.Generator,
        *,
        steps: int,
        temperature: float = 1.0,
        shared_noise: bool = False,
    ) -> Tensor:
        """Reverse process from a level to data in at most `steps` levels, in the network's own length.

        Args:
            y: Configurations at `level`.
            level: Where to start.
            generator: Randomness (CPU).
            steps: With `level` + 1 or more, every level is visited and the published tables are used.
            temperature: Factor of the noise; 0 gives the chain of means.
            shared_noise: Whether all configurations see the same noise.
        """
        visited = torch.linspace(level, 0, min(steps, level + 1)).round().long().tolist()
        for here, there in zip(visited, [*visited[1:], -1], strict=True):
            mean, log_variance = self.posterior(y, here) if there == here - 1 else self._leap(y, here, there)
            if there >= 0:  # the last step takes the mean
                shape = y.shape[1:] if shared_noise else y.shape
                noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(y)
                mean = mean + temperature * math.exp(0.5 * log_variance) * noise
            y = self.field.gauge(mean)
        return y

    def flow_to_data(self, y: Tensor, t: float, *, steps: int) -> Tensor:
        """Probability flow from t to data by the midpoint rule, in the network's own length; flow matching only."""
        h, time = t / steps, 1 - t
        for _ in range(steps):
            middle = y + 0.5 * h * self.field(y, time).detach()
            y = self.field.gauge(y + h * self.field(middle, time + 0.5 * h).detach())
            time += h
        return y

    def _leap(self, y: Tensor, here: int, there: int) -> tuple[Tensor, float]:
        """As `posterior`, from level `here` to a level further down than the next; to data if that is -1."""
        alpha_here, sigma_here = (float(self.tables[name][here]) for name in _LEVEL)
        alpha_there, sigma_there = (float(self.tables[name][there]) for name in _LEVEL) if there >= 0 else (1.0, 0.0)
        estimate = self.field.gauge(self.noise_estimate(y, here / self._n_levels).detach())
        clean = self.field.gauge((y - sigma_here * estimate) / alpha_here)
        ratio = alpha_here / alpha_there
        mean = (alpha_there * (1 - ratio**2) * clean + ratio * sigma_there**2 * y) / sigma_here**2
        return mean, 2 * math.log(max(sigma_there * (1 - ratio**2) ** 0.5 / sigma_here, 1e-10))

    @property
    def _n_levels(self) -> int:
        return len(self.tables["sqrt_alphas_cumprod"])

    def _sigma(self, t: float) -> float:
        return float(self.schedule.sigma(torch.tensor(t, dtype=torch.float64)))

    def _check(self, t: float) -> None:
        if not 0 <= t <= 1:
            raise PriorError(f"diffusion_time: got {t}, expected a value in [0, 1] (0 = data).")
