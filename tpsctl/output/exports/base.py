"""What an export is made of, and the interface of all formats: one file per format."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class ExportedPath:
    """One path on its way to another program.

    Attributes:
        run: Name of the run.
        number: Number of the path.
        topology: Its beads.
        x: All images, nm.
        dt_ps: Time between two images, ps.
        temperature_k: Temperature of the velocities, K.
        seed: Seed of the velocities.
    """

    run: str
    number: int
    topology: Topology
    x: Float[Tensor, "image bead 3"]
    dt_ps: float
    temperature_k: float
    seed: int

    @property
    def stem(self) -> str:
        """The beginning of the names of files about this path."""
        return f"path_{self.number:04d}"

    @property
    def title(self) -> str:
        """A title for files."""
        return f"{self.run}, path {self.number}, {len(self.x)} images"

    @property
    def times_ps(self) -> list[float]:
        """Time of every image, ps."""
        return [image * self.dt_ps for image in range(len(self.x))]

    @property
    def velocities(self) -> Float[Tensor, "image bead 3"]:
        """Velocities drawn for every image from the Maxwell-Boltzmann distribution, nm/ps.

        Their standard deviation is sqrt(kT/m). They say nothing about the path, which has no momenta of its own.
        """
        masses = torch.tensor(self.topology.masses_amu, dtype=torch.float64)
        spread = (thermal_energy(self.temperature_k) / masses).sqrt()
        generator = torch.Generator().manual_seed(self.seed + self.number)
        return spread[:, None] * torch.randn(self.x.shape, generator=generator, dtype=torch.float64)


class Export(ABC):
    """A format.

    Attributes:
        name: Its name on the command line, and that of the folder it is written to.
        help: How the files are used, in sentences, for the README of the export.
    """

    name: str
    help: str

    @abstractmethod
    def write(self, folder: Path, path: ExportedPath) -> None:
        """Write the files of one path into a new folder."""
