"""Guided runs from the recipe to the files, on a Gaussian and on the embedded alanine dipeptide."""

import csv
import json
import math

import mdtraj
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode, Interrupted, MissingDependencyError, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.loader import load_recipe
from tpsctl.workflows.guide import rounds
from tpsctl.workflows.guide.run import guide_recipe
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.settings import RunSettings

AVERAGES = """\
version: 1
name: average
seed: 5
prior: {kind: gaussian, mean_nm: [0.3, -0.2], std_nm: 0.5}
guide:
  kind: observables
  observables:
    - {kind: coordinate, dimension: 0, target_nm: 0.5, error_nm: 0.05}
    - {kind: coordinate, dimension: 1, target_nm: -0.2, held_out: true}
sampling: {samples: 240, steps: 80, batch_samples: 120}
output: {directory: out, ensembles: [dcd, xtc, pdb], figures: false}
"""
STRUCTURES = """\
version: 1
name: structures
seed: 5
prior: {kind: gaussian, mean_nm: [0.3, -0.2], std_nm: 0.5}
guide:
  kind: path
  guides: {points_nm: [[0.9, 0.1], [0.8, 0.3], [1.0, 0.2]]}
  success:
    kind: ranges
    ranges:
      - {observable: {kind: coordinate, dimension: 0}, low: 0.7, high: 1.1}
      - {observable: {kind: coordinate, dimension: 1}, low: 0.0, high: 0.4}
  strength: {height: 1.7, midpoint: 0.8}
  bandwidth: {floor: 0.6, midpoint: 0.5}
sampling: {samples: 200, steps: 50}
output: {directory: out, figures: false}
"""
ALANINE = """\
version: 1
name: alanine
seed: 1
prior: {kind: checkpoint, checkpoint: %s}
guide:
  kind: observables
  observables: [{kind: coupling, dihedral: phi ALA2, target_hz: 6.5, error_hz: 0.5}]
  strength: {height: 2, decay: 8}
sampling: {samples: 12, steps: 30}
output: {directory: out}
"""


@pytest.fixture
def loaded(tmp_path):
    def load(text, *assignments):
        (tmp_path / "guide.yaml").write_text(text)
        return load_recipe(tmp_path / "guide.yaml", GuideRecipe, list(assignments))

    return load


def run(recipe, out, **settings):
    return guide_recipe(recipe, RunSettings(out, threads=1, **settings), Progress())


