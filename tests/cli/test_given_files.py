"""Names that lead to no file: one line, the right exit code, no traceback, no waiting."""

import os
import subprocess
import sys

import pytest

from tpsctl.errors import ExitCode

RECIPE_COMMANDS = ("sample", "check", "simulate", "train", "submit")


@pytest.fixture
def odd(tmp_path):
    """A folder with one of each: pipe, loop (a link to itself), device (a link to one), folder; and a file."""
    for suffix in ("", ".pt", ".yaml", ".safetensors"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
        (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("text")
    return tmp_path


SAID = {"pipe": "this is a named pipe", "loop": "Too many levels of symbolic links", "device": "this is a device"}


def one_line(result, code, text):
    assert result.exit_code == code, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("kind", [*SAID, "folder"])
@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_a_recipe_that_is_no_file(invoke, odd, command, kind):
    one_line(invoke(command, odd / kind), ExitCode.USAGE, SAID.get(kind, "Is a directory"))


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("command", ["status", "gather"])
def test_a_run_directory_that_is_none(invoke, odd, command, kind):
    one_line(invoke(command, odd / kind), ExitCode.USAGE, SAID[kind])


def test_status_of_a_file(invoke, odd):
    one_line(invoke("status", odd / "file"), ExitCode.USAGE, "this is a file. Expected a run directory.")


@pytest.mark.parametrize("suffix", ["", ".pt", ".yaml", ".safetensors"])
@pytest.mark.parametrize("kind", [*SAID, "folder"])
def test_a_checkpoint_that_is_no_file(invoke, odd, kind, suffix):
    for words in (("inspect", odd / (kind + suffix)), ("convert", odd / (kind + suffix), odd / "new.safetensors")):
        result = invoke(*words)
        assert result.exit_code in (ExitCode.FAILED, ExitCode.USAGE), result.output
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert SAID.get(kind, "folder") in result.stderr
    assert not (odd / "new.safetensors").exists()


@pytest.mark.parametrize("kind", [*SAID, "folder"])
def test_a_converted_file_does_not_take_the_place_of_something_else(invoke, odd, kind):
    target = odd / f"{kind}.safetensors"
    result = invoke("convert", odd / "file", target, "--overwrite")
    one_line(result, ExitCode.FAILED, SAID.get(kind, "this is a folder. Expected the name of a file to write."))


@pytest.mark.parametrize(
    ("command", "kind", "text"),
    [
        ("sample", "file", "this is a file. Expected the name of a run directory."),
        ("sample", "pipe", SAID["pipe"]),
        ("check", "file", "this is a file"),
        ("submit", "device", SAID["device"]),
        ("train", "folder", "this is a folder. Expected the name of a file to write."),
        ("simulate", "pipe", SAID["pipe"]),
    ],
)
def test_results_do_not_take_the_place_of_something_else(invoke, odd, command, kind, text):
    one_line(invoke(command, "r.yaml", "--out", odd / kind), ExitCode.USAGE, text)


def test_a_missing_recipe_is_named(invoke, tmp_path):
    one_line(invoke("check", tmp_path / "r.yaml"), ExitCode.USAGE, "r.yaml: cannot read the recipe: No such file")


def test_a_named_pipe_is_not_waited_for(odd):
    """As a program of its own, which would wait for a writer."""
    for words in (("check", odd / "pipe"), ("inspect", odd / "pipe"), ("gather", odd / "pipe")):
        command = [sys.executable, "-m", "tpsctl", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert "this is a named pipe" in done.stderr
