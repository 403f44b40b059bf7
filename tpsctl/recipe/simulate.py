"""The recipe of `tpsctl simulate`: a molecule, a force field, how to sample, where to put the data set."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tpsctl.recipe.force_field import FORCE_FIELD, PLATFORM, ForceFieldSection
from tpsctl.recipe.section import Section, key


class CappedAlanineSection(Section):
    """Alanine dipeptide, ACE-ALA-NME, 22 atoms; built in, needs no file."""

    kind: Literal["capped_alanine"] = key("The built-in alanine dipeptide.")


class MoleculeFileSection(Section):
    """A molecule from a structure file with all atoms, or beads, that the force field wants."""

    kind: Literal["file"] = key("A structure file.")
    structure: Path = key("PDB, mmCIF or GRO file.")
    select: str = key('Atoms or beads, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)


class PlainSamplingSection(Section):
    """Molecular dynamics without a bias."""

    kind: Literal["plain"] = key("No bias.")


AtomLabel = Annotated[str, Field(min_length=1)]


CollectiveVariables = tuple[str | tuple[AtomLabel, AtomLabel, AtomLabel, AtomLabel], ...]


class WellTemperedSection(Section):
    """What both kinds of metadynamics share."""

    walkers: int = key("Walkers that share one bias.", "1", default=2, ge=1)
    duration_ps: float = key("Metadynamics of each walker.", "ps", default=1500.0, gt=0)
    round_ps: float = key("Time after which walkers exchange their hills.", "ps", default=50.0, gt=0)
    hill_height_kj_per_mol: float = key("Height of the first hill.", "kJ/mol", default=3.0, gt=0)
    hill_width_rad: float = key("Standard deviation of a hill.", "rad", default=0.3, gt=0)
    hill_interval_ps: float = key("Time between two hills of one walker.", "ps", default=0.5, gt=0)
    bias_factor: float = key("Production sees the free energy divided by this.", "1", default=10.0, gt=1)
    cap_kj_per_mol: float = key(
        "Free energy above the minimum up to which the bias compensates.", "kJ/mol", default=75.0, gt=0
    )
    cap_width_kj_per_mol: float = key("Range of energy over which the cap sets in.", "kJ/mol", default=4.0, gt=0)
    grid_points: int = key("Grid points per dihedral.", "1", default=48, ge=10)


class MetadynamicsSamplingSection(WellTemperedSection):
    """Well-tempered metadynamics first, then production under its frozen, hence known, bias."""

    kind: Literal["metadynamics"] = key("Metadynamics, then a frozen bias.")
    collective_variables: CollectiveVariables = key(
        'One or two dihedrals: names such as "phi ALA2", or four atoms such as "ALA2:N".', min_length=1, max_length=2
    )


class ParallelGridSection(Section):
    """One of the biases that act in parallel."""

    collective_variables: CollectiveVariables = key(
        'One or two dihedrals: names such as "phi ALA2", or four atoms such as "ALA2:N".', min_length=1, max_length=2
    )


class ParallelBiasSamplingSection(WellTemperedSection):
    """Parallel-bias metadynamics for more than two dihedrals, one by one or in pairs; then a frozen bias."""

    kind: Literal["parallel_bias"] = key("Many dihedrals, biased in parallel; then a frozen bias.")
    biases: tuple[ParallelGridSection, ...] = key(
        "Biases that act in parallel, each on one or two dihedrals, e.g. phi and psi of each residue.", min_length=2
    )


SamplingSection = PlainSamplingSection | MetadynamicsSamplingSection | ParallelBiasSamplingSection


class DynamicsSection(Section):
    """Langevin dynamics with flexible bonds."""

    force_field: ForceFieldSection = key(FORCE_FIELD)
    temperature_k: float = key("Temperature.", "K", gt=0)
    friction_per_ps: float = key("Langevin friction.", "1/ps", default=1.0, gt=0)
    dt_ps: float = key(
        "Integration step; bonds are flexible, so at most about 0.001 with hydrogens and 0.02 for C-alpha beads.",
        "ps",
        default=0.001,
        gt=0,
    )
    platform: str = key(PLATFORM, default="auto")


class ProductionSection(Section):
    """The trajectories that become the data set."""

    trajectories: int = key("Independent trajectories; training and test data are split by them.", "1", ge=1)
    duration_ps: float = key("Length of each trajectory.", "ps", gt=0)
    equilibration_ps: float = key("Time discarded at the start of a trajectory.", "ps", default=20.0, ge=0)
    frame_interval_ps: float = key("Time between two stored frames.", "ps", default=0.2, gt=0)
    chunk_ps: float = key("Simulated time per file; a kill can cost this much.", "ps", default=200.0, gt=0)


class DataOutputSection(Section):
    """Where the data set goes."""

    data: Path = key("Data set file (.npz); its parts are kept beside it until it is done.")


class SimulateRecipe(Section):
    """A complete description of one `tpsctl simulate` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the data set.", min_length=1)
    seed: int = key("Seed of all random numbers.", "1", ge=0)
    molecule: Annotated[CappedAlanineSection | MoleculeFileSection, Field(discriminator="kind")] = key(
        "What is simulated."
    )
    dynamics: DynamicsSection = key("The equation of motion.")
    sampling: Annotated[SamplingSection, Field(discriminator="kind")] = key("How rare states are reached.")
    production: ProductionSection = key("Number and length of the trajectories.")
    output: DataOutputSection = key("The file to write.")
