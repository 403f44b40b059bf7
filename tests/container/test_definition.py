"""The Apptainer definition, as far as it can be checked without Apptainer: its files, versions and commands.

The image itself is not built here. What `%files` copies must be all that pip needs to build the package, and
the smoke test of `%test` is run as it stands, in this environment.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLACE = "/opt/tpsctl"


@pytest.fixture
def sections(root):
    text = (root / "container" / "tpsctl.def").read_text()
    head, *rest = re.split(r"^%(\w+)$", text, flags=re.MULTILINE)
    return {"head": head} | dict(zip(rest[::2], rest[1::2], strict=True))


@pytest.fixture
def copied(sections, root, tmp_path):
    """What %files copies, in a folder of its own."""
    for line in sections["files"].split("\n"):
        if not line.strip():
            continue
        source, target = line.split()
        assert (root / source).exists(), source
        assert target.startswith(PLACE + "/")
        place = tmp_path / Path(target).relative_to(PLACE)
        copy = shutil.copytree if (root / source).is_dir() else shutil.copy
        copy(root / source, place)
    return tmp_path


def test_the_base_image_has_a_python_the_package_takes(sections, root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    base = re.search(r"^From: python:3\.(\d+)-slim$", sections["head"], re.MULTILINE)
    assert int(base[1]) >= int(re.fullmatch(r">=3\.(\d+)", project["requires-python"])[1])


def test_torch_is_the_version_of_the_makefile(sections, root):
    makefile = re.search(r"^TORCH\s*\?=\s*(\S+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert makefile[1] in sections["post"].split()


def test_what_is_copied_is_enough_to_build_the_package(copied):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=copied, check=True, capture_output=True)
    assert list((copied / "dist").glob("tpsctl-*.whl"))


def test_the_smoke_test_passes_here(sections, copied, tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tpsctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tpsctl "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    script = sections["test"].replace(PLACE, str(copied))
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
