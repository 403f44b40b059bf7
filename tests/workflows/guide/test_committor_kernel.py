"""Guidance along a committor that is fitted to shots in rounds, on a Gaussian in two dimensions.

States are disks around two opposite ends, so by symmetry the committor is one half on the line between them, whose
direction the fit has to find.
"""

import csv
import json

import mdtraj
import pytest
import torch

from tpsctl.cli.show_guide import show
from tpsctl.errors import Interrupted, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.loader import load_recipe
from tpsctl.workflows.guide import rounds
from tpsctl.workflows.guide.kernels import committor
from tpsctl.workflows.guide.run import guide_recipe, make_campaign
from tpsctl.workflows.guide.tools import make_tools
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.settings import RunSettings

RECIPE = """\
version: 1
name: surface
seed: 5
prior: {kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 0.5}
guide:
  kind: path
  guides: {points_nm: [[0.2, -0.2], [-0.2, 0.2]]}
  success:
    kind: committor
    ends: {points_nm: [[-0.7, -0.7], [0.7, 0.7]]}
    states: {A: [{kind: point, within_nm: 0.5}], B: [{kind: point, within_nm: 0.5}]}
    dynamics: {kind: prior, dt_ps: 0.005}
    shots: {least: 10, most: 30}
  kernel: {kind: committor, rounds: 2, samples: 40, shots: 5, strength: {height: 1, midpoint: 0.7}}
  sensitivity: false
sampling: {samples: 60, steps: 40, batch_samples: 30}
output: {directory: out, figures: false}
"""


@pytest.fixture
def loaded(tmp_path):
    def load(*assignments, text=RECIPE):
        (tmp_path / "guide.yaml").write_text(text)
        return load_recipe(tmp_path / "guide.yaml", GuideRecipe, list(assignments))

    return load


def run(recipe, out, **settings):
    return guide_recipe(recipe, RunSettings(out, threads=1, **settings), Progress())


def files(out):
    found = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    return {name: content for name, content in found.items() if name.name != "manifest.json"}


