"""The main job on model potentials, from the recipe to the files, and the promises of the run directory."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import mdtraj
import pytest
import torch
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import Interrupted, OutputError, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import make_stages
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

DOUBLE_WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 2, images: 12, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.01, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, trajectories: [dcd, pdb], figures: false}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "well.yaml"
    path.write_text(DOUBLE_WELL)
    return path


def run(recipe, *assignments, **settings):
    return run_recipe(load_recipe(recipe, SampleRecipe, assignments), RunSettings(threads=1, **settings), Progress())


def check(recipe, *assignments):
    return check_recipe(load_recipe(recipe, SampleRecipe, assignments), RunSettings(threads=1))


def test_a_run_leaves_everything_the_manifest_promises(recipe, tmp_path):
    manifest = run(recipe)
    out = tmp_path / "out"
    assert manifest["outcome"] == "complete"
    assert json.loads((out / "manifest.json").read_text())["digest"] == manifest["digest"]
    assert sorted(p.name for p in out.iterdir()) == [
        "images.csv",
        "manifest.json",
        "paths",
        "paths.csv",
        "report.html",
        "steps.csv",
        "topology.pdb",
    ]
    for i in range(2):
        path = mdtraj.load_dcd(str(out / "paths" / f"path_{i:04d}.dcd"), top=str(out / "topology.pdb"))
        assert path.n_frames == 12
    rows = list(csv.DictReader((out / "paths.csv").open()))
    assert [row["status"] for row in rows] == ["converged", "converged"]
    assert len(list(csv.DictReader((out / "images.csv").open()))) == 24


def test_barrier_of_the_double_well(recipe):
    entry = run(recipe, "path.images=41", "optimize.max_steps=200")["paths"][0]
    # the path must climb the barrier of 20 kJ/mol; the nearest of 41 images may miss its very top
    assert entry["raw"]["barrier_forward_kj_per_mol"] == pytest.approx(20, abs=0.5)


def test_the_same_recipe_is_not_run_twice(recipe):
    first = run(recipe)
    assert run(recipe)["started"] == first["started"]


def test_another_recipe_is_refused_unless_overwriting(recipe):
    run(recipe)
    with pytest.raises(RecipeError, match=r"recipe\.seed: 3 there, 4 now"):
        run(recipe, "seed=4")
    assert run(recipe, "seed=4", overwrite=True)["recipe"]["seed"] == 4


def test_too_few_steps_end_as_not_converged_with_a_remedy(recipe):
    manifest = run(recipe, "optimize={method: adam, max_steps: 1, learning_rate_nm: 1e-4}")
    assert manifest["outcome"] == "not_converged"
    assert "Raise optimize.max_steps" in manifest["paths"][0]["remedy"]
    assert [entry["steps"] for entry in manifest["paths"]] == [1, 1]
    assert len(list((recipe.parent / "out" / "paths").glob("*.dcd"))) == 2


def action_of_guess(recipe, *assignments):
    """Total action of the straight line between the ends, for the last stage of a recipe."""
    loaded = load_recipe(recipe, SampleRecipe, assignments)
    tools = Tools(loaded, torch.device("cpu"), threads=1)
    line = torch.lerp(*tools.system.ends, torch.linspace(0, 1, loaded.path.images).reshape(-1, 1, 1))
    return make_stages(loaded, tools.chosen, tools.prior, tools.system)[-1].action.terms(line[None]).total.item()


@pytest.mark.parametrize(
    ("assignments", "terms"),
    [
        (["action.functional=euler_maruyama"], {"kinetic", "drift", "cross"}),
        (
            ["action.functional=onsager_machlup", "optimize={method: adam, max_steps: 30, learning_rate_nm: 1e-3}"],
            {"kinetic", "drift", "divergence"},
        ),
        (
            [
                "action.functional=onsager_machlup",
                "action.divergence={kind: hutchinson, probes: 2}",
                "optimize={method: sgd, max_steps: 3, learning_rate_nm2: 1e-9}",
            ],
            {"kinetic", "drift", "divergence"},
        ),
        (
            [
                "optimize=[{method: levenberg_marquardt, max_steps: 5, dt_ps: 1e-3}, "
                "{method: adam, max_steps: 30, learning_rate_nm: 1e-3}]"
            ],
            {"kinetic", "drift"},
        ),
    ],
)
def test_functionals_and_methods_lower_their_action_and_report_its_terms(recipe, assignments, terms):
    """With this step kinetic and drift term are of one size, so that the straight line is far from a minimum."""
    assignments = ["action.dt_ps=0.3", *assignments]
    entries = run(recipe, *assignments)["paths"]
    for entry in entries:
        action = entry["action"]
        assert action["total"] < action_of_guess(recipe, *assignments)
        assert {name for name, value in action.items() if value != 0} - {"divergence_error"} == (terms | {"total"}) - {
            "divergence_error"
        }
        parts = [action[name] for name in ("kinetic", "drift", "cross", "divergence")]
        assert action["total"] == pytest.approx(sum(parts), rel=1e-12)  # rounding of three additions


def test_seeds_belong_to_paths_not_to_their_number(recipe, tmp_path):
    two, one = run(recipe), run(recipe, "path.paths=1", out=tmp_path / "one")
    assert two["paths"][0]["seed"] == one["paths"][0]["seed"]
    assert two["paths"][0]["seed"] != two["paths"][1]["seed"]


def test_after_a_failure_only_state_is_left_and_the_next_start_completes(recipe, tmp_path):
    fail_once(lambda: run(recipe))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["state"]
    status = json.loads((tmp_path / "out" / "state" / "shards" / "0001_of_0001" / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["message"]) == ("failed", 1, "division by zero")
    assert run(recipe)["outcome"] == "complete"
    assert not (tmp_path / "out" / "state").exists()


def test_command_line_prints_the_table_and_json(recipe):
    result = CliRunner().invoke(app, ["sample", str(recipe), "--threads", "1"])
    assert result.exit_code == 0
    assert "2 requested, 2 produced, 2 converged, 2 valid" in result.stdout
    again = CliRunner().invoke(app, ["sample", str(recipe), "--json"])
    assert json.loads(again.stdout)["converged"] == 2
    assert "nothing to do" in again.stderr


def test_check_finds_nothing_wrong_with_a_good_recipe(recipe):
    report = check(recipe)
    assert report.passed, report.findings
    assert {"recipe", "output", "ends", "prior", "guess", "action", "cost"} <= {f.what for f in report.findings}


END = "endpoints.end.position_nm=[2]"


@pytest.mark.parametrize(
    ("assignments", "what", "text"),
    [
        (["endpoints.end.position_nm=[1]"], "ends", "start has 2 coordinates, end has 1"),
        (
            ["prior={kind: mueller_brown, temperature_k: 1}", "endpoints.start.position_nm=[1]", END],
            "prior",
            "in 2 dimensions",
        ),
        (["prior={kind: openmm, force_field: [amber14-all.xml], temperature_k: 300}"], "prior", "needs structures"),
        (["path.guess={kind: latent, level: 0.1}"], "guess", "needs a generative prior"),
    ],
)  # fmt: skip
def test_check_names_what_is_wrong(recipe, assignments, what, text):
    report = check(recipe, *assignments)
    assert not report.passed
    assert any(f.what == what and f.verdict == "FAIL" and text in f.text for f in report.findings), report.findings


def test_check_warns_of_equal_paths_and_sees_an_earlier_result(recipe):
    run(recipe)
    found = {f.text: f.verdict for f in check(recipe).findings}
    assert any("all 2 paths will be equal" in text and verdict == "warn" for text, verdict in found.items())
    assert any("holds this very run already" in text for text in found)
    assert not check(recipe, "seed=9").passed


def test_the_last_stage_has_all_images(recipe):
    with pytest.raises(RecipeError, match=r"the last stage has 5 images, path\.images is 12"):
        run(recipe, "optimize.images=5")


def test_an_unusable_device_is_a_usage_error(recipe):
    with pytest.raises(RecipeError, match="--device nonsense: not usable here"):
        run(recipe, device="nonsense")


ALANINE = Path(__file__).parents[3] / "recipes" / "alanine_dipeptide"
CLASSICAL = f"""\
version: 1
name: classical
seed: 5
endpoints: {{start: {{structure: {ALANINE}/c7eq.pdb}}, end: {{structure: {ALANINE}/c7ax.pdb}}}}
prior: {{kind: openmm, force_field: [amber99sbildn.xml], temperature_k: 300}}
path: {{paths: 2, images: 8, guess: {{kind: torsion}}}}
action: {{functional: truncated, dt_ps: 0.001, friction_per_ps: 1}}
optimize:
  - {{method: lbfgs, max_steps: 2, dt_ps: 1e-4, images: 6}}
  - {{method: lbfgs, max_steps: 1}}
