"""Structures that a recipe of `tpsctl guide` names: guides, ends of states, labeled neighbors."""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.load import load_frames, load_structures
from tpsctl.errors import RecipeError
from tpsctl.molecule.symmetry import equivalence_classes, stereo_centers
from tpsctl.molecule.topology import Topology
from tpsctl.recipe.guide_success import AnyStructuresSection, GuideFilesSection, GuidePointsSection
from tpsctl.workflows.guide.tools import GuideTools, in_order_of_prior, reading

_CLEAR = 0.8
"""Mean handedness of samples at a center from which on they have one."""


def load_guides(tools: GuideTools, given: AnyStructuresSection, key: str) -> Float[Tensor, "structure bead dim"]:
    """Structures in the order of the prior's beads, nm; `key` is where they stand in the recipe.

    Raises:
        RecipeError: They are of another molecule, or points where structures are expected, or the other way round.
    """
    if isinstance(given, GuidePointsSection):
        return _points(tools, given, key)
    if not tools.is_molecule:
        raise RecipeError(f"{key}: the prior is of a point. Give points_nm.")
    with reading(key):
        structures = (
            [frame for file in given.structures for frame in load_structures(file, select=given.select)]
            if isinstance(given, GuideFilesSection)
            else load_frames(given.trajectory, given.frames, topology=given.topology, select=given.select)
        )
    return in_order_of_prior(tools, structures, key, winding=True)


def require_handedness(
    topology: Topology, given: Float[Tensor, "structure bead 3"], usual: Float[Tensor, "sample bead 3"], key: str
) -> None:
    """Refuse structures with another chirality than that of samples of the prior; bonds tell where to look.

    Args:
        topology: The molecule.
        given: Structures of the user, nm.
        usual: Samples without guidance, nm.
        key: Where the structures stand in the recipe.

    Raises:
        RecipeError: A center with four different neighbors (three, where hydrogens are left out) has the other hand.
    """
    centers, classes = stereo_centers(topology, given), equivalence_classes(topology)
    if not centers.atoms:
        return
    mean = centers.handedness(usual.to(given)).mean(0)
    distinct = torch.tensor([len({classes[i] for i in around}) == len(around) for around in centers.neighbors])
    wrong = distinct & (mean.abs() > _CLEAR) & (centers.handedness(given) != mean.sign())
    if bool(wrong.any()):
        k, center = (int(each[0]) for each in wrong.nonzero(as_tuple=True))
        label = topology.atoms[centers.atoms[center]].label
        raise RecipeError(
            f"{key}: structure {k + 1} of {len(given)} has the opposite handedness at {label} to the samples of the "
            "prior: it is a mirror image, or another stereoisomer. Give structures of the stereoisomer that the prior "
            "was trained on."
        )


def _points(tools: GuideTools, given: GuidePointsSection, key: str) -> Tensor:
    if tools.is_molecule:
        raise RecipeError(f"{key}: the prior is of a molecule. Give structures, or frames of a trajectory.")
    wrong = [point for point in given.points_nm if len(point) != tools.prior.n_dims]
    if wrong:
        raise RecipeError(
            f"{key}.points_nm: got a point of {len(wrong[0])} coordinates, the prior has {tools.prior.n_dims}."
        )
    return torch.tensor(given.points_nm, dtype=torch.float64).unsqueeze(1)
