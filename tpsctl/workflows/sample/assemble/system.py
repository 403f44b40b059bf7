"""The two ends and what they are made of, from the section `endpoints`."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.topology import Topology
from tpsctl.output.trajectory import dummy_topology
from tpsctl.recipe.endpoints import (
    MoleculeEndpointsSection,
    PointEndpointsSection,
    StructureEndSection,
    TrajectoryEndSection,
)


@dataclass(frozen=True)
class System:
    """The two ends and what they are made of.

    Attributes:
        topology: Atoms or beads; dummy atoms for a model potential.
        ends: Positions of both ends, nm, float64.
        is_molecule: False for a point in a model potential.
        notes: What a user should know about the ends, one sentence each.
        atom_map: How the atoms of the ends were matched; None for a model potential.
    """

    topology: Topology
    ends: Float[Tensor, "2 bead dim"]
    is_molecule: bool
    notes: tuple[str, ...] = ()
    atom_map: Any = None


def make_system(section: MoleculeEndpointsSection | PointEndpointsSection) -> System:
    """Both ends, matched and superposed."""
    if isinstance(section, PointEndpointsSection):
        points = (section.start.position_nm, section.end.position_nm)
        if len(points[0]) != len(points[1]):
            raise RecipeError(
                f"endpoints: start has {len(points[0])} coordinates, end has {len(points[1])}. Give equally many."
            )
        return System(dummy_topology(1), torch.tensor(points, dtype=torch.float64).unsqueeze(1), is_molecule=False)
    from tpsctl.endpoints.ends import align
    from tpsctl.endpoints.load import load_structure

    def load(end: StructureEndSection | TrajectoryEndSection) -> Any:
        if isinstance(end, TrajectoryEndSection):
            return load_structure(end.trajectory, frame=end.frame, topology=end.topology, select=section.select)
        return load_structure(end.structure, frame=end.frame, select=section.select)

    ends = align(load(section.start), load(section.end), equivalent_atoms=section.equivalent_atoms)
    return System(ends.topology, ends.x, is_molecule=True, notes=ends.notes, atom_map=ends.atom_map)
