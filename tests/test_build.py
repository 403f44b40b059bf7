"""Building the package: with a C compiler and without, from a checkout, an sdist and a bare source folder."""

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

NEEDED = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")


@pytest.fixture
def build(root, tmp_path):
    """Builds a wheel of a copy with this compiler: its name, the libraries in it, and what the build said."""

    def of(compiler):
        for name in NEEDED:
            shutil.copy(root / name, tmp_path / name)
        shutil.copytree(root / "tpsctl", tmp_path / "tpsctl", dirs_exist_ok=True)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
        environment = os.environ | {"CC": compiler}
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        (wheel,) = (tmp_path / "dist").glob("*.whl")
        names = [name for name in zipfile.ZipFile(wheel).namelist() if "_attend_" in name]
        return wheel.name, names, done.stdout + done.stderr

    return of


def test_a_wheel_with_the_compiled_attention(build, compiler):
    name, libraries, _ = build(shlex.join(compiler))
    assert "tpsctl/networks/graph_transformer/_attend_default.so" in libraries
    assert "-py3-none-" in name
    assert "any" not in name


def test_a_wheel_without_a_compiler_says_so_and_has_no_stale_library(build):
    name, libraries, said = build("/nonexistent/cc")
    assert libraries == []
    assert name.endswith("-py3-none-any.whl")
    assert "is not compiled" in said


def test_the_wheel_says_that_it_has_types(build, tmp_path):
    name, _, _ = build("/nonexistent/cc")
    assert "tpsctl/py.typed" in zipfile.ZipFile(tmp_path / "dist" / name).namelist()


def test_the_wheel_has_the_parts_of_the_report(build, tmp_path, root):
    name, _, _ = build("/nonexistent/cc")
    given = {f"tpsctl/output/report/{file.name}" for file in (root / "tpsctl" / "output" / "report").iterdir()}
    given = {file for file in given if not file.endswith("__pycache__")}
    assert {"tpsctl/output/report/3Dmol-min.js", "tpsctl/output/report/3Dmol-LICENSE.txt"} <= given
    assert given <= set(zipfile.ZipFile(tmp_path / "dist" / name).namelist())


def version_of(wheel):
    return wheel.split("-")[1]


def test_a_source_folder_without_git_has_the_fallback_version(build, root):
    fallback = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["version"]["fallback-version"]
    assert version_of(build("/nonexistent/cc")[0]) == fallback


@pytest.fixture
def git(tmp_path):
    """Runs git in the copy, without the settings of this machine."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    who = {f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(*words):
        subprocess.run(["git", *words], cwd=tmp_path, env=environment, check=True, capture_output=True)

    return run


def test_a_tag_is_the_version_of_a_checkout_and_of_the_sdist_made_from_it(build, git, root, tmp_path):
    for name in (*NEEDED, ".gitignore"):
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "tpsctl", tmp_path / "tpsctl", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "first")
    git("tag", "v3.1.4")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist"], cwd=tmp_path, check=True)
    with tarfile.open(tmp_path / "dist" / "tpsctl-3.1.4.tar.gz") as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    environment = os.environ | {"CC": "/nonexistent/cc"}
    unpacked = tmp_path / "unpacked" / "tpsctl-3.1.4"
    subprocess.run(command, cwd=unpacked, env=environment, check=True, capture_output=True)
    (wheel,) = (unpacked / "dist").glob("*.whl")
    assert version_of(wheel.name) == "3.1.4"
    assert version_of(build("/nonexistent/cc")[0]) == "3.1.4"


def test_a_checkout_without_tags_has_a_version(build, git):
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    assert version_of(build("/nonexistent/cc")[0]).startswith("0.1.dev")
