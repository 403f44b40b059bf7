"""Rounds of paths, shots, guided samples and new guesses, on a Gaussian and on the embedded alanine dipeptide."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode, Interrupted, RecipeError
from tpsctl.output.dcd import read_dcd
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.refine import RefineRecipe
from tpsctl.workflows.guide import rounds as guide_rounds
from tpsctl.workflows.refine.run import refine
from tpsctl.workflows.sample.settings import RunSettings

PATHS = """\
version: 1
name: points
seed: 4
endpoints: {start: {position_nm: [-1.5, 0.2]}, end: {position_nm: [1.5, -0.1]}}
prior: {kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 1.0}
path: {paths: 2, images: 20, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.1, diffusion_nm2_per_ps: 1.0}
optimize: {method: levenberg_marquardt, max_steps: 50}
validation:
  states: {A: [{kind: point, within_nm: 0.6}], B: [{kind: point, within_nm: 0.6}]}
output: {directory: unused, figures: false, report: false}
"""
REFINE = """\
version: 1
name: rounds
sample: paths.yaml
rounds: 2
shots: {paths: 1, around: 6, least: 20, most: 40, dt_ps: 0.05}
guide:
  strength: {height: 0.8, midpoint: 0.6}
  bandwidth: {floor: 0.5}
  shots: {least: 10, most: 20}
  sampling: {samples: 20, steps: 12, batch_samples: 10}
output: {directory: out}
"""
ALANINE_PATHS = """\
version: 1
name: alanine
seed: 1
endpoints: {start: {structure: %(folder)s/c7eq.pdb}, end: {structure: %(folder)s/c7ax.pdb}}
prior: {kind: checkpoint, checkpoint: %(folder)s/diffusion.safetensors, diffusion_time: 0.01}
path: {paths: 1, images: 40, guess: {kind: torsion, spread_deg: 0}}
action: {functional: truncated, dt_ps: 8e-4, friction_per_ps: 1.0, temperature_k: 300}
optimize: {method: levenberg_marquardt, max_steps: 10}
validation: {energy: {force_field: [amber99sbildn.xml], minimize: false}, saddle: false}
output: {directory: unused, figures: false, report: false}
"""
ALANINE = """\
version: 1
name: alanine
sample: paths.yaml
rounds: 1
shots: {paths: 1, around: 2, least: 8, most: 8, longest_ps: 2}
guide:
  strength: {height: 3, midpoint: 0.2}
  low: 0.1
  high: 0.9
  shots: {least: 4, most: 4, tuning: 4}
  sampling: {samples: 10, steps: 30, batch_samples: 10}
