"""What a recipe becomes: here, the precision its network computes in."""

import pytest
import torch

from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import make_stages
from tpsctl.workflows.sample.tools import Tools

ALANINE = "recipes/alanine_dipeptide.yaml"


@pytest.fixture
def scored(root):
    """Score of both ends by the final stage's action, as a recipe with these changes has it, and the action."""

    def score(*changes):
        recipe = load_recipe(root / ALANINE, SampleRecipe, list(changes))
        tools = Tools(recipe, torch.device("cpu"), threads=1)
        action = make_stages(recipe, tools.chosen, tools.prior, tools.system)[-1].action
        return action.score(tools.system.ends).detach(), tools

    return score


def test_a_network_computes_in_the_precision_of_the_recipe(scored):
    single, _ = scored()
    double, tools = scored("prior.precision=float64")
    exact = tools.prior.at(tools.recipe.prior.diffusion_time)(tools.system.ends)
    assert single.dtype == double.dtype == torch.float64, "paths and actions are in float64 in any case"
    assert torch.equal(double, exact)
    bonds = tools.prior.at(tools.recipe.prior.diffusion_time).jacobian(tools.system.ends).abs().amax()
    last_digit = torch.finfo(torch.float32).eps * tools.system.ends.abs().max()
    off = (single - double).abs().max() / (bonds * last_digit)
    assert 1e-3 < off < 10, "forces of bonds that are known to the last digit of a float32 position"
