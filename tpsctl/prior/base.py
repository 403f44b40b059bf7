"""What tpsctl asks of a prior: a score at diffusion time t, and, if generative, noise and samples.

A prior knows the molecule (or model system) it was made for, at one temperature. Diffusion time
t runs from 0 (data) to 1 (noise) for every kind; the schedule says how much noise that is.
Positions are in nm at this interface whatever the network uses inside.
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
        temperature_k: Temperature of the equilibrium the score belongs to, K; None if scale-free.
        conservative: Whether the score is the gradient of a scalar.
        topology: The molecule, where the prior knows it; None otherwise.
        masses_amu: Masses of the beads, where the prior is a force field that has some; None otherwise.
        potential: The potential energy of the model system it stands for, where there is one.
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
        """The score at diffusion time t in [0, 1], 0 = data."""

    def sigma_nm(self, t: float) -> float:
        """Standard deviation of the noise at t relative to clean positions (sigma/alpha), nm."""
        raise PriorError(f'prior "{self.kind}" has no diffusion time: it is a force field. Use diffusion_time: 0.')

    @property
    def generative(self) -> bool:
        """Whether `noise`, `denoise` and `sample` work."""
        return False

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """Noised configurations at level t of clean ones x (batch, bead, dim), in the prior's scale alpha*x, nm."""
        raise self._not_generative("noise")

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Clean configurations from noised ones at level t, by the reverse process, nm.

        Args:
            x_t: Noised configurations (batch, bead, dim), nm.
            t: Their diffusion time.
            generator: Randomness (CPU).
            steps: Steps of the reverse process, where it has steps.
            shared_noise: Whether all configurations see the same noise, so that neighbors stay neighbors.
        """
        raise self._not_generative("denoise")

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        """Independent samples (count, bead, dim) from pure noise, nm."""
        raise self._not_generative("sample")

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "Prior":
        """The same prior computing on this device in this precision."""
        return self

    def _not_generative(self, what: str) -> PriorError:
        return PriorError(
            f'prior "{self.kind}" cannot {what}: it is no generative model. '
            "Use a guess that needs none (linear, idpp, trajectory)."
        )