validation: {{energy: {{force_field: [amber99sbildn.xml]}}}}
output: {{directory: out}}
"""


@pytest.fixture(scope="module")
def classical(tmp_path_factory):
    """A short run on a molecule with its force field as the prior: recipe, run directory, manifest."""
    folder = tmp_path_factory.mktemp("classical")
    (folder / "classical.yaml").write_text(CLASSICAL)
    return folder / "classical.yaml", folder / "out", run(folder / "classical.yaml")


def test_a_molecule_runs_end_to_end(classical):
    _, out, manifest = classical
    assert [stage["stage"] for stage in manifest["stages"]] == ["1. lbfgs", "2. lbfgs"]
    assert manifest["guesses"]["requested"] == 2
    assert manifest["energies"]["force_field"] == ("amber99sbildn.xml",)
    assert {"ramachandran_ala2.png", "energy.png", "action.png"} <= {p.name for p in (out / "figures").iterdir()}
    for entry in manifest["paths"]:
        assert entry["raw"]["barrier_forward_kj_per_mol"] >= entry["minimized"]["barrier_forward_kj_per_mol"]
        assert set(entry["raw"]["dihedrals_deg"]) == {"omega ALA2", "phi ALA2", "psi ALA2", "omega NME3"}


def test_ends_are_written_as_they_were_given(classical):
    _, out, _ = classical
    path = mdtraj.load_dcd(str(out / "paths" / "path_0000.dcd"), top=str(out / "topology.pdb"))
    start = mdtraj.load_pdb(str(ALANINE / "c7eq.pdb"))
    assert path.n_frames == 8
    assert abs(path.xyz[0] - start.xyz[0]).max() < 1e-6  # float32 of DCD


def test_check_of_a_molecule(classical):
    recipe, _, _ = classical
    report = check(recipe, "seed=6", f"output.directory={recipe.parent}/new")
    assert report.passed, report.findings
    texts = {f.what: f.text for f in report.findings}
    assert "atoms matched by name" in texts["atom map"]
    assert "B - A +5.95 kJ/mol" in texts["energies"]


@pytest.mark.parametrize(
    ("assignment", "what", "text"),
    [
        ("validation.energy.force_field=[amber99sbild.xml]", "energies", 'Did you mean "amber99sbildn.xml"?'),
        ("endpoints.select=name XX", "ends", "selects none of the 22 atoms"),
        (f"endpoints.end.structure={ALANINE}/c7eq.pdb", "ends", "are the same structure"),
        ("path.screen.max_energy_kj_per_mol=1", "guess", "energy"),
        (
            "path.guess={kind: torsion, waypoints: [{fraction: 0.5, torsions_deg: {phi X: 1}}]}",
            "guess",
            "unknown torsion",
        ),
    ],
)
def test_check_names_what_is_wrong_with_a_molecule(classical, tmp_path, assignment, what, text):
    report = check(classical[0], assignment, f"output.directory={tmp_path}/new")
    assert any(f.what == what and f.verdict in ("FAIL", "warn") and text in f.text for f in report.findings), (
        report.findings
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_a_run_that_is_told_to_stop_saves_its_state_and_says_how_to_go_on(recipe, tmp_path, number, code):
    endless = "optimize={method: adam, max_steps: 10000000, learning_rate_nm: 1e-9, gradient_tolerance_per_nm: 1e-9}"
    command = [sys.executable, "-m", "tpsctl", "sample", str(recipe), "--threads", "1", "--set", endless]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "adam ..." in line:
                break
        process.send_signal(number)
        _, text = process.communicate(timeout=600)
    assert process.returncode == code
    out = tmp_path / "out"
    assert text.splitlines()[-1] == f"Go on with: tpsctl sample {recipe} --set '{endless}' --threads 1 --out {out}"
    shard = out / "state" / "shards" / "0001_of_0001"
    assert sorted(p.name for p in shard.iterdir()) == ["running-00000-00000001.safetensors", "status.json"]
    status = json.loads((shard / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["stage"]) == ("stopped", code, "1. adam")


def test_a_time_limit_stops_a_run_in_time_and_any_number_of_parts_give_the_same(recipe, tmp_path):
    adam = "optimize={method: adam, max_steps: 10, learning_rate_nm: 1e-4, gradient_tolerance_per_nm: 1e-9}"
    whole = run(recipe, adam)
    for _ in range(11):  # a limit that has passed stops it after every step
        with pytest.raises(Interrupted) as stop:
            run(recipe, adam, out=tmp_path / "cut", max_hours=0.0)
        assert stop.value.exit_code == 75
    cut = run(recipe, adam, out=tmp_path / "cut", max_hours=0.0)
    assert same_result(tmp_path / "out", tmp_path / "cut")
    assert [entry["action"] for entry in cut["paths"]] == [entry["action"] for entry in whole["paths"]]


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_shards_gives_the_same_files(recipe, tmp_path, shards):
    five = ["path.paths=5", "path.batch_paths=2"]
    run(recipe, *five)
    for number in range(shards, 0, -1):
        done = run(recipe, *five, out=tmp_path / "parts", shard=Shard(number, shards))
        assert done["outcome"] == "complete"
    assert gather(tmp_path / "parts", Progress())["outcome"] == "complete"
    assert same_result(tmp_path / "out", tmp_path / "parts")
    assert [p.name for p in (tmp_path / "parts").iterdir() if p.name in ("state", "slurm")] == []


def test_a_scratch_folder_changes_nothing_and_is_left_empty(recipe, tmp_path):
    run(recipe)
    (tmp_path / "scratch").mkdir()
    run(recipe, out=tmp_path / "other", scratch=tmp_path / "scratch", save_every_s=0.0)
    assert same_result(tmp_path / "out", tmp_path / "other")
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(RecipeError, match=r"--scratch .*nowhere: no such folder"):
        run(recipe, out=tmp_path / "third", scratch=tmp_path / "nowhere")


def test_gather_names_what_is_missing_and_how_to_make_it(recipe, tmp_path):
    run(recipe, "path.paths=6", "path.batch_paths=2", shard=Shard(2, 3), origin=("well.yaml",))
    with pytest.raises(OutputError) as caught:
        gather(tmp_path / "out", Progress())
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/out: 2 of 3 batches are not there: 0 (paths 0-1), 2 (paths 4-5).",
        "Make them, then gather again:",
        f"  tpsctl sample well.yaml --out {tmp_path}/out --shard 1/3",
        f"  tpsctl sample well.yaml --out {tmp_path}/out --shard 3/3",
    ]


def test_more_shards_than_batches_are_refused(recipe):
    with pytest.raises(RecipeError, match="2 paths in batches of 2 make 1 batches, so at most 1 shards"):
        run(recipe, shard=Shard(1, 2))


def test_resuming_needs_unfinished_work_of_the_same_recipe(recipe, tmp_path):
    with pytest.raises(RecipeError, match="has no unfinished run"):
        run(recipe, resume=True)
    run(recipe, "path.batch_paths=1", shard=Shard(1, 2))
    with pytest.raises(RecipeError, match=r"unfinished run of another recipe(.|\n)*recipe\.seed: 3 there, 4 now"):
        run(recipe, "path.batch_paths=1", "seed=4")
    assert run(recipe, "path.batch_paths=1", resume=True)["outcome"] == "complete"


def test_overwriting_keeps_the_old_result_until_the_new_one_is_complete(recipe, tmp_path):
    run(recipe)
    fail_once(lambda: run(recipe, "seed=4", overwrite=True))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["recipe"]["seed"] == 3
    assert run(recipe, "seed=4")["recipe"]["seed"] == 4  # goes on; --overwrite would begin anew
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["recipe"]["seed"] == 4


def fail_once(job):
    """Run a job whose validation fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpsctl.workflows.sample.run.judge", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            job()


def same_result(one, other):
    """Whether two run directories hold the same, but for times, hosts and places."""

    def content(folder):
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        rows = csv.DictReader(files.pop("paths.csv").decode().splitlines())
        manifest = json.loads(files.pop("manifest.json"))
        assert b"</html>" in files.pop("report.html")  # it shows times
        for changing in ("seconds", "started", "machines", "directory", "recipe", "batches"):
            manifest.pop(changing, None)
        return files, [{k: v for k, v in row.items() if k != "seconds"} for row in rows], manifest

    return content(one) == content(other)
