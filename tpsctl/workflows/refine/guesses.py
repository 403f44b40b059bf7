"""New guesses: paths from A through a sample of the transition state to B, both halves guessed as the recipe says."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import superpose
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools

IMAGES = 50
"""Images of each half of a guess; the next round takes as many of them as its paths have."""


def guesses_through(
    found: Float[Tensor, "sample bead dim"], recipe: SampleRecipe, tools: Tools
) -> list[Float[Tensor, "image bead dim"]]:
    """Guesses through samples of the transition state, nm: one for each path of the recipe, or as many as there are.

    The samples are taken at equal distances in their order, in which they are independent of one another.
    """
    count = min(recipe.path.paths, len(found))
    chosen = [k * len(found) // count for k in range(count)]
    return [_through(found[k], number, recipe, tools) for number, k in enumerate(chosen)]


def _through(x: Tensor, number: int, recipe: SampleRecipe, tools: Tools) -> Tensor:
    system = tools.given_system
    a, b = system.ends_of(number)
    x = superpose(x, a) if system.is_molecule else x
    generator = torch.Generator().manual_seed(assemble.path_seed(recipe.seed, number))
    halves = []
    for ends in (torch.stack((a, x)), torch.stack((x, b))):
        piece = replace(system, ends=ends, pairs=None)
        guess = assemble.make_guess(recipe, tools.prior, piece, tools.chosen.diffusion_time.value, tools.device)
        halves.append(guess.draw_one(ends, IMAGES, generator, number))
    return torch.cat((halves[0], halves[1][1:]))
