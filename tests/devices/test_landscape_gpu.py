"""The landscape of a prior that computes on a pretended GPU, for a search whose configurations are on the CPU."""

import torch

from tests.pretend_device import GPU, PretendedGPU
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble.landscapes import prior_surface
from tpsctl.workflows.sample.assemble.prior import make_prior
from tpsctl.workflows.sample.assemble.system import make_system


def surface_on(device, root):
    recipe = load_recipe(root / "recipes" / "alanine_dipeptide_routes.yaml", SampleRecipe)
    system = make_system(recipe.endpoints)
    prior = make_prior(recipe.prior, system, torch.device(device))
    return prior_surface(recipe, system, prior, 0.01, threads=1, device=torch.device(device)), system.ends


def test_energies_gradients_and_curvatures_are_those_of_the_cpu(root):
    surface, ends = surface_on("cpu", root)
    energy, gradient = surface.energy_gradient(ends)
    hessian = surface.hessian(ends)
    with PretendedGPU() as gpu:
        surface, ends = surface_on(GPU, root)
        before = gpu.n_waits
        there, its_gradient = surface.energy_gradient(ends)
        assert gpu.n_waits > before, "results come from the GPU"
        its_hessian = surface.hessian(ends)
    assert not gpu.mixes
    assert surface.rigid_motions
    for found, expected in ((there, energy), (its_gradient, gradient), (its_hessian, hessian)):
        assert found.device.type == "cpu"
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected)
