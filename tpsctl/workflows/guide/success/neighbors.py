"""Success where most of the nearest neighbors among labeled structures are wanted ones.

Nearness does not depend on where a molecule lies or how it is turned: it is the root mean square deviation after
superposition, or the Euclidean distance in internal features,

    distances    d_ij of all pairs of beads, nm
    torsions     (cos, sin) of one dihedral about every bond that can turn

It is therefore no single nearest neighbor in raw coordinates, whose answer changes when a structure is turned.

Source: Cover and Hart, IEEE Trans. Inf. Theory 13 (1967) 21.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.geometry import pair_distances
from tpsctl.molecule.torsions import named_torsions
from tpsctl.recipe.guide_success import NeighborsSuccessSection
from tpsctl.score.guidance.metrics import InTorsions
from tpsctl.workflows.guide.diversity import distances_nm
from tpsctl.workflows.guide.structures import load_guides
from tpsctl.workflows.guide.success.base import WANTED, Success
from tpsctl.workflows.guide.tools import GuideTools

Distance = Callable[[Tensor, Tensor], Tensor]
"""Configurations (sample, bead, dim) and (other, bead, dim) to distances (sample, other)."""


class NeighborsSuccess(Success):
    """A vote of the k nearest labeled structures.

    Args:
        wanted: Structures of the kind that is wanted (structure, bead, dim), nm.
        others: Structures of the other kind.
        neighbors: k, odd.
        distance_fn: How near configurations are to one another.
    """

    def __init__(
        self,
        wanted: Float[Tensor, "structure bead dim"],
        others: Float[Tensor, "other bead dim"],
        neighbors: int,
        distance_fn: Distance,
    ) -> None:
        self._labeled = torch.cat((wanted, others))
        self._is_wanted = torch.arange(len(self._labeled)) < len(wanted)
        self._neighbors, self._distance_fn = neighbors, distance_fn
        self.name = f"more than half of the {neighbors} nearest labeled structures"

    def judge(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        nearest = self._distance_fn(x, self._labeled).topk(self._neighbors, largest=False).indices
        votes = self._is_wanted[nearest].sum(1)
        return {WANTED: 2 * votes > self._neighbors, "wanted_neighbors": votes}


def neighbors_success(tools: GuideTools, section: NeighborsSuccessSection) -> NeighborsSuccess:
    """Success by the neighbors that a recipe names.

    Raises:
        RecipeError: They are of another molecule, there are fewer than the votes, or the molecule has no torsion.
    """
    key = "guide.success"
    wanted = load_guides(tools, section.wanted, f"{key}.wanted")
    others = load_guides(tools, section.others, f"{key}.others")
    fewest = (section.neighbors + 1) // 2
    for name, found in (("wanted", wanted), ("others", others)):
        if len(found) < fewest:
            raise RecipeError(
                f"{key}.{name}: got {len(found)} structures, expected at least {fewest}, a majority of the "
                f"{section.neighbors} neighbors. Give more of them, or fewer neighbors."
            )
    return NeighborsSuccess(wanted, others, section.neighbors, _distance(tools, section.features))


def _distance(tools: GuideTools, features: str) -> Distance:
    if not tools.is_molecule or features == "superposed":
        return lambda x, y: distances_nm(x, y, superposed=tools.is_molecule)
    if features == "distances":
        return lambda x, y: torch.cdist(pair_distances(x), pair_distances(y))
    torsions = named_torsions(tools.topology)
    if not torsions:
        raise RecipeError("guide.success.features: torsions: no bond of this molecule can turn. Use distances.")
    atoms = torch.tensor([torsion.atoms for torsion in torsions])
    return lambda x, y: InTorsions(atoms).squared(x, y).sqrt()
