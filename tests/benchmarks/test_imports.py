"""Every benchmark can at least be started: its imports and constants are those of the package as it is now."""

import importlib
from pathlib import Path

import pytest

MODULES = sorted(path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported(name, root, monkeypatch):
    monkeypatch.syspath_prepend(root)
    importlib.import_module(f"benchmarks.{name}")
