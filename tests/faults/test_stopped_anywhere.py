"""SIGTERM and SIGINT in every phase of every command: it ends in time, without a traceback and without half a result.

Each case names a function of the command that hangs in C, where no Python code runs, as a library may that computes for
minutes. The signal is sent when the process says that it is there. Such a process is ended from outside after
`interruption.ENDING_S` seconds, which the tests shorten to one second. Nothing here depends on the machine's speed.
"""

import os
import shutil
import signal
import time

import pytest

from tpsctl.jobs import interruption

from .conftest import PEPTIDE, WELL
from .test_refine_killed import PATHS as REFINED_PATHS
from .test_refine_killed import REFINE
from .test_train_killed import POTENTIAL

SIMULATE = """\
version: 1
name: short
seed: 1
molecule: {kind: capped_alanine}
dynamics: {force_field: [amber99sbildn.xml], temperature_k: 300}
sampling: {kind: plain}
production: {trajectories: 2, duration_ps: 0.2, equilibration_ps: 0.01, frame_interval_ps: 0.02, chunk_ps: 0.1}
output: {data: out/data.npz}
"""
GUIDE = """\
version: 1
name: short
seed: 1
prior: {kind: gaussian, mean_nm: [0.0], std_nm: 0.1}
guide: {kind: observables, observables: [{kind: coordinate, dimension: 0, target_nm: 0.02, error_nm: 0.1}]}
sampling: {samples: 20, steps: 10}
output: {directory: out, figures: false}
"""
PHASES = {
    "sample": (
        "recipe.loader:load_recipe",
        "workflows.sample.planning:identify",
        "workflows.sample.run:draw_guesses",
        "workflows.sample.run:optimize",
        "workflows.sample.run:judge",
        "workflows.sample.run:write_results",
        "jobs.batches:publish",
    ),
    "check": (
        "recipe.loader:load_recipe",
        "endpoints.load:read_structure_file",
        "endpoints.ends:match",
        "workflows.checkpoints:read_model",
        "workflows.sample.check:energy_verdict",
        "workflows.sample.check:draw_guesses",
    ),
    "init": ("workflows.init.run:make_system", "workflows.init.run:check_recipe"),
    "simulate": (
        "recipe.loader:load_recipe",
        "workflows.simulate:load_molecule",
        "simulation.simulate:simulation_platform",
        "simulation.engine:openmm.LocalEnergyMinimizer.minimize",
        "simulation.simulate:run_chunk",
        "simulation.dataset:Dataset.save",
    ),
    "guide": (
        "recipe.loader:load_recipe",
        "workflows.guide.run:make_tools",
        "workflows.guide.rounds:draw",
        "workflows.guide.run:write_result",
    ),
    "refine": (
        "recipe.loader:load_recipe",
        "workflows.refine.run:require_guided",
        "workflows.sample.run:optimize",
        "workflows.sample.run:write_results",
        "jobs.batches:publish",
    ),
    "train": (
        "recipe.loader:load_recipe",
        "workflows.train.potential:PotentialTask.load",
        "training.loop:Loop.steps",
        "workflows.train.potential:PotentialTask.judge",
        "workflows.train.potential:PotentialTask.save",
    ),
    "prepare": (
        "workflows.prepare.run:read_with_gemmi",
        "workflows.prepare.run:Builder.build",
        "workflows.prepare.run:pdb_text",
    ),
    "validate": (
        "workflows.stored_run:read_manifest",
        "workflows.validate:path_energies",
        "workflows.validate:write_manifest",
    ),
    "diff": ("workflows.stored_run:read_manifest",),
    "export": ("workflows.stored_run:read_manifest", "workflows.export:make_export", "workflows.export:write_text"),
    "compare": (
        "workflows.stored_run:read_manifest",
        "workflows.compare.run:make_ensembles",
        "workflows.compare.run:judge_ensemble",
        "workflows.compare.run:write_comparison",
    ),
    "rate": ("workflows.rate:tempered_samples", "workflows.rate:fit_committor", "workflows.rate:measure_rate"),
    "reconstruct": ("workflows.stored_run:read_manifest", "workflows.reconstruct:reconstructor"),
    "shoot": (
        "workflows.shoot.run:starts_on_path",
        "workflows.shoot.run:open_plan",
        "workflows.shoot.run:gather_batches",
    ),
    "report": ("workflows.report.run:report_of", "workflows.report.run:write_text"),
    "plot": ("workflows.plot:draw_figures",),
    "submit": (
        "recipe.loader:load_recipe",
        "workflows.sample.submit:check_recipe",
        "workflows.sample.submit:array_script",
    ),
    "status": ("jobs.overview:read_manifest", "jobs.overview:_records"),
    "gather": ("jobs.batches:read_batches", "workflows.sample.run:write_results", "jobs.batches:publish"),
    "inspect": (
        "workflows.checkpoints:dangerous_names",
        "workflows.checkpoints:read_model",
        "workflows.checkpoints:self_test",
    ),
    "convert": (
        "workflows.checkpoints:read_model",
        "workflows.checkpoints:save_model",
        "workflows.checkpoints:load_model",
    ),
    "schema": ("recipe.schema:schema_text",),
    "doctor": ("workflows.doctor:_torch_devices", "workflows.doctor:_openmm_platforms"),
    "completion": ("cli.installation:typer.echo",),
}
"""Functions of every command, in the order in which they are called; each stands for a phase."""

