"""The numbers that a recipe leaves open: what is chosen, from what, and that the manifest says so."""

import pytest
import torch

from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

SHORT = """
version: 1
name: open
seed: 1
endpoints:
  start: {position_nm: [0.0, 0.0]}
  end: {position_nm: [0.4, 0.0]}
prior: {kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 0.1}
action: {functional: truncated}
path: {paths: 1, guess: {kind: linear}}
optimize: {method: lbfgs, max_steps: 20}
output: {directory: out}
"""


@pytest.fixture
def written(tmp_path):
    """The recipe in which every number is left open, with changes."""

    def write(*changes):
        (tmp_path / "r.yaml").write_text(SHORT)
        return load_recipe(tmp_path / "r.yaml", SampleRecipe, list(changes))

    return write


@pytest.fixture
def chosen(written):
    """What is chosen for it."""
    return lambda *changes: Tools(written(*changes), torch.device("cpu"), threads=1).chosen


def test_the_manifest_has_every_chosen_number_with_its_reason(written):
    recipe = written("action.temperature_k=310")
    manifest = run_recipe(recipe, RunSettings(), Progress())
    values = {key: entry["value"] for key, entry in manifest["chosen"].items()}
    assert values["action.temperature_k"] == 310
    assert manifest["chosen"]["action.temperature_k"]["reason"] == "given in the recipe"
    assert values["action.friction_per_ps"] == 1
    assert values["action.dt_ps"] > 0
    assert all(entry["reason"] for entry in manifest["chosen"].values())
    assert recipe.path.images == "auto", "the recipe stays as its author wrote it"


def test_the_whole_section_may_be_left_out(tmp_path, written):
    written()
    (tmp_path / "r.yaml").write_text(SHORT.replace("action: {functional: truncated}\n", ""))
    assert load_recipe(tmp_path / "r.yaml", SampleRecipe, []).action == written().action


def test_a_prior_without_a_temperature_gets_300_k(chosen):
    assert chosen().temperature_k.value == 300
    assert "default" in chosen().temperature_k.reason


def test_a_given_diffusion_coefficient_needs_neither_friction_nor_temperature(chosen):
    found = chosen("action.diffusion_nm2_per_ps=0.01")
    assert found.friction_per_ps.value is None
    assert found.temperature_k.value is None


def test_numbers_that_are_given_are_kept(chosen):
    found = chosen("path.images=7", "action.dt_ps=0.5")
    assert (found.images.value, found.dt_ps.value) == (7, 0.5)


def test_the_time_step_follows_from_the_curvature_and_the_diffusion_coefficient(chosen):
    """The score of a Gaussian is -x / std^2: D J = -D / std^2, and the chosen step goes with its inverse."""
    narrow = chosen("action.diffusion_nm2_per_ps=0.01").dt_ps.value
    assert chosen("action.diffusion_nm2_per_ps=0.02").dt_ps.value == pytest.approx(narrow / 2, rel=0.05)
    wide = chosen("action.diffusion_nm2_per_ps=0.01", "prior.std_nm=0.2").dt_ps.value
    assert wide == pytest.approx(4 * narrow, rel=0.05), "numbers are rounded to two digits"
