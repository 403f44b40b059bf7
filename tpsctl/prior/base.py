"""The interface of a prior: a score at diffusion time t and, for a generative prior, noise and samples.

A prior describes one molecule (or model system) at one temperature. Diffusion time t runs from 0 (data)
to 1 (noise) for every kind of prior; the schedule gives the amount of noise at each t. Positions are in
nm at this interface, whatever unit a network uses internally.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.potentials import NamedPotential
from tpsctl.score.base import Score


class Prior(ABC):
    """A source of scores.

    Attributes:
        kind: Name used in recipes, e.g. "diffusion" or "mueller_brown".
        n_beads: Beads (or atoms) per configuration.
        n_dims: Coordinates per bead: 3, or fewer for a model potential.
        temperature_k: Temperature of the equilibrium that the score belongs to, K; None if it is unknown or undefined.
        conservative: Whether the score is the gradient of a scalar.
        topology: The molecule; None if the prior does not know it.
        masses_amu: Masses of the beads if the prior is a force field with masses; None otherwise.
        potential: The potential energy of the model system that the prior describes; None if there is none.
        one_thread: Whether its operations are so short that splitting them among CPU threads costs more than it saves.
    """

    kind: str
    n_beads: int
    n_dims: int
    temperature_k: float | None
    conservative: bool
    topology: Topology | None = None
    masses_amu: tuple[float, ...] | None = None
    potential: NamedPotential | None = None
    one_thread: bool = False

    @abstractmethod
    def at(self, t: float) -> Score:
        """The score at diffusion time t in [0, 1], 0 = data.

        Raises:
            PriorError: The prior has no score at this t.
        """

    def sigma_nm(self, t: float) -> float:
        """Standard deviation of the noise at t relative to clean positions (sigma/alpha), nm.

        Raises:
            PriorError: The prior has no diffusion time, or t is outside of [0, 1].
        """
        raise PriorError(f'prior "{self.kind}" has no diffusion time: it is a force field. Use diffusion_time: 0.')

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        """log p_t (batch,) of configurations x (batch, bead, dim), nm, up to a constant, whose gradient is the score.

        None if it is unknown, as for networks that give the score itself, or if the score is not a gradient.
        """
        return None

    @property
    def generative(self) -> bool:
        """Whether `noise`, `denoise` and `sample` work."""
        return False

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """Add the noise of diffusion time t to clean configurations x (batch, bead, dim), nm.

        The result is alpha x + sigma noise: it is not divided by alpha.

        Raises:
            PriorError: The prior is not generative.
        """
        raise self._not_generative("noise")

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Turn noised configurations at diffusion time t into clean ones by the reverse process, nm.

        Args:
            x_t: Noised configurations (batch, bead, dim), nm.
            t: Their diffusion time.
            generator: Random number generator (CPU).
            steps: Number of steps; ignored by priors that need no steps.
            shared_noise: Whether all configurations get the same random numbers, so that similar ones stay similar.

        Raises:
            PriorError: The prior is not generative.
        """
        raise self._not_generative("denoise")

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        """Draw independent samples (count, bead, dim), nm, starting from pure noise.

        Raises:
            PriorError: The prior is not generative.
        """
        raise self._not_generative("sample")

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "Prior":
        """Let the prior compute on this device in this precision, and return it."""
        return self

    def _not_generative(self, what: str) -> PriorError:
        return PriorError(
            f'prior "{self.kind}" cannot {what}: it is no generative model. '
            "Use a guess that needs none (linear, idpp, trajectory)."
        )
