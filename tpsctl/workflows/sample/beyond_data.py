"""Whether paths pass where the prior has no data, by the regions that its checkpoint's verdict names."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.checkpoints.stored_regions import StoredRegions
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import named_torsions
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.workflows.sample.assemble.fitness import verdict_of
from tpsctl.workflows.sample.tools import Tools

_MOST_NAMED = 6
"""Paths that a note names."""


def beyond_data(tools: Tools, paths: Sequence[Float[Tensor, "_ atom 3"]]) -> tuple[str, ...]:
    """A note on the paths that leave the data of the prior; none if all stay inside, or if nothing is known.

    Args:
        tools: The recipe with its ends.
        paths: Images of every path, nm.
    """
    section, system = tools.given.prior, tools.system
    if not isinstance(section, CheckpointPriorSection) or not system.is_molecule or not paths:
        return ()
    regions = verdict_of(section, system.topology).regions
    if regions is None:
        return ()
    note = note_on(regions, system.topology, paths)
    return () if note is None else (note,)


def note_on(regions: StoredRegions, topology: Topology, paths: Sequence[Float[Tensor, "_ atom 3"]]) -> str | None:
    """The note on these paths; None if all stay inside, or if the molecule lacks a torsion of the regions."""
    atoms = {torsion.name: torsion.atoms for torsion in named_torsions(topology)}
    if not set(regions.torsions) <= set(atoms):
        return None
    rows = torch.tensor([atoms[name] for name in regions.torsions])
    away = [regions.cover.nearest(dihedral(x.detach().cpu().double(), rows))[1] for x in paths]
    outside = [k for k, distances in enumerate(away) if float(distances.max()) > regions.cover.radius]
    if not outside:
        return None
    worst = max(outside, key=lambda k: float(away[k].max()))
    image = int(away[worst].argmax())
    named = ", ".join(map(str, outside[:_MOST_NAMED])) + (" ..." if len(outside) > _MOST_NAMED else "")
    cover = regions.cover
    farthest, radius = (math.degrees(angle) for angle in (float(away[worst].max()), cover.radius))
    return (
        f"{len(outside)} of {len(paths)} paths ({named}) pass where the prior has no data, farthest path {worst} at "
        f"image {image}: its torsions differ by {farthest:.0f} degrees from the nearest of the {len(cover.centers)} "
        f"regions of the data, which have a radius of {radius:.0f}. Energies there are guesses of the prior: check "
        "them with validation.energy, or train with data from there."
    )
