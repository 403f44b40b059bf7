"""What every back-end does: from the C-alpha positions of one chain to the positions of all its heavy atoms.

Hydrogens and the second oxygen of the C terminus are added later and in one way for all back-ends (`all_atoms`). A
back-end sees one image at a time and knows nothing of its neighbors along a path.
"""

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from tpsctl.errors import MissingDependencyError

HeavyAtoms = list[Mapping[str, Float[np.ndarray, "3"]]]
"""For each residue the positions of its heavy atoms by name, nm."""

AMINO_ACIDS = frozenset("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())
"""The residues that the back-ends know."""


class Reconstructor(ABC):
    """A program that adds the heavy atoms to C-alpha positions.

    Args:
        seed: Seed of its random numbers, if it draws any; the same seed gives the same structures.

    Attributes:
        name: Name on the command line and in manifests, which is also the name of the extra that installs it.
        package: The Python package that does the work.

    Raises:
        MissingDependencyError: The package is not installed.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._module = self._load()

    @property
    def version(self) -> str:
        """Version of the package."""
        return importlib.metadata.version(self.package)

    @abstractmethod
    def reconstruct(self, residues: Sequence[str], x: Float[np.ndarray, "residue 3"]) -> HeavyAtoms:
        """Add heavy atoms to one unbroken chain.

        Args:
            residues: Names of the residues, of `AMINO_ACIDS`; at least three.
            x: Positions of their C-alpha atoms, nm.

        Raises:
            ValidationError: The back-end gave no usable structure.
        """

    def _load(self) -> Any:
        try:
            return importlib.import_module(self.package)
        except ImportError as error:
            raise MissingDependencyError(
                f'back-end "{self.name}" needs package {self.package}, which is not installed ({error}). '
                f'Install: pip install "tpsctl[{self.name}]"'
            ) from None
