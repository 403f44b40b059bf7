"""What every part of a guided run is made with: the prior as a law of noise widths, its molecule, its device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.endpoints.fit import bead_order, winding_order
from tpsctl.endpoints.load import load_structures
from tpsctl.endpoints.structure import Structure
from tpsctl.errors import EndpointError, RecipeError
from tpsctl.molecule.topology import Topology
from tpsctl.output.trajectory import dummy_topology
from tpsctl.prior.base import Prior
from tpsctl.prior.diffused import DiffusedPrior, diffused
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.score.precision import ScoreInPrecision, choose_products
from tpsctl.score.reverse_process import geometric_widths
from tpsctl.workflows.checkpoints import open_prior
from tpsctl.workflows.sample.assemble.diffusion_time import usable_times
from tpsctl.workflows.sample.assemble.fitness import require_fit, require_fit_time, verdict_of
from tpsctl.workflows.sample.assemble.prior import precision_of


@dataclass(frozen=True)
class GuideTools:
    """The prior of a recipe, ready to be sampled.

    Attributes:
        recipe: The recipe.
        prior: The prior on its device.
        model: Its diffused law.
        topology: Its atoms or beads; dummy atoms for a point of a model potential.
        is_molecule: False for a point.
        widths: Descending noise widths of the reverse process.
        time: Diffusion time at which samples end.
        time_reason: Where it comes from, in words.
        device: Where the prior is evaluated.
    """

    recipe: GuideRecipe
    prior: Prior
    model: DiffusedPrior
    topology: Topology
    is_molecule: bool
    widths: list[float]
    time: float
    time_reason: str
    device: torch.device


def make_tools(recipe: GuideRecipe, device: torch.device) -> GuideTools:
    """The prior of a recipe on a device.

    Raises:
        PriorError: The prior cannot be sampled, is unfit, or has no score at its diffusion time.
        RecipeError: Its atoms are unknown.
    """
    section = recipe.prior
    if device.type == "cuda":
        choose_products(tf32=getattr(section, "precision", None) == "tf32")
    known = None if recipe.molecule is None else _molecule(recipe)
    prior = _prior(recipe, known).to(device=device, dtype=precision_of(section))
    if prior.one_thread and device.type == "cpu":
        torch.set_num_threads(1)
    is_molecule = prior.n_dims == 3 and prior.n_beads > 1
    topology = prior.topology or (None if known is None else known.topology)
    if known is not None and prior.topology is not None:
        with reading("molecule.structure"):
            bead_order(known.topology, prior.topology, name=f'prior "{section.kind}"')  # refuses another molecule
    if topology is None and is_molecule:
        raise RecipeError(
            "molecule: this checkpoint does not store its atoms. Name a structure with its beads in their order: "
            "molecule: {structure: FILE, select: ...}."
        )
    topology = topology or dummy_topology(prior.n_beads)
    if topology.n_atoms != prior.n_beads:
        raise RecipeError(
            f"molecule.structure: has {topology.n_atoms} beads, the prior has {prior.n_beads}. Set molecule.select."
        )
    time, reason = _time(recipe, prior)
    model = diffused(prior, time)
    widths = geometric_widths(model.law.largest_width, model.law.smallest_width, recipe.sampling.steps)
    return GuideTools(recipe, prior, model, topology, is_molecule, widths, time, reason, device)


def in_order_of_prior(tools: GuideTools, structures: list[Structure], key: str, *, winding: bool = False) -> Tensor:
    """Positions (structure, bead, 3), nm, of user's structures with their beads in the order of the prior.

    With `winding`, equivalent hydrogens are exchanged where the prior knows them in the other order.

    Raises:
        RecipeError: One is of another molecule; `key` is the key that names it.
    """
    found = []
    for structure in structures:
        try:
            order = bead_order(structure.topology, tools.topology, name="the prior")
        except EndpointError:
            theirs, ours = structure.topology, tools.topology
            raise RecipeError(
                f"{key}: {structure.source} is of another molecule than the prior: it has {theirs.n_atoms} beads"
                f"{_lacking(theirs, ours)}; the prior has {ours.n_atoms}{_lacking(ours, theirs)}. Give structures of "
                "the prior's molecule with the same names, and choose their beads with select."
            ) from None
        if winding:
            score = ScoreInPrecision(tools.prior.at(tools.time), precision_of(tools.recipe.prior))
            both = structure.x.double().expand(2, -1, -1).to(tools.device)
            order = winding_order(structure.topology, both, score, order)
        found.append(structure.x[order].double())
    return torch.stack(found)


def _lacking(one: Topology, other: Topology) -> str:
    """Which bead of the other molecule this one has not, if there is one with such a name."""
    names = {(atom.residue_name, atom.name) for atom in one.atoms}
    first = next((atom.label for atom in other.atoms if (atom.residue_name, atom.name) not in names), None)
    return "" if first is None else f" and no {first}"


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Say of a structure that cannot be used which key of the recipe names it.

    Raises:
        RecipeError: A structure cannot be used.
    """
    try:
        yield
    except EndpointError as error:
        raise RecipeError(f"{key}: {error}") from None


def _molecule(recipe: GuideRecipe) -> Structure:
    assert recipe.molecule is not None
    with reading("molecule.structure"):
        return load_structures(recipe.molecule.structure, select=recipe.molecule.select)[0]


def _prior(recipe: GuideRecipe, known: Structure | None) -> Prior:
    section = recipe.prior
    if isinstance(section, CheckpointPriorSection):
        topology = None if known is None else known.topology
        require_fit(section, topology)
        return open_prior(section.checkpoint, topology)
    return GaussianPrior(mean_nm=section.mean_nm, std_nm=section.std_nm)


def _time(recipe: GuideRecipe, prior: Prior) -> tuple[float, str]:
    """The diffusion time at which samples end, and the reason for it."""
    section = recipe.prior
    if not isinstance(section, CheckpointPriorSection):
        return section.diffusion_time, "given in the recipe, or its default"
    if section.diffusion_time != AUTO:
        given = float(section.diffusion_time)
        require_fit_time(section, given, "prior.diffusion_time", prior.topology)
        return given, "given in the recipe"
    stored = verdict_of(section, prior.topology).times
    if stored is not None:
        return stored[0], "the smallest time for which the checkpoint was trained and judged"
    return usable_times(prior)[0], "the smallest common time at which the checkpoint has a score"
