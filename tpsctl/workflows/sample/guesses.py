"""The initial paths of a recipe, each from its own random stream and redrawn while it is faulty."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.guess.base import blocks_of
from tpsctl.guess.screen import Screening, screened
from tpsctl.progress import Progress
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools


def draw_guesses(tools: Tools, numbers: Sequence[int], progress: Progress) -> tuple[Tensor, Screening]:
    """Initial paths (path, image, bead, dim), nm, of these numbers, and how they came about."""
    recipe, system = tools.recipe, tools.system
    faults_of = assemble.make_faults(recipe, tools.gate, tools.energy_model)
    guess = assemble.make_guess(recipe, tools.prior, system, tools.chosen.diffusion_time.value, tools.device)
    images = tools.chosen.stages[0].images or tools.chosen.images.value
    drawn, screenings = [], []
    with progress.task(f"{recipe.path.guess.kind} guess", len(numbers)) as update:
        for block in blocks_of(numbers, guess.together):
            path, screening = screened(
                guess,
                torch.stack([system.ends_of(number) for number in block]),
                images,
                [torch.Generator().manual_seed(assemble.path_seed(recipe.seed, number)) for number in block],
                faults_of=faults_of,
                repair=assemble.make_repair(system),
                max_draws=recipe.path.screen.max_draws,
                indices=block,
            )
            drawn.append(path)
            screenings.append(screening)
            update(sum(s.requested for s in screenings), f"{sum(s.drawn for s in screenings)} drawn")
    whole = Screening.joined(screenings)
    progress.say(whole.summary())
    return torch.cat(drawn).to(tools.device), whole
