"""The diffusion time that is chosen for a model: by a force field, by the model itself, or by its checkpoint."""

import pytest
import torch

from tpsctl.checkpoints.stored_verdict import StoredVerdict
from tpsctl.errors import PriorError
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import chosen as numbers
from tpsctl.workflows.sample.assemble.diffusion_time import TIMES, displaced, measured, usable_times
from tpsctl.workflows.sample.tools import Tools

ALANINE = "recipes/alanine_dipeptide.yaml"


@pytest.fixture(scope="module")
def tools(root):
    """Embedded prior and force field, with the diffusion time left open."""
    recipe = load_recipe(root / ALANINE, SampleRecipe, ["prior.diffusion_time=auto"])
    return Tools(recipe, torch.device("cpu"), threads=1)


class Stub:
    """A prior with a score from 0.02 on; its forces are those given, and wrong below a time."""

    def __init__(self, forces, good_from):
        self._forces, self._good_from = forces, good_from

    def at(self, t):
        if t < 0.02:
            raise PriorError("trained from 0.02 on")
        noise = torch.Generator().manual_seed(int(1e4 * t))

        def score(x):
            right = self._forces(x)
            wrong = 30 * right.std() * torch.randn(x.shape, generator=noise, dtype=x.dtype)
            return right if t >= self._good_from else right + wrong

        return score


@pytest.fixture
def choose(tools):
    """The time for a stub that is right from a time on; with a force field, or without."""
    kt = 2.4943

    def forces(x):
        return tools.energy_model.forces(x).to(x) / kt

    def run(good_from, *, with_forces):
        prior = Stub(forces, good_from)
        return measured(prior, prior.at, tools.system, torch.device("cpu"), forces if with_forces else None)

    return run


@pytest.mark.parametrize("with_forces", [True, False])
@pytest.mark.parametrize("good_from", [0.02, 0.1, 0.35])
def test_the_smallest_time_with_sound_torques_is_chosen(choose, good_from, with_forces):
    found, reason = choose(good_from, with_forces=with_forces)
    assert found == good_from
    assert "smallest time" in reason


def test_a_model_that_never_agrees_with_itself_is_called_poor(choose):
    assert "poor" in choose(2.0, with_forces=False)[1]


def test_times_at_which_there_is_no_score_are_left_out():
    assert usable_times(Stub(None, 0.0)) == [t for t in TIMES if t >= 0.02]


def test_the_embedded_prior_is_used_at_its_smallest_time(tools, root, monkeypatch):
    """By its stored verdict, and without one by its torques, which are measured with the force field or without it."""
    assert tools.chosen.diffusion_time.value == 0.0
    monkeypatch.setattr("tpsctl.workflows.sample.assemble.fitness.read_verdict", lambda path, topology: StoredVerdict())
    for assignments in (["prior.diffusion_time=auto"], ["prior.diffusion_time=auto", "validation={}"]):
        recipe = load_recipe(root / ALANINE, SampleRecipe, assignments)
        assert Tools(recipe, torch.device("cpu"), threads=1).chosen.diffusion_time.value == 0.01


def test_structures_are_the_ends_and_sound_ones_near_them(tools):
    x = displaced(tools.system)
    assert torch.equal(x[:2], tools.system.ends)
    above = tools.energy_model.energies(x) - tools.energy_model.energies(x[:1])
    assert above.max() < 150, "no clash, in which forces of 1e5 kJ/mol/nm would decide alone"
    assert torch.equal(x, displaced(tools.system)), "the same in every process"


def test_a_range_in_the_checkpoint_is_taken(tools, monkeypatch):
    prior = tools.prior  # read before its card is another one
    monkeypatch.setattr("tpsctl.checkpoints.native.read_card", lambda path: {"diffusion_times": [0.07, 0.3]})
    found = numbers._diffusion_time(tools.recipe, tools.system, prior, torch.device("cpu"), lambda: None)
    assert found.value == 0.07
    assert "checkpoint" in found.reason


@pytest.mark.parametrize("entry", [0.1, [0.1], ["0.1", "0.2"], [0.3, 0.1], [0.1, 2], {"a": 1}])
def test_a_range_that_is_none_is_refused(tools, monkeypatch, entry):
    monkeypatch.setattr("tpsctl.checkpoints.native.read_card", lambda path: {"diffusion_times": entry})
    with pytest.raises(PriorError, match=r"diffusion_times is .*, expected \[smallest, largest\]"):
        numbers._diffusion_time(tools.recipe, tools.system, tools.prior, torch.device("cpu"), lambda: None)
