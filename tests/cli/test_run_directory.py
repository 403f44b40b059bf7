"""Every command for finished runs tells what is wrong with a run directory in the same words, and exits with 2."""

import json
import shutil

import pytest

from tpsctl import __version__
from tpsctl.errors import ExitCode
from tpsctl.jobs.plan import Plan

COMMANDS = {
    "validate": (),
    "diff": ("OTHER",),
    "export": ("--format", "xtc", "--out", "OUT"),
    "report": ("--out", "OUT"),
    "plot": ("--out", "OUT"),
    "compare": (),
    "reconstruct": (),
    "shoot": ("--out", "OUT"),
}
SAMPLE = "Name a directory that `tpsctl sample` has written."
AGAIN = "Restore it, or run the recipe again."


def nowhere(run):
    return run.parent / "nowhere", f"not the directory of a finished run (no such folder). {SAMPLE}"


def empty(run):
    folder = run.parent / "empty"
    folder.mkdir()
    return folder, f"not the directory of a finished run (it has no manifest.json). {SAMPLE}"


def a_file(run):
    return run / "paths.csv", f"not the directory of a finished run (it is a file). {SAMPLE}"


def unfinished(run):
    folder = run.parent / "unfinished"
    Plan(folder, {"digest": "0", "recipe": {}, "inputs": {}}, 4, 2, False, ("recipe.yaml",)).write()
    go_on = f"Go on with `tpsctl sample recipe.yaml`, or join its shards with `tpsctl gather {folder}`."
    return folder, f"the run here is not finished, expected a finished one. {go_on}"


def unfinished_and_damaged(run):
    folder = run.parent / "unfinished"
    (folder / "state").mkdir(parents=True)
    (folder / "state/plan.json").write_text("{}")
    go_on = f"Run its recipe again, or join its shards with `tpsctl gather {folder}`."
    return folder, f"the run here is not finished, expected a finished one. {go_on}"


def of_another_command(run):
    (run / "manifest.json").write_text('{"recipe": {}, "starts": []}')
    return run / "manifest.json", f"no manifest of a run. {SAMPLE}"


def without(run, name, version):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["versions"]["tpsctl"] = version
    del manifest[name]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run / "manifest.json"


def newer(run):
    file = without(run, "outcome", "99.1.dev4")
    return file, f"has no outcome: the newer tpsctl 99.1.dev4 wrote it, and this is {__version__}. Update tpsctl."


def older(run):
    file = without(run, "machines", "0.0.9")
    return file, f"has no machines: the older tpsctl 0.0.9 wrote it, and this is {__version__}. Run the recipe again."


def not_json(run):
    (run / "manifest.json").write_text("{")
    return run / "manifest.json", f"damaged (no JSON). {AGAIN}"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "make",
    [nowhere, empty, a_file, unfinished, unfinished_and_damaged, of_another_command, newer, older, not_json],
    ids=lambda make: make.__name__,
)
def test_a_wrong_directory_is_told_in_the_same_words_by_every_command(invoke, finished_run, tmp_path, command, make):
    where, message = make(shutil.copytree(finished_run, tmp_path / "run"))
    directory = where.parent if where.name == "manifest.json" else where
    places = {"OTHER": finished_run, "OUT": tmp_path / "out"}
    result = invoke(command, directory, *(places.get(word, word) for word in COMMANDS[command]))
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.splitlines()[-1] == f"{where}: {message}"
    assert not (tmp_path / "out").exists()


def gone(file):
    file.unlink()


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def ragged(file):
    file.write_text("path,image\n0\n")


@pytest.mark.parametrize(
    ("commands", "name", "spoil", "message"),
    [
        (("validate", "export", "compare"), "paths/path_0001.dcd", gone, f"missing. {AGAIN}"),
        (("validate", "export", "compare"), "paths/path_0001.dcd", cut, f"damaged at byte 92. {AGAIN}"),
        (("shoot",), "paths/path_0000.dcd", gone, f"missing. {AGAIN}"),
        (("validate", "export", "reconstruct"), "topology.pdb", gone, f"missing. {AGAIN}"),
        (("report", "plot"), "images.csv", ragged, f"damaged (a row is shorter or longer than the header). {AGAIN}"),
    ],
)
def test_a_missing_or_damaged_file_is_named_by_every_command_that_reads_it(
    invoke, finished_run, tmp_path, commands, name, spoil, message
):
    for command in commands:
        run = shutil.copytree(finished_run, tmp_path / command)
        spoil(run / name)
        places = {"OUT": tmp_path / f"{command}_out"}
        options = ("--path", 0) if command == "shoot" else ()
        result = invoke(command, run, *options, *(places.get(word, word) for word in COMMANDS[command]))
        assert result.exit_code == ExitCode.USAGE, command
        assert f"{run / name}: {message}" in result.stderr, command


def test_a_number_of_a_path_that_is_not_there_is_told_alike(invoke, finished_run, tmp_path):
    for command, out in (("export", ("--format", "xtc", "--out", tmp_path / "out")), ("shoot", ())):
        result = invoke(command, finished_run, "--path", 7, *out)
        assert result.exit_code == ExitCode.USAGE
        assert f"--path 7: {finished_run} has the paths 0 to 1." in result.stderr