def table(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_samples_gather_where_the_committor_is_one_half(loaded, tmp_path, capsys):
    out = tmp_path / "out"
    done = run(loaded(), out)
    guided, unguided = done["success"]["guided"], done["success"]["unguided"]
    assert guided["fraction"] > unguided["fraction"]
    top = mdtraj.load(out / "topology.pdb").topology
    away = {name: mdtraj.load(out / f"samples/{name}.dcd", top=top).xyz[:, 0, :2].sum(1) for name in done["success"]}
    # x + y of the data has the standard deviation 0.5 * 2^(1/2), which 60 samples know to 9 %
    assert away["unguided"].std() == pytest.approx(0.71, rel=0.3)
    assert away["guided"].std() < 0.4 * away["unguided"].std()
    assert set(done["success"]) == {"guided", "unguided"}, "lessons are no result"
    about = done["coordinate"]
    assert len(about["rounds"]) <= 3
    assert about["rounds"][0]["deviance"] is None, "the first fit had nothing to predict"
    assert about["shots"] == sum(each["shots"] for each in about["rounds"])
    rows = {row["feature"]: float(row["coefficient"]) for row in table(out / "coefficients.csv")}
    assert set(rows) > {"coordinate 1", "coordinate 2", "1"}
    # the surface is x + y = 0, so both coefficients are alike; each is known to about a tenth by some 1000 shots
    assert rows["coordinate 1"] == pytest.approx(rows["coordinate 2"], rel=0.4)
    assert len(table(out / "coordinate.csv")) == 2
    show(json.loads((out / "manifest.json").read_text()))
    assert "reaction coordinate from" in capsys.readouterr().out.replace("\n", " ")


def test_the_shots_that_are_reported_taught_nothing(loaded, tmp_path):
    """Guided samples are the same as if their shots had been others: nothing is fitted to them."""
    first = run(loaded("output.ensembles=[pdb]"), tmp_path / "first")
    other = run(loaded("output.ensembles=[pdb]", "guide.success.shots={least: 10, most: 20}"), tmp_path / "other")
    lessons = [run_["coordinate"]["rounds"][1:] for run_ in (first, other)]
    assert [each["samples"] for each in lessons[0]] == [each["samples"] for each in lessons[1]]
    total = first["coordinate"]["samples"]
    assert total <= 60 + 2 * 40, "unguided samples and lessons, and none of the 60 guided ones"


def test_interrupted_in_a_lesson_it_goes_on_to_the_same_files(loaded, tmp_path, monkeypatch):
    recipe = loaded()
    run(recipe, tmp_path / "whole")
    draw, calls = rounds.draw, []

    def stops(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) in (2, 4, 6):
            raise KeyboardInterrupt
        return draw(*args, **kwargs)

    monkeypatch.setattr(rounds, "draw", stops)
    for _ in range(3):
        with pytest.raises(Interrupted):
            run(recipe, tmp_path / "cut")
    run(recipe, tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_shards_make_the_result_of_one_process(loaded, tmp_path):
    recipe = loaded()
    run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "parts", shard=Shard(1, 2))
    gather(tmp_path / "parts", Progress())
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_rounds_end_when_new_shots_are_as_predicted(loaded, tmp_path):
    """With a quadratic fit this committor is known after a round or two, so that not all of twelve are needed."""
    done = run(loaded("guide.kernel.rounds=12"), tmp_path / "out")
    taught = done["coordinate"]["rounds"]
    assert len(taught) < 13
    assert taught[-1]["deviance"] <= 1.15 * taught[-1]["by_chance"]


def test_unguided_samples_that_reach_one_state_only_are_refused(loaded, tmp_path):
    recipe = loaded("guide.success.ends={points_nm: [[-0.7, -0.7], [9, 9]]}", "guide.success.dynamics.longest_ps=1")
    with pytest.raises(RecipeError, match=r"guide.kernel: a reaction coordinate needs shots that reach both states"):
        run(recipe, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["guide.kernel.turning=[phi]"], "guide.kernel.turning: a point has no torsions"),
        (["guide.kernel.near_rad=0.2"], "guide.kernel.near_rad: a point has no torsions"),
        (["guide.strength={height: 3}"], "guide.strength: is that of the kernels superposed and torsions"),
        (["guide.bandwidth={floor: 3}"], "guide.bandwidth: is that of the kernels superposed and torsions"),
        (["sampling.process=ode"], "sampling.process: ode needs another guide.kernel"),
        (
            ["guide.success={kind: ranges, ranges: [{observable: {kind: coordinate, dimension: 0}, low: 0, high: 1}]}"],
            "guide.kernel: kind: committor is taught by shots",
        ),
    ],
)
def test_what_does_not_fit_is_named(loaded, tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        run(loaded(*change), tmp_path / "out")


@pytest.fixture
def alanine(tmp_path, root):
    """The kernel of a recipe for alanine dipeptide."""
    folder = root / "recipes" / "alanine_dipeptide"
    ends = f"{{structures: [{folder / 'c7eq.pdb'}, {folder / 'c7ax.pdb'}]}}"
    text = RECIPE.replace("{points_nm: [[0.2, -0.2], [-0.2, 0.2]]}", ends)
    text = text.replace("{points_nm: [[-0.7, -0.7], [0.7, 0.7]]}", ends)
    checkpoint = f"{{kind: checkpoint, checkpoint: {folder}/diffusion.safetensors}}"
    text = text.replace("{kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 0.5}", checkpoint)
    text = text.replace("{kind: prior, dt_ps: 0.005}", "{kind: force_field, force_field: [amber99sbildn.xml]}")
    text = "\n".join(line for line in text.splitlines() if "states:" not in line)

    def made(*assignments):
        (tmp_path / "guide.yaml").write_text(text)
        recipe = load_recipe(tmp_path / "guide.yaml", GuideRecipe, list(assignments))
        return make_campaign(make_tools(recipe, torch.device("cpu"))).kernel

    return made


@pytest.mark.parametrize(
    ("change", "count"),
    [
        # 8 harmonics of phi and psi with their 4 + 12 products, and 19 base features times 13 harmonics with 1
        ((), 8 + 16 + 19 * 13),
        # 4 harmonics of phi; psi is now a base feature, twice
        (("guide.kernel.turning=[phi ALA2]",), 4 + 21 * 5),
    ],
)
def test_torsions_that_turn_between_the_ends_multiply_the_features(alanine, change, count):
    assert alanine(*change).features.count == count


def test_a_torsion_that_is_not_there_is_refused(alanine):
    with pytest.raises(RecipeError, match="guide.kernel.turning: got 'chi1 ALA2', expected some of omega ALA2"):
        alanine("guide.kernel.turning=[chi1 ALA2]")


def test_more_features_than_can_be_fitted_are_refused(alanine, monkeypatch):
    monkeypatch.setattr(committor, "_MOST_FEATURES", 200)
    with pytest.raises(RecipeError, match="guide.kernel: 271 features of this molecule with 2 turning torsions"):
        alanine()