output: {directory: out}
"""


@pytest.fixture
def loaded(tmp_path):
    def load(*assignments, paths=PATHS, text=REFINE):
        (tmp_path / "paths.yaml").write_text(paths)
        (tmp_path / "refine.yaml").write_text(text)
        return load_recipe(tmp_path / "refine.yaml", RefineRecipe, list(assignments))

    return load


def run(recipe, out, **settings):
    return refine(recipe, RunSettings(out, threads=1, device="cpu", **settings), Progress())


def files(folder):
    """All tables and trajectories of all rounds but the tables with times."""
    kinds = {".csv", ".dcd", ".pdb"}
    found = {file.relative_to(folder): file for file in folder.rglob("*") if file.suffix in kinds}
    return {name: file.read_bytes() for name, file in found.items() if name.name not in ("paths.csv", "steps.csv")}


def test_a_second_round_goes_through_the_transition_states_of_the_first(loaded, tmp_path):
    done = run(loaded(), tmp_path / "out")
    assert [entry["round"] for entry in done["rounds"]] == [1, 2]
    rates = {name: [entry[name]["fraction"] for entry in done["rounds"]] for name in ("success", "unguided_success")}
    assert sum(rates["success"]) > sum(rates["unguided_success"])
    assert rates["success"][0] != rates["success"][1]  # every round draws samples of its own
    for entry in done["rounds"]:
        assert 2 <= entry["guides"] <= entry["images"]
        assert entry["transition_states"] == round(20 * entry["success"]["fraction"])
    folder = tmp_path / "out/round_1"
    states = read_dcd(folder / "transition_states.dcd")
    guess = read_dcd(folder / "guesses/guess_0000.dcd")
    # the first transition state is where the halves of the first guess meet; ends are those of the recipe, in Angstrom
    assert guess[49] == pytest.approx(states[0], abs=1e-4)
    assert guess[0, 0, :2] == pytest.approx([-15, 2], abs=1e-4)
    assert guess[-1, 0, :2] == pytest.approx([15, -1], abs=1e-4)
    recipe = json.loads((tmp_path / "out/round_2/sample/manifest.json").read_text())["recipe"]
    assert recipe["path"]["guess"]["trajectories"][0] == str(folder / "guesses/guess_0000.dcd")
    # where the committor is one half, the point lies near the line x = 0 of symmetry
    assert abs(torch.from_numpy(states[:, 0, 0].copy())).mean() < 4


def test_interrupted_in_the_middle_it_goes_on_to_the_same_result(loaded, tmp_path, monkeypatch):
    recipe = loaded()
    run(recipe, tmp_path / "whole")
    draw, calls = guide_rounds.draw, []

    def stops(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) in (2, 7):
            raise KeyboardInterrupt
        return draw(*args, **kwargs)

    monkeypatch.setattr(guide_rounds, "draw", stops)
    for _ in range(2):
        with pytest.raises(Interrupted):
            run(recipe, tmp_path / "cut")
    done = run(recipe, tmp_path / "cut")
    # 4 blocks a round, in two rounds, and one more call for each interruption: finished stages are not repeated
    assert len(calls) == 8 + 2
    assert done["outcome"] == json.loads((tmp_path / "whole/manifest.json").read_text())["outcome"]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert run(recipe, tmp_path / "cut")["rounds"] == done["rounds"]
    assert len(calls) == 10


def test_another_recipe_is_refused_and_overwrite_replaces(loaded, tmp_path):
    recipe = loaded("rounds=1")
    run(recipe, tmp_path / "out")
    other = loaded("rounds=1", "guide.sampling.samples=10")
    with pytest.raises(RecipeError, match="another recipe was run here.*--overwrite"):
        run(other, tmp_path / "out")
    done = run(other, tmp_path / "out", overwrite=True)
    assert done["rounds"][0]["transition_states"] <= 10
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="holds files of something else"):
        run(recipe, tmp_path / "mine", overwrite=True)
    with pytest.raises(RecipeError, match="--resume: there is nothing to go on with"):
        run(recipe, tmp_path / "new", resume=True)


def test_without_a_transition_state_it_says_so(loaded, tmp_path):
    recipe = loaded("shots.around=0")
    (tmp_path / "refine.yaml").write_text(REFINE.replace("around: 6", "around: 0"))
    words = ["refine", str(tmp_path / "refine.yaml"), "--json", "--threads", "1", "--device", "cpu"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == ExitCode.NOT_VALID, result.output
    assert json.loads(result.stdout)["outcome"] == "no_transition_state"
    again = CliRunner().invoke(app, [word for word in words if word != "--json"])
    assert "NO TRANSITION STATE" in again.stdout
    assert recipe.shots.around == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 1.0",
            "kind: double_well, temperature_k: 300",
            "prior.kind: double_well: samples of",
        ),
        ("optimize: {method: levenberg_marquardt, max_steps: 50}\n", "", "optimize: a search for routes makes its own"),
    ],
)
def test_paths_that_cannot_be_refined_are_refused(loaded, tmp_path, before, after, message):
    recipe = loaded(paths=PATHS.replace(before, after))
    with pytest.raises(RecipeError, match=message):
        run(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_alanine_dipeptide_goes_through_a_round(loaded, tmp_path, root):
    folder = {"folder": root / "recipes/alanine_dipeptide"}
    done = run(loaded(paths=ALANINE_PATHS % folder, text=ALANINE), tmp_path / "out")
    (entry,) = done["rounds"]
    assert entry["barrier_kj_per_mol"] == pytest.approx(36, abs=6)
    assert entry["guides"] >= 2
    assert entry["success"]["fraction"] > 0
    guess = read_dcd(tmp_path / "out/round_1/guesses/guess_0000.dcd")
    assert guess.shape == (99, 22, 3)


def test_the_shipped_surface_has_more_samples_at_its_transition_state(tmp_path, root):
    """The shipped recipe with few images, samples and shots; none of 20 unguided samples is at the transition state."""
    recipe = load_recipe(
        root / "recipes/mueller_brown_refine.yaml",
        RefineRecipe,
        [
            "rounds=1",
            "shots={paths: 1, around: 1, least: 10, most: 10}",
            "guide.low=0.2",
            "guide.high=0.8",
            "guide.shots={least: 5, most: 5, tuning: 5}",
            "guide.sampling={samples: 20, steps: 30, batch_samples: 20}",
        ],
    )
    (entry,) = run(recipe, tmp_path / "out")["rounds"]
    assert entry["images"] == 3
    assert entry["guides"] >= 2
    assert entry["success"]["low"] > entry["unguided_success"]["fraction"]
    assert entry["unguided_success"]["fraction"] <= 0.1
    assert entry["outcome"] in ("complete", "collapsed")
