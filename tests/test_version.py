"""The version comes from the installed package, and nothing else is loaded to tell it."""

import subprocess
import sys
import time
from importlib import metadata

import pytest

import tpsctl


def test_the_version_is_that_of_the_installed_package():
    assert tpsctl.__version__ == metadata.version("tpsctl")


def test_a_package_that_is_not_installed_says_so(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert tpsctl.__version__ == "0+unknown"


def test_another_attribute_is_no_version():
    with pytest.raises(AttributeError, match="has no attribute 'verison'"):
        tpsctl.verison  # noqa: B018


def test_telling_the_version_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys, tpsctl; tpsctl.__version__; "
        "print([m for m in ('torch', 'numpy', 'openmm', 'mdtraj', 'typer', 'pydantic') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tpsctl", "--version"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.5, "0.2 s alone on a machine; the margin is for a busy one"
