"""Building the package, with a C compiler and without."""

import os
import shlex
import shutil
import subprocess
import sys
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