RESULTS = (
    *("manifest.json", "paths.csv", "data.npz", "x.safetensors", "gather.sbatch", "comparison.json", "committor.csv"),
    *("report.html", "images.csv", "README.md", "whole.pdb"),
)
CASES = [(command, f"tpsctl.{phase}") for command, phases in PHASES.items() for phase in phases]


OF_RUNS = {
    "validate": ("--force-field", "amber99sbildn.xml", "--threads", 1),
    "export": ("--format", "xtc", "--out", "{out}"),
    "compare": ("--threads", 1),
    "reconstruct": ("--backend", "pulchra"),
    "shoot": ("--least", 1, "--most", 1, "--threads", 1),
    "report": ("--out", "{out}"),
    "plot": ("--out", "{out}"),
}
"""Options of the commands for a finished run."""

OF_MOLECULES = ("validate", "export", "reconstruct")
"""Those of them that need a molecule."""


@pytest.fixture(scope="session")
def finished(start, tmp_path_factory):
    """`finished(text)` is the directory of a finished run of a recipe."""
    done = {}

    def directory(text):
        if text not in done:
            folder = tmp_path_factory.mktemp("finished")
            (folder / "recipe.yaml").write_text(text)
            running = start("sample", folder / "recipe.yaml", "--out", folder / "run", "--threads", 1)
            assert running.wait() in (0, 3), running.text
            done[text] = folder / "run"
        return done[text]

    return directory


@pytest.fixture
def command_line(root, recipe, peptide, finished, tmp_path, start):
    """The words of a command that works, and variables of the environment that it needs."""

    def words(command):
        out = tmp_path / "out"
        if command in OF_RUNS or command == "diff":
            shutil.copytree(finished(PEPTIDE if command in OF_MOLECULES else WELL), tmp_path / "run")
            options = [str(word).format(out=out) for word in OF_RUNS.get(command, (tmp_path / "run",))]
            return (command, tmp_path / "run", *options)
        if command == "rate":
            return (command, root / "recipes/mueller_brown.yaml", "--threads", 1)
        if command == "prepare":
            return (command, root / "recipes/alanine_dipeptide/c7eq.pdb", tmp_path / "whole.pdb")
        if command == "sample":
            return (command, recipe, "--out", out, "--threads", 1)
        if command == "check":
            return (command, peptide, "--threads", 1)
        if command == "init":
            ends = (root / "recipes/alanine_dipeptide" / name for name in ("c7eq.pdb", "c7ax.pdb"))
            return (command, *ends, "--force-field", "amber99sbildn.xml", "--out", out / "new.yaml")
        if command == "submit":
            return (command, recipe, "--out", out, "--time=10", "--mem=1G")
        if command == "simulate":
            (tmp_path / "simulate.yaml").write_text(SIMULATE)
            return (command, tmp_path / "simulate.yaml", "--out", out / "data.npz", "--workers", 1)
        if command == "guide":
            (tmp_path / "guide.yaml").write_text(GUIDE)
            return (command, tmp_path / "guide.yaml", "--out", out, "--threads", 1)
        if command == "refine":
            for name, text in {"paths": REFINED_PATHS, "refine": REFINE}.items():
                (tmp_path / f"{name}.yaml").write_text(text)
            return (command, tmp_path / "refine.yaml", "--out", out, "--threads", 1)
        if command == "train":
            (tmp_path / "train.yaml").write_text(POTENTIAL)
            return (command, tmp_path / "train.yaml", "--out", out / "x.safetensors", "--threads", 1)
        if command in ("gather", "status"):
            assert start("sample", recipe, "--out", out, "--threads", 1, "--shard", "1/1").wait() == 0
            return (command, out)
        if command == "inspect":
            return (command, root / "recipes/alanine_dipeptide/diffusion.safetensors")
        if command == "convert":
            return (command, root / "tests/checkpoints/precisions/mb_half.pt", out / "x.safetensors")
        return {"schema": ("schema",), "doctor": ("doctor",), "completion": ("completion", "bash")}[command]

    return words


@pytest.fixture
def slurm(tmp_path):
    """A PATH with programs of Slurm: each notes its call and answers, or hangs if a file of its name is in `hang`."""
    folder = tmp_path / "slurm_programs"
    (folder / "hang").mkdir(parents=True)
    (folder / "calls").mkdir()
    for name, answer in {"sbatch": "7", "squeue": "", "scontrol": "", "scancel": ""}.items():
        (folder / name).write_text(
            f'#!/bin/sh\necho "$@" >> {folder}/calls/{name}\n[ -e {folder}/hang/{name} ] && exec sleep 600\n'
            f"{f'echo {answer}' if answer else 'true'}\n"
        )
        (folder / name).chmod(0o755)
    return folder