def table(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_a_guided_average_is_its_target(loaded, tmp_path):
    done = run(loaded(AVERAGES), tmp_path / "out")
    assert done["outcome"] == "complete"
    fitted, held_out = done["observables"]
    # the closed form: lambda = (mean - F) / std^2, KL = (F - mean)^2 / (2 std^2)
    assert abs(fitted["multiplier"] - (0.3 - 0.5) / 0.25) < 4 * fitted["multiplier_error"]
    assert abs(done["entropy_loss_nats"] - 0.04 / 0.5) < 0.06  # four times its spread over 240 samples
    assert done["excess_work_nats"] == pytest.approx(done["entropy_loss_nats"], rel=0.25)
    guided = fitted["averages"]["guided"]
    assert abs(guided["value"] - 0.5) < 4 * guided["error"]
    corrected = fitted["averages"]["corrected"]
    assert abs(corrected["value"] - 0.5) < 4 * corrected["error"] + 4 * guided["error"]
    assert held_out["held_out"]
    assert held_out["multiplier"] is None
    # classifier guidance drives every single sample to the target, so its spread collapses
    assert fitted["averages"]["classifier"]["error"] < 0.2 * guided["error"]


def test_the_files_of_a_run(loaded, tmp_path):
    out = tmp_path / "out"
    run(loaded(AVERAGES, "output.figures=true", "sampling.steps=30"), out)
    samples, work = table(out / "samples.csv"), table(out / "work.csv")
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(samples) == 240
    weights = [float(row["weight_unguided"]) for row in samples]
    assert sum(weights) == pytest.approx(240)
    total = sum(float(row["work_nats"]) for row in work)
    assert total == pytest.approx(manifest["excess_work_nats"])
    assert float(work[-1]["work_so_far_nats"]) == pytest.approx(total)
    top = mdtraj.load(out / "topology.pdb").topology
    x = np.array([float(row["x (nm)"]) for row in samples])
    for name in ("guided.dcd", "guided.xtc", "guided.pdb"):
        found = mdtraj.load(out / "samples" / name, top=None if name.endswith("pdb") else top).xyz
        np.testing.assert_allclose(found[:, 0, 0], x, atol=6e-4)
    assert {file.name for file in (out / "samples").iterdir()} == {
        f"{name}.{kind}" for name in ("guided", "unguided", "classifier") for kind in ("dcd", "xtc", "pdb")
    }
    assert {file.stem for file in (out / "figures").iterdir()} == {"work", "targets", "samples"}
    assert not (out / "state").exists()


def test_guides_raise_success_and_are_not_copied(loaded, tmp_path):
    done = run(loaded(STRUCTURES), tmp_path / "out")
    assert done["outcome"] == "complete"
    success = done["success"]
    assert success["guided"]["low"] > 5 * success["unguided"]["fraction"]
    assert not done["collapse"]["collapsed"]
    # less success at twice the bandwidth, for less work
    assert success["double bandwidth"]["fraction"] < success["guided"]["fraction"]
    assert success["double bandwidth"]["work_nats"] < success["guided"]["work_nats"]
    # no process that reaches a set of probability p with probability q costs less than KL(q | p)
    p, q = success["unguided"]["high"], success["guided"]["low"]
    assert done["excess_work_nats"] > q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def test_samples_that_are_copies_of_the_guides_have_collapsed(loaded, tmp_path):
    narrow = loaded(STRUCTURES, "guide.bandwidth={floor: 0.01, midpoint: 2}", "guide.strength={height: 5, midpoint: 2}")
    done = run(narrow, tmp_path / "out")
    assert done["outcome"] == "collapsed"
    assert "COLLAPSED" in done["collapse"]["words"]
    assert done["collapse"]["nearest_guide_nm"] < 0.02


def test_a_tuned_run_is_better_than_its_first_points(loaded, tmp_path):
    tune = "guide.tune={evaluations: 8, initial: 6, samples: 20, work_weight: 0.1}"
    done = run(loaded(STRUCTURES, tune, "sampling.steps=20", "sampling.samples=20"), tmp_path / "out")
    rows = table(tmp_path / "out" / "tuning.csv")
    values = [float(row["value"]) for row in rows]
    assert len(rows) == 8
    best = rows[values.index(min(values))]
    assert done["numbers"] == {name: pytest.approx(float(best[name])) for name in done["numbers"]}
    for row in rows:
        assert float(row["value"]) == pytest.approx(float(row["misfit"]) + 0.1 * float(row["work_nats"]))


def files(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.csv")} | {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.dcd")
    }


