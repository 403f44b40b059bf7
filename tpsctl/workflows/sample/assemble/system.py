"""The ends, or pairs of ends that the paths take in turn, and what they are made of, from the section `endpoints`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.structure import Structure
from tpsctl.errors import RecipeError
from tpsctl.molecule.topology import Topology
from tpsctl.output.trajectory import dummy_topology
from tpsctl.recipe.endpoints import (
    MoleculeEndpointsSection,
    MoleculeEndSection,
    PointEndpointsSection,
    StructureEndSection,
    StructureSetSection,
    TrajectoryEndSection,
    TrajectorySetSection,
)


@dataclass(frozen=True)
class System:
    """The two ends and what they are made of.

    Attributes:
        topology: Atoms or beads; dummy atoms for a model potential.
        ends: Positions of both ends, nm, float64; if there are several pairs, of the first one.
        is_molecule: False for a point in a model potential.
        notes: What a user should know about the ends, one sentence each.
        atom_map: How the atoms of the ends were matched; None for a model potential.
        pairs: Every pair of ends, if the paths have different ones: path k takes pair k, and after the last the first.
            None if all paths have the same ends.
        frames: The columns "start_frame" and "end_frame", as far as the recipe gives a set: a frame for each pair.
    """

    topology: Topology
    ends: Float[Tensor, "2 bead dim"]
    is_molecule: bool
    notes: tuple[str, ...] = ()
    atom_map: Any = None
    pairs: Float[Tensor, "pair 2 bead dim"] | None = None
    frames: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def ends_of(self, path: int) -> Float[Tensor, "2 bead dim"]:
        """The ends of one path by its number, nm."""
        return self.ends if self.pairs is None else self.pairs[path % len(self.pairs)]

    def frames_of(self, path: int) -> dict[str, int]:
        """The frames between which one path runs, as far as the recipe gives a set."""
        return {side: frames[path % len(frames)] for side, frames in self.frames.items()}

    @property
    def all_pairs(self) -> Float[Tensor, "pair 2 bead dim"]:
        """Every pair of ends, nm."""
        return self.ends.unsqueeze(0) if self.pairs is None else self.pairs

    @property
    def all_ends(self) -> Float[Tensor, "end bead dim"]:
        """Every end, nm: start and end of the first pair, then of the next."""
        return self.all_pairs.flatten(0, 1)


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

    starts, finishes = _load(section.start, section.select), _load(section.end, section.select)
    count = max(len(starts), len(finishes))
    aligned = [
        align(starts[k % len(starts)], finishes[k % len(finishes)], equivalent_atoms=section.equivalent_atoms)
        for k in range(count)
    ]
    notes = tuple(dict.fromkeys(note for ends in aligned for note in ends.notes))
    first = aligned[0]
    frames = {f"{side}_frame": f for side in ("start", "end") if (f := getattr(getattr(section, side), "frames", None))}
    pairs = torch.stack([ends.x for ends in aligned]) if count > 1 else None
    return System(
        first.topology, first.x, is_molecule=True, notes=notes, atom_map=first.atom_map, pairs=pairs, frames=frames
    )


def _load(end: MoleculeEndSection, select: str) -> list[Structure]:
    """The structure of one end, or every one of a set."""
    from tpsctl.endpoints.load import load_frames, load_structure

    match end:
        case StructureEndSection():
            return [load_structure(end.structure, frame=end.frame, select=select)]
        case TrajectoryEndSection():
            return [load_structure(end.trajectory, frame=end.frame, topology=end.topology, select=select)]
        case StructureSetSection():
            return load_frames(end.structure, end.frames, select=select)
        case TrajectorySetSection():
            return load_frames(end.trajectory, end.frames, topology=end.topology, select=select)
