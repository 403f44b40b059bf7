"""How energies and forces were computed, for the manifest and for summaries."""

from dataclasses import dataclass

from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import MolecularSystem


@dataclass(frozen=True)
class EnergyProtocol:
    """A force field with the platform and precision of its evaluation.

    Attributes:
        force_field: Names of the files, or of the model potential.
        platform: OpenMM platform; "" for a model potential.
        precision: Precision of the forces: "double", "single" or "mixed"; "" for a model potential.
        solvent: Model and radii of the implicit solvent; "" in vacuum.
    """

    force_field: tuple[str, ...]
    platform: str = ""
    precision: str = ""
    solvent: str = ""

    @classmethod
    def of(cls, made: MolecularSystem, pool: ContextPool) -> "EnergyProtocol":
        """The protocol of a System whose energies and forces come from this pool."""
        return cls(made.parts, pool.platform, pool.precision, "" if made.solvent is None else str(made.solvent))

    def __str__(self) -> str:
        where = f"{self.solvent or 'vacuum'}; {self.platform} platform, {self.precision} precision"
        return " + ".join(self.force_field) + (f" ({where})" if self.platform else "")