def test_interrupted_between_blocks_it_goes_on_to_the_same_result(loaded, tmp_path, monkeypatch):
    tune = "guide.tune={evaluations: 5, initial: 4, samples: 20}"
    recipe = loaded(AVERAGES, tune, "sampling.samples=40", "sampling.batch_samples=20", "sampling.steps=20")
    run(recipe, tmp_path / "whole")
    draw, calls = rounds.draw, []

    def stops(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) in (2, 6, 12):
            raise KeyboardInterrupt
        return draw(*args, **kwargs)

    monkeypatch.setattr(rounds, "draw", stops)
    for _ in range(3):
        with pytest.raises(Interrupted):
            run(recipe, tmp_path / "cut")
    run(recipe, tmp_path / "cut")
    # 2 blocks unguided, 5 evaluations, 2 guided and 2 classifier blocks, and one more call for each interruption
    assert len(calls) == 11 + 3
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_shards_make_the_result_of_one_process(loaded, tmp_path):
    recipe = loaded(AVERAGES, "sampling.samples=40", "sampling.batch_samples=20", "sampling.steps=20")
    run(recipe, tmp_path / "whole")
    done = run(recipe, tmp_path / "parts", shard=Shard(1, 2))
    assert done["shard"] == "1/2"
    gather(tmp_path / "parts", Progress())
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_finished_run_is_not_repeated_and_another_is_refused(loaded, tmp_path):
    run(
        loaded(AVERAGES, "guide.baseline=false", "guide.observables.0.error_nm=0.3", "sampling.steps=10"),
        tmp_path / "out",
    )
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert (
        run(
            loaded(AVERAGES, "guide.baseline=false", "guide.observables.0.error_nm=0.3", "sampling.steps=10"),
            tmp_path / "out",
        )["outcome"]
        == "complete"
    )
    with pytest.raises(RecipeError, match="(?s)another recipe.*--overwrite"):
        run(loaded(AVERAGES, "seed=6"), tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_the_ode_achieves_the_target_by_noised_guidance(loaded, tmp_path):
    """a exp(-b t) with b = 3 stands for the exact c^2 / (c^2 + s^2); the tuned height makes up for the rest."""
    recipe = loaded(
        AVERAGES,
        "sampling={samples: 200, steps: 40, process: ode}",
        "guide.evaluate=noised",
        "guide.strength={height: 1, decay: 3}",
        "guide.observables.0.error_nm=0.2",
    )
    done = run(recipe, tmp_path / "out")
    assert done["outcome"] == "complete"
    # KL of the pushed-forward density is at least that of the shift of the mean, (F - mean)^2 / (2 std^2)
    guided = done["observables"][0]["averages"]
    shift = guided["guided"]["value"] - guided["unguided"]["value"]
    assert done["excess_work_nats"] > 0.5 * shift**2 / 0.5


def test_alanine_dipeptide_is_sampled_and_written(loaded, tmp_path, root):
    text = ALANINE % (root / "recipes/alanine_dipeptide/diffusion.safetensors")
    run(loaded(text), tmp_path / "out")
    trajectory = mdtraj.load(tmp_path / "out/samples/guided.dcd", top=tmp_path / "out/topology.pdb")
    assert trajectory.n_frames == 12
    assert trajectory.n_atoms == 22
    pairs = [[a.index, b.index] for a, b in trajectory.topology.bonds]
    native = mdtraj.load(root / "recipes/alanine_dipeptide/c7eq.pdb")
    lengths = mdtraj.compute_distances(trajectory, pairs)
    names = [(str(a), str(b)) for a, b in trajectory.topology.bonds]
    expected = {(str(a), str(b)): (a.index, b.index) for a, b in native.topology.bonds}
    heavy = [k for k, name in enumerate(names) if name in expected and not any("H" in part[4:] for part in name)]
    assert len(heavy) >= 6
    there = mdtraj.compute_distances(native, [expected[names[k]] for k in heavy])[0]
    # 30 coarse steps leave bonds a spread of some per cent
    np.testing.assert_allclose(np.median(lengths[:, heavy], 0), there, rtol=0.1)


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        (
            AVERAGES,
            "guide.observables.0.target_nm=9",
            r"x \(nm\): target 9 is out of reach: .* from",
        ),
        (AVERAGES, "guide.observables.0.dimension=2", "guide.observables.0.dimension: got 2, the prior has 2"),
        (AVERAGES, "guide.observables.1={kind: coordinate, dimension: 0, held_out: true}", '2 observables.*called "x"'),
        (AVERAGES, "guide.observables.1={kind: radius_of_gyration, held_out: true}", "of a point, .* of a molecule"),
        (STRUCTURES, "guide.guides={points_nm: [[0.9, 0.1]]}", "guide.guides: got 1 structure, expected at least 2"),
        (
            STRUCTURES,
            "guide.guides={points_nm: [[1, 2, 3], [0.9, 0.1, 2]]}",
            "point of 3 coordinates, the prior has 2",
        ),
    ],
)
def test_what_cannot_be_done_is_named(loaded, tmp_path, text, change, message):
    with pytest.raises(RecipeError, match=message):
        run(loaded(text, change), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("guide.observables.0.dihedral=phi ALA7", 'guide.observables.0: no dihedral "phi ALA7".*phi ALA2'),
        ('guide.observables.0={kind: distance, atoms: ["ALA2:N", "ALA2:XX"], target_nm: 0.3}', 'no atom "ALA2:XX"'),
        (
            'guide.observables.0={kind: noe, pairs: [["ALA2:N", "ALA2:N"]], target_nm: 0.3}',
            "not a number for 12",
        ),
        ("guide.observables.0={kind: coordinate, dimension: 0, target_nm: 1}", "the prior is of a molecule"),
    ],
)
def test_what_an_observable_of_a_molecule_lacks_is_named(loaded, tmp_path, root, change, message):
    text = ALANINE % (root / "recipes/alanine_dipeptide/diffusion.safetensors")
    with pytest.raises(RecipeError, match=message):
        run(loaded(text, change, "sampling.steps=2"), tmp_path / "out")


