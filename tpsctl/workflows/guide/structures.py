"""Structures that a recipe of `tpsctl guide` names: guides, ends of states, labeled neighbors."""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.load import load_frames, load_structures
from tpsctl.errors import RecipeError
from tpsctl.recipe.guide_success import AnyStructuresSection, GuideFilesSection, GuidePointsSection
from tpsctl.workflows.guide.tools import GuideTools, in_order_of_prior


def load_guides(tools: GuideTools, given: AnyStructuresSection, key: str) -> Float[Tensor, "structure bead dim"]:
    """Structures in the order of the prior's beads, nm; `key` is where they stand in the recipe.

    Raises:
        RecipeError: They are of another molecule, or points where structures are expected, or the other way round.
    """
    if isinstance(given, GuidePointsSection):
        return _points(tools, given, key)
    if not tools.is_molecule:
        raise RecipeError(f"{key}: the prior is of a point. Give points_nm.")
    structures = (
        [frame for file in given.structures for frame in load_structures(file, select=given.select)]
        if isinstance(given, GuideFilesSection)
        else load_frames(given.trajectory, given.frames, topology=given.topology, select=given.select)
    )
    return in_order_of_prior(tools, structures, key, winding=True)


def _points(tools: GuideTools, given: GuidePointsSection, key: str) -> Tensor:
    if tools.is_molecule:
        raise RecipeError(f"{key}: the prior is of a molecule. Give structures, or frames of a trajectory.")
    wrong = [point for point in given.points_nm if len(point) != tools.prior.n_dims]
    if wrong:
        raise RecipeError(
            f"{key}.points_nm: got a point of {len(wrong[0])} coordinates, the prior has {tools.prior.n_dims}."
        )
    return torch.tensor(given.points_nm, dtype=torch.float64).unsqueeze(1)
