"""Guesses of the embedded alanine dipeptide, in the types and sizes that a run uses them."""

import pytest
import torch

from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import make_prior, make_system
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.tools import Tools


def drawn(root, guess, *, paths):
    recipe = load_recipe(
        root / "recipes/alanine_dipeptide.yaml", SampleRecipe, [f"path.guess={guess}", f"path.paths={paths}"]
    )
    tools = Tools(recipe, torch.device("cpu"), threads=1)
    return draw_guesses(tools, range(paths), Progress())


def test_latent_guesses_are_sound_and_smooth(root):
    paths, screening = drawn(root, "{kind: latent, level: 0.6, steps: 30}", paths=2)
    assert screening.failing == 0
    gaps = (paths[:, 1:] - paths[:, :-1]).square().sum(-1).mean(-1).sqrt()
    # With noise of its own in every image neighbors lie as far apart as independent structures, 0.05 nm and more.
    assert float(gaps.median()) < 0.03
    assert float((paths[0] - paths[1]).abs().max()) > 0.02


def test_straight_lines_through_a_molecule_are_repaired(root):
    """As they are, bonds shrink to 60 %."""
    _, screening = drawn(root, "{kind: linear}", paths=1)
    assert screening.rejected == {"bonds": 1}
    assert (screening.drawn, screening.repaired, screening.failing) == (1, 1, 0)


@pytest.mark.parametrize("chunk", [2, 3])
def test_shared_noise_is_the_same_in_every_chunk(root, monkeypatch, chunk):
    monkeypatch.setattr("tpsctl.prior.samplers.widths._CHUNK", chunk)
    recipe = load_recipe(root / "recipes/alanine_dipeptide.yaml", SampleRecipe, [])
    system = make_system(recipe.endpoints)
    prior = make_prior(recipe.prior, system, torch.device("cpu"))
    copies = system.ends[:1].expand(5, -1, -1)

    def clean(shared):
        return prior.denoise(copies, 0.2, torch.Generator().manual_seed(1), steps=5, shared_noise=shared)

    together, apart = clean(True), clean(False)
    # float32 inside: the batched matrix products of chunks of different size round differently, by 1e-7 of 1 nm
    assert torch.allclose(together, together[:1].expand_as(together), atol=1e-5)
    assert float((apart[0] - apart[1]).abs().max()) > 1e-3
