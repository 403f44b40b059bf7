"""Names that lead to no file: one line, the right exit code, no traceback, no waiting."""

import os
import subprocess
import sys

import pytest

from tpsctl.errors import ExitCode

RECIPE_COMMANDS = ("sample", "check", "guide", "refine", "simulate", "train", "submit")


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


WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 5, images: 8, batch_paths: 2, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.05, diffusion_nm2_per_ps: 0.001}
optimize: {method: adam, max_steps: 1, learning_rate_nm: 1e-3}
output: {directory: out}
"""


@pytest.mark.parametrize("text", ["x", "0/3", "4/3", "1/2/3", "", "-1/2", "1.0/2"])
def test_a_shard_that_is_none_is_refused_before_anything_is_loaded(invoke, tmp_path, monkeypatch, text):
    monkeypatch.setattr("tpsctl.cli.sample.load", lambda *words: pytest.fail("the recipe was loaded"))
    one_line(invoke("sample", tmp_path / "r.yaml", f"--shard={text}"), ExitCode.USAGE, f"--shard {text}: expected i/N")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--shard", "1/99999999999"), "5 paths in batches of 2 make 3 batches, so at most 3 shards. Use fewer"),
        (("--scratch", "nope"), "--scratch nope: no such folder. Make it, or name another."),
        (("--resume",), "has no unfinished run. Leave --resume out to begin one."),
        (("--shard", "1/2", "--overwrite"), "not with --shard. Choose another --out."),
        (("--device", "gpu"), "device"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing_behind(invoke, tmp_path, words, text):
    (tmp_path / "r.yaml").write_text(WELL)
    result = invoke("sample", tmp_path / "r.yaml", "--threads", 1, *words)
    assert result.exit_code == ExitCode.USAGE, result.output
    assert text in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    "words",
    [("sample", "r.yaml", "--out", ""), ("simulate", "r.yaml", "--out", ""), ("train", "r.yaml", "--out", " "),
     ("check", ""), ("inspect", ""), ("convert", "a.pt", ""), ("status", ""), ("gather", ""),
     ("sample", "r.yaml", "--scratch", "")],
)  # fmt: skip
def test_an_empty_word_is_no_path(invoke, words):
    """It would mean the current directory."""
    result = invoke(*words)
    assert result.exit_code == ExitCode.USAGE
    assert "an empty word is no path. Name a file or folder, or leave the option out." in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("sample", "."), 2, ".: cannot read the recipe: Is a directory. Give a recipe file (YAML)."),
        (("inspect", "nope"), 1, "nope: no such checkpoint. Give a checkpoint file, or a folder that holds one."),
        (
            ("inspect", "a.safetensors"),
            1,
            "no such checkpoint. Give one that `tpsctl train` or `tpsctl convert` wrote.",
        ),
    ],
)
def test_what_is_not_there_is_answered_with_a_remedy(invoke, words, code, text):
    one_line(invoke(*words), code, text)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
def test_a_place_where_nothing_can_be_written_is_named(invoke, tmp_path, root):
    (tmp_path / "r.yaml").write_text(WELL)
    result = invoke("sample", tmp_path / "r.yaml", "--threads", 1, "--out", "/proc/x")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.endswith(
        "cannot be written (No such file or directory). Choose a place where files can be written.\n"
    )
    checkpoint = root / "tests/checkpoints/precisions/mb_half.pt"
    one_line(invoke("convert", checkpoint, "/proc/x/y.safetensors"), ExitCode.FAILED, "cannot be written")


def test_convert_makes_the_folder_of_its_file(invoke, tmp_path, root):
    checkpoint = root / "tests/checkpoints/precisions/mb_half.pt"
    result = invoke("convert", checkpoint, tmp_path / "new" / "x.safetensors")
    assert result.exit_code == 0, result.output
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_a_cif_file_that_was_cut_short_is_refused_with_its_place(tmp_path):
    from tpsctl.endpoints import load_structure
    from tpsctl.errors import EndpointError

    whole = ["data_x", "loop_", *(f"_atom_site.{name}" for name in ("id", "Cartn_x", "Cartn_y")), "1 0.0 0.0", "2 0.1"]
    (tmp_path / "cut.cif").write_text("\n".join(whole) + "\n")
    with pytest.raises(
        EndpointError, match=r"cut.cif: is no valid CIF file \(.*Wrong number of values.*\). It may be cut"
    ):
        load_structure(tmp_path / "cut.cif")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pipe.pdb", "endpoints.start.structure: this is a pipe, a socket or a device: "),
        ("device.pdb", "endpoints.start.structure: this is a pipe, a socket or a device: "),
        ("loop.pdb", "endpoints.start.structure: no such file: "),
    ],
)
@pytest.mark.parametrize("command", ["check", "sample"])
def test_a_structure_that_is_no_file_is_neither_opened_nor_waited_for(tmp_path, root, command, name, text):
    """As a program of its own, since reading a pipe would wait for ever."""
    pytest.importorskip("torch")
    os.mkfifo(tmp_path / "pipe.pdb")
    (tmp_path / "device.pdb").symlink_to("/dev/zero")
    (tmp_path / "loop.pdb").symlink_to("loop.pdb")
    recipe = (root / "recipes/alanine_dipeptide_classical.yaml").read_text()
    recipe = recipe.replace("alanine_dipeptide/c7eq.pdb", f"{tmp_path}/{name}")
    (tmp_path / "r.yaml").write_text(recipe.replace("alanine_dipeptide/", f"{root}/recipes/alanine_dipeptide/"))
    words = [sys.executable, "-m", "tpsctl", command, str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode in (ExitCode.FAILED, ExitCode.USAGE), said
    assert text in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
