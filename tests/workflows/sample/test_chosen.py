"""The numbers that a recipe leaves open: what is chosen, from what, and that the manifest says so."""

import pytest
import torch

from tpsctl.errors import RecipeError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import thermal_energy
from tpsctl.workflows.sample.assemble.time_step import images_by_distance, rates_per_ps
from tpsctl.workflows.sample.results import chosen_numbers
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

ALANINE = "recipes/alanine_dipeptide.yaml"
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
    assert values["optimize"][0]["method"] == "lbfgs"
    assert all(entry["reason"] for entry in manifest["chosen"].values())
    assert recipe.path.images == "auto", "the recipe stays as its author wrote it"


def test_the_whole_section_may_be_left_out(tmp_path, written):
    written()
    (tmp_path / "r.yaml").write_text(SHORT.replace("action: {functional: truncated}\n", ""))
    assert load_recipe(tmp_path / "r.yaml", SampleRecipe, []).action == written().action


def test_batches_of_a_version_without_choices_used_what_the_recipe_gives(written):
    recipe = written("action.dt_ps=0.5")
    tools = Tools(recipe, torch.device("cpu"), threads=1)
    assert chosen_numbers({}, tools) == tools.chosen.as_json()
    assert chosen_numbers({"chosen": {"action.dt_ps": 7}}, tools) == {"action.dt_ps": 7}


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
    """The score of a Gaussian is -x / std^2, so its only rate is D / std^2; six of its inverses last 49 steps."""
    assert chosen("action.diffusion_nm2_per_ps=0.01").dt_ps.value == pytest.approx(6 / 49, rel=0.05)
    assert chosen("action.diffusion_nm2_per_ps=0.02").dt_ps.value == pytest.approx(3 / 49, rel=0.05)
    wide = chosen("action.diffusion_nm2_per_ps=0.01", "prior.std_nm=0.2").dt_ps.value
    assert wide == pytest.approx(4 * 6 / 49, rel=0.05), "numbers are rounded to two digits"
    assert "softest" in chosen().dt_ps.reason


def test_a_stiff_mode_limits_the_time_step(chosen):
    """A double well has curvatures of 8 barrier / a^2 along, and 1e7 kJ/mol/nm^2 across, over kT; D is 0.01."""
    across = "{kind: double_well, temperature_k: 300, stiffness_kj_per_mol_nm2: 1e7, half_distance_nm: 0.4}"
    found = chosen(
        f"prior={across}",
        "endpoints={start: {position_nm: [-0.4, 0]}, end: {position_nm: [0.4, 0]}}",
        "action.diffusion_nm2_per_ps=0.01",
    )
    assert found.dt_ps.value == pytest.approx(600 / (0.01 * 1e7 / thermal_energy(300)), rel=0.05)
    assert "stiffest" in found.dt_ps.reason


def test_a_molecule_gets_images_by_the_distance_of_its_ends():
    ends = torch.zeros(2, 4, 3)
    ends[1, :, 0] = 0.16
    assert images_by_distance(ends, is_molecule=True)[0] == 100
    assert images_by_distance(ends / 100, is_molecule=True)[0] == 50
    assert images_by_distance(ends * 100, is_molecule=True)[0] == 200


def test_rigid_motions_have_no_rate(root):
    """The ends are minima to 0.01/nm only; a rotation of them would otherwise look like the softest mode."""
    tools = Tools(
        load_recipe(root / ALANINE, SampleRecipe, ["prior.precision=float64"]), torch.device("cpu"), threads=1
    )
    diffusion = 2.494 / torch.tensor(tools.system.topology.masses_amu)
    turned = tools.system.ends.clone()
    turned[:, 0] += 0.01  # no minimum any more: without a projection rotations get curvatures of the force's size
    rates = rates_per_ps(tools.prior.at(0.01), turned, diffusion)
    assert rates.abs().sort(dim=1).values[:, :6].max() < 1e-6 * rates.max()


def test_a_lone_levenberg_marquardt_without_steps_gets_two_early_stages(chosen, root):
    assert len(chosen("optimize={method: levenberg_marquardt}").stages) == 1, "a point needs no help"
    open_ones = ["optimize={method: levenberg_marquardt}", "path.images=40", "action.dt_ps=0.1"]
    recipe = load_recipe(root / ALANINE, SampleRecipe, open_ones)
    stages = Tools(recipe, torch.device("cpu"), threads=1).chosen.stages
    assert [stage.images for stage in stages] == [12, 12, None]
    assert [stage.dt_ps for stage in stages] == [0.05, 0.2, None]
    assert [stage.max_steps for stage in stages] == [60, 80, 200]


def test_stages_with_given_steps_stay_as_they_are(chosen, written):
    change = "optimize={method: levenberg_marquardt, max_steps: 7}"
    assert chosen(change).stages == written(change).stages
    assert chosen(change).stages_reason == "given in the recipe"


def test_the_geometric_action_has_no_time_step(chosen, written):
    found = chosen("action={functional: geometric}", "optimize={method: string}")
    assert "without meaning" in found.dt_ps.reason
    with pytest.raises(RecipeError, match="stage 1 has a dt_ps, but the geometric action has no time step"):
        written("action={functional: geometric}", "optimize={method: lbfgs, max_steps: 5, dt_ps: 1}")
    with pytest.raises(RecipeError, match="unknown key"):
        written("action={functional: geometric, dt_ps: 1}")


def test_a_string_is_run_and_reported(written):
    changes = ["prior={kind: double_well, temperature_k: 300, half_distance_nm: 0.2}", "optimize={method: string}"]
    ends = "endpoints={start: {position_nm: [-0.2, 0]}, end: {position_nm: [0.2, 0]}}"
    manifest = run_recipe(written(*changes, ends, "path.images=41"), RunSettings(), Progress())
    assert manifest["outcome"] == "complete"
    path = manifest["paths"][0]
    assert path["action"]["total"] == pytest.approx(20 / thermal_energy(300), rel=5e-3)
    assert path["largest_over_mean_gap"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["levenberg_marquardt", "string"])
def test_the_embedded_prior_crosses_the_known_saddle_with_every_number_left_open(root, tmp_path, method):
    """36.37 kJ/mol is the saddle of the force field; the prior's own lies within 0.1 of it, and images straddle it."""
    open_ones = ["prior.diffusion_time=auto", "path.images=auto", "action={functional: truncated}", "path.paths=1"]
    recipe = load_recipe(root / ALANINE, SampleRecipe, [*open_ones, f"optimize={{method: {method}}}"])
    manifest = run_recipe(recipe, RunSettings(out=tmp_path / "out"), Progress())
    assert manifest["outcome"] == "complete"
    for kind in ("raw", "minimized"):
        assert manifest["paths"][0][kind]["barrier_forward_kj_per_mol"] == pytest.approx(36.37, abs=0.3)
