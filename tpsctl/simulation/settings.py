"""The settings of a simulation as plain data. They decide the result completely, and a digest identifies them."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from tpsctl.molecule.openmm_contexts import precision_of
from tpsctl.molecule.openmm_system import ForceField, MolecularSystem, as_source
from tpsctl.simulation.engine import Thermostat
from tpsctl.simulation.metadynamics import Hills


@dataclass(frozen=True)
class PlainSampling:
    """Molecular dynamics without bias."""

    kind: ClassVar[str] = "plain"


CollectiveVariables = tuple[str | tuple[str, str, str, str], ...]
"""One or two dihedrals, each a label such as "phi ALA2" or four atom labels."""


@dataclass(frozen=True, kw_only=True)
class WellTempered(ABC):
    """What all kinds of well-tempered metadynamics share, with production under the frozen bias.

    Attributes:
        walkers: Walkers that share one bias.
        duration_ps: Metadynamics per walker, ps.
        round_ps: Time after which walkers exchange their hills, ps.
        hill_height_kj_per_mol: Height of the first hill.
        hill_width_rad: Standard deviation of a hill.
        hill_interval_ps: Time between hills of one walker.
        bias_factor: gamma > 1; production sees the free energy divided by it.
        cap_kj_per_mol: Free energy above the minimum up to which the bias compensates.
        cap_width_kj_per_mol: Energy range over which the cap sets in.
        grid_points: Grid points per dihedral.
    """

    kind: ClassVar[str]

    walkers: int = 2
    duration_ps: float = 1500.0
    round_ps: float = 50.0
    hill_height_kj_per_mol: float = 3.0
    hill_width_rad: float = 0.3
    hill_interval_ps: float = 0.5
    bias_factor: float = 10.0
    cap_kj_per_mol: float = 75.0
    cap_width_kj_per_mol: float = 4.0
    grid_points: int = 48

    @property
    @abstractmethod
    def groups(self) -> tuple[CollectiveVariables, ...]:
        """The collective variables of every grid of the bias."""

    @property
    def rounds(self) -> int:
        """Number of metadynamics rounds."""
        return max(1, round(self.duration_ps / self.round_ps))

    @property
    def hills(self) -> Hills:
        """Height, width, interval and bias factor of the hills."""
        return Hills(self.hill_height_kj_per_mol, self.hill_width_rad, self.hill_interval_ps, self.bias_factor)


@dataclass(frozen=True, kw_only=True)
class MetadynamicsSampling(WellTempered):
    """Metadynamics on the joint grid of one or two dihedrals.

    Attributes:
        collective_variables: The dihedrals.
    """

    kind: ClassVar[str] = "metadynamics"

    collective_variables: CollectiveVariables

    @property
    def groups(self) -> tuple[CollectiveVariables, ...]:
        return (self.collective_variables,)


@dataclass(frozen=True, kw_only=True)
class ParallelBiasSampling(WellTempered):
    """Parallel-bias metadynamics on any number of dihedrals, one by one or in pairs.

    Attributes:
        biases: The dihedrals of every grid.
    """

    kind: ClassVar[str] = "parallel_bias"

    biases: tuple[CollectiveVariables, ...]

    @property
    def groups(self) -> tuple[CollectiveVariables, ...]:
        return self.biases


Sampling = PlainSampling | MetadynamicsSampling | ParallelBiasSampling
"""How rare states are reached."""


@dataclass(frozen=True)
class SimulationSettings:
    """The settings of a simulation.

    Attributes:
        structure: The structure file, or "capped_alanine" for the built-in molecule.
        force_field: Source of the OpenMM System, or the names of force-field XML files.
        sampling: Plain dynamics, or metadynamics of either kind.
        trajectories: Independent production trajectories.
        duration_ps: Production per trajectory, ps.
        equilibration_ps: Time at the start of each trajectory whose frames are discarded, ps.
        frame_interval_ps: Time between stored frames, ps.
        chunk_ps: Simulated time per file, ps; a run that is killed loses at most this much of each trajectory.
        dt_ps: Integration step, ps. Bonds are flexible, so at most about 0.001.
        friction_per_ps: Langevin friction, 1/ps.
        temperature_k: Temperature, K.
        seed: Seed of everything random.
        platform: OpenMM platform, or "auto".
        select: MDTraj selection of the atoms or beads of the structure file.
    """

    structure: str
    force_field: ForceField
    sampling: Sampling
    trajectories: int = 8
    duration_ps: float = 2000.0
    equilibration_ps: float = 20.0
    frame_interval_ps: float = 0.2
    chunk_ps: float = 200.0
    dt_ps: float = 0.001
    friction_per_ps: float = 1.0
    temperature_k: float = 300.0
    seed: int = 2026
    platform: str = "auto"
    select: str = "all"

    @property
    def frame_interval_steps(self) -> int:
        """Steps between stored frames."""
        return max(1, round(self.frame_interval_ps / self.dt_ps))

    @property
    def frames_per_chunk(self) -> int:
        """Frames in one file."""
        return max(1, round(self.chunk_ps / (self.frame_interval_steps * self.dt_ps)))

    @property
    def chunks(self) -> int:
        """Files per trajectory."""
        return max(1, round(self.duration_ps / self.chunk_duration_ps))

    @property
    def chunk_duration_ps(self) -> float:
        """Simulated time in one file, ps."""
        return self.frames_per_chunk * self.frame_interval_steps * self.dt_ps

    @property
    def thermostat(self) -> Thermostat:
        """Time step, friction and temperature of the dynamics."""
        return Thermostat(self.dt_ps, self.friction_per_ps, self.temperature_k)

    def describe(self, made: MolecularSystem, platform: str) -> dict[str, Any]:
        """Settings, platform, solvent, digest and hashes of all files, to be stored with the data, without folders."""
        import openmm

        contacts = made.contacts
        folding = {} if contacts is None else {"native_contacts": asdict(contacts)}
        return (
            self._content()
            | folding
            | {
                "platform": platform,
                "precision": precision_of(platform),
                "solvent": None if made.solvent is None else str(made.solvent),
                "files": [
                    {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in self.files
                ],
                "openmm": openmm.version.version,
                "constraints": None,
                "digest": self.digest(),
            }
        )

    @property
    def files(self) -> list[Path]:
        """Every file that decides the result: the structure, then all files of the force field, included ones too."""
        structure = Path(self.structure)
        return [*([structure] if structure.is_file() else []), *as_source(self.force_field).files()]

    def digest(self) -> str:
        """Hash of the settings; files enter with their content, so moving a file does not change the hash."""
        content = json.dumps(self._content(), sort_keys=True).encode()
        for file in self.files:
            content += file.read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        content["structure"] = Path(self.structure).name
        content["force_field"] = list(as_source(self.force_field).parts)
        if self.select == "all":
            del content["select"]  # so that data sets that were made before this setting existed keep their digest
        content["sampling"] = {"kind": self.sampling.kind} | asdict(self.sampling)
        return content
