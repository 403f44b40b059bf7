"""The shipped prior of Trp-cage: small, fit for paths, and in agreement with the energy that it was trained on."""

import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import thermal_energy
from tpsctl.workflows.checkpoints import open_prior, read_model
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.assemble.system import make_system

MEGABYTE = 10**6
WIDTH_NM = 0.01


def without_bonds(x, vectors):
    """Vectors (frame, bead, 3) without their part along the bonds of the chain, (frame, n)."""
    frames, beads = x.shape[:2]
    bonds = torch.zeros(frames, beads - 1, beads, 3)
    along = torch.nn.functional.normalize(x[:, 1:] - x[:, :-1], dim=-1)
    for k in range(beads - 1):
        bonds[:, k, k], bonds[:, k, k + 1] = -along[:, k], along[:, k]
    basis = torch.linalg.qr(bonds.flatten(2).mT)[0]
    flat = vectors.flatten(1).unsqueeze(2)
    return (flat - basis @ (basis.mT @ flat)).squeeze(2)


def test_it_is_small_and_fit_for_paths(root):
    file = root / "recipes" / "trp_cage" / "diffusion.safetensors"
    assert file.stat().st_size <= MEGABYTE
    facts = read_model(file).description.facts
    assert facts["verdict"]["fit_for_paths"] is True
    assert "/" not in facts["inputs"]["data.dataset"]["file"]


def test_its_score_points_along_the_forces(root):
    """On the unfolded ends of the recipe: the cosine with bonds projected out, of which 1 is a perfect force field.

    On held-out frames of the simulation, half of them folded, it is 0.95, and here 0.94; of a prior without terms of
    angles 0.84 there. Random directions in 41 dimensions do not reach 0.2 in the mean of 32 frames.
    """
    folder = root / "recipes"
    recipe = load_recipe(folder / "trp_cage.yaml", SampleRecipe)
    starts = make_system(recipe.endpoints).pairs[:, 0]
    native = load_structure(folder / "trp_cage" / "native.pdb")
    prior = open_prior(folder / "trp_cage" / "diffusion.safetensors").to(device="cpu", dtype=torch.float64)
    made = system_source(recipe.validation.energy.force_field).create(native.topology)
    _, forces = ContextPool(made.system, platform="Reference", threads=1).energies_and_forces(starts)
    score = prior.at(prior.time_of(WIDTH_NM))(starts)
    found, expected = (without_bonds(starts, v) for v in (score, forces / thermal_energy(300.0)))
    cosine = torch.nn.functional.cosine_similarity(found, expected, dim=1)
    assert float(cosine.mean()) > 0.9