def path_with(folder):
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def until(condition, longest_s=120.0):
    end = time.monotonic() + longest_s
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_every_command_is_here(root):
    from tpsctl.cli.app import app

    assert set(PHASES) == {each.callback.__name__ for each in app.registered_commands}


def test_the_time_to_end_fits_into_ten_seconds():
    assert interruption.ENDING_S <= 9.0


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 143, id="TERM"), pytest.param(signal.SIGINT, 130, id="INT", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(("command", "place"), CASES)
def test_a_command_that_hangs_in_c_is_ended(start, command_line, slurm, tmp_path, command, place, number, code):
    words = command_line(command)
    before = results_in(tmp_path)
    running = start(*words, fault=f"stuck:{place}", environment=path_with(slurm))
    running.wait_for(f"stuck in {place}", 120.0)
    os.kill(running.pid, number)
    assert running.wait(120.0) == code, running.text
    assert "did not end within 1 s of the signal; stopped at once" in running.text
    assert "Traceback" not in running.text
    assert results_in(tmp_path) == before, "no result, not even half of one"


def results_in(folder):
    """Files with the name of a result, but those of unfinished work: in `state` or in a hidden folder."""
    files = [file for file in folder.rglob("*") if file.name in RESULTS]
    return {file for file in files if not any(part == "state" or part.startswith(".") for part in file.parts)}


@pytest.mark.parametrize("command", ["sample", "gather", "guide", "simulate", "train", "convert"])
def test_the_same_command_then_finishes(start, command_line, tmp_path, command):
    words, place = command_line(command), f"tpsctl.{PHASES[command][-1]}"
    running = start(*words, fault=f"stuck:{place}")
    running.wait_for(f"stuck in {place}", 120.0)
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait() == 143
    again = start(*words)
    assert again.wait() == 0, again.text
    left = [file.name for file in (tmp_path / "out").iterdir()]
    assert len(left) == 1 or "manifest.json" in left or set(left) == {"x.safetensors", "x_report"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_simulation_in_several_processes_ends_at_once_and_so_do_they(start, tmp_path, number):
    """Its parts take hours; the processes are not waited for."""
    recipe = tmp_path / "long.yaml"
    recipe.write_text(SIMULATE.replace("ps: 0.2,", "ps: 2e5,").replace("chunk_ps: 0.1", "chunk_ps: 1e5"))
    running = start("simulate", recipe, "--out", tmp_path / "out" / "data.npz", "--workers", 2)
    running.wait_for("production ...")
    workers = until(lambda: len(found := children(running.pid)) == 3 and found)  # one more tracks shared memory
    os.kill(running.pid, number)
    assert running.wait() == {signal.SIGTERM: 143, signal.SIGINT: 130}[number], running.text
    assert "Go on with: tpsctl simulate" in running.text
    assert "Traceback" not in running.text
    assert "stopped at once" not in running.text
    until(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), 60.0)
    assert not (tmp_path / "out" / "data.npz").exists()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_simulate_says_what_it_does_before_a_minimization_ends(start, command_line):
    place = "tpsctl.simulation.engine:openmm.LocalEnergyMinimizer.minimize"
    running = start(*command_line("simulate"), fault=f"stuck:{place}")
    running.wait_for("stuck in")
    said = running.text.partition("stuck in")[0].splitlines()
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait() == 143
    assert ": simulate " in said[0]
    assert said[1].endswith("reading the molecule, building the system ...")
    assert said[2].endswith("production ...")


def test_a_submission_that_hangs_is_given_up_and_nothing_stays_in_the_queue(start, command_line, slurm):
    """The array is in the queue when sbatch hangs at the gather job."""
    words, again = command_line("submit"), slurm / "calls" / "sbatch"
    (slurm / "sbatch").write_text(
        f'#!/bin/sh\necho "$@" >> {slurm}/calls/sbatch\ncase "$*" in *gather*) exec sleep 600 ;; esac\necho 7\n'
    )
    running = start(*words, environment=path_with(slurm))
    until(lambda: again.exists() and "gather.sbatch" in again.read_text())
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait() == 143, running.text
    assert (slurm / "calls" / "scancel").read_text() == "7\n"
    assert "Traceback" not in running.text
    assert "stopped at once" not in running.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_status_does_not_wait_for_a_queue_that_does_not_answer(start, command_line, slurm, tmp_path, number):
    assert start(*command_line("submit"), environment=path_with(slurm)).wait() == 0
    (slurm / "hang" / "squeue").touch()
    (slurm / "calls" / "squeue").unlink()
    running = start("status", tmp_path / "out", environment=path_with(slurm))
    until((slurm / "calls" / "squeue").exists)
    os.kill(running.pid, number)
    assert running.wait() == {signal.SIGTERM: 143, signal.SIGINT: 130}[number], running.text
    assert "Traceback" not in running.text
    assert "stopped at once" not in running.text