def test_tuning_without_its_package_is_refused_before_any_work(loaded, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(MissingDependencyError, match="guide.tune needs"):
        run(loaded(STRUCTURES, "guide.tune={evaluations: 10}"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_answers_and_its_exit_code_tells(tmp_path):
    (tmp_path / "guide.yaml").write_text(AVERAGES)
    words = ["guide", str(tmp_path / "guide.yaml"), "--json", "--threads", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == ExitCode.COMPLETE, result.output
    answer = json.loads(result.stdout)
    assert answer["outcome"] == "complete"
    assert answer["directory"] == str(tmp_path / "out")
    result = CliRunner().invoke(app, words[:2])  # the result is there already
    assert "averages" in result.stdout
    assert "excess work: " in result.stdout
    weak = [*words, "--out", str(tmp_path / "weak"), "--set", "guide.strength.height=0"]
    assert CliRunner().invoke(app, weak).exit_code == ExitCode.NOT_VALID


def test_the_natural_bandwidth_is_the_spread_of_a_gaussian_cloud(generator):
    from tpsctl.score.guidance.metrics import Superposition
    from tpsctl.workflows.guide.diversity import natural_bandwidth

    plane = Superposition(2, superposed=False)
    guides = 0.3 * torch.randn(200, 1, 2, generator=generator)
    far = torch.randn(20, 1, 2, generator=generator)
    # pairs of 200 points give the spread to some per cent
    assert natural_bandwidth(guides, 1e-3 * far, plane) == pytest.approx(0.3, rel=0.1)
    # guides that are nearer to one another than samples are to their neighbors do not make the kernel narrower
    grid = torch.arange(5.0).view(-1, 1, 1).expand(-1, 1, 2)
    assert natural_bandwidth(1e-3 * guides, grid, plane) == pytest.approx(2**0.5 / 2)


def test_a_bandwidth_that_is_not_given_is_found(loaded, tmp_path):
    from tpsctl.score.guidance.metrics import Superposition
    from tpsctl.workflows.guide.diversity import natural_bandwidth

    recipe = loaded(STRUCTURES, "guide.bandwidth={midpoint: 0.5}", "sampling={samples: 20, steps: 10}")
    done = run(recipe, tmp_path / "out")
    written = mdtraj.load(tmp_path / "out/samples/unguided.dcd", top=tmp_path / "out/topology.pdb").xyz
    unguided = torch.tensor(written[..., :2], dtype=torch.float64)
    spread = float((unguided - unguided.mean((0, 1))).square().mean().sqrt())
    points = torch.tensor(recipe.guide.guides.points_nm).unsqueeze(1)
    natural = natural_bandwidth(points, unguided, Superposition(2, superposed=False))
    # the file has single precision
    assert done["numbers"]["bandwidth_floor"] == pytest.approx(natural / spread, rel=1e-5)


def test_success_across_half_a_turn_and_its_interval():
    from tpsctl.simulation.shooting.committor import wilson_interval
    from tpsctl.workflows.guide.success.ranges import in_range

    values = torch.tensor([170.0, -175.0, 0.0, 150.0])
    assert in_range(values, 160, -160, 360.0).tolist() == [True, True, False, False]
    assert in_range(values, -10, 10, 360.0).tolist() == [False, False, True, False]
    assert in_range(values, -180, 180, 360.0).all()
    low, high = wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))  # Wilson 1927, by hand
    assert wilson_interval(0, 20)[0] == 0
