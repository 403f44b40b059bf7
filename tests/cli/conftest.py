"""The commands, called in this process, and a run layer that is replaced, so that flags and physics fail separately."""

import pytest
from typer.testing import CliRunner

from tpsctl.cli.app import app


@pytest.fixture
def invoke():
    """Calls `tpsctl` with these words; exit code, stdout and stderr are in what it returns."""

    def call(*words):
        return CliRunner().invoke(app, [str(word) for word in words], prog_name="tpsctl")

    return call


@pytest.fixture
def fake_run(monkeypatch):
    """Replaces run_recipe; holds how it was called and sets what it does."""
    from tpsctl.workflows.sample import run

    calls = {"outcome": "complete", "error": None}

    def fake_load(path, model, assignments):
        calls.update(assignments=assignments)
        return path

    def fake(recipe, settings, progress):
        calls.update(recipe=recipe, settings=settings)
        print("a library talks")  # noqa: T201
        if calls["error"]:
            raise calls["error"]
        return {"outcome": calls["outcome"], "directory": "runs/x", "paths": [], "requested": 0}

    monkeypatch.setattr("tpsctl.recipe.loader.load_recipe", fake_load)
    monkeypatch.setattr(run, "run_recipe", fake)
    monkeypatch.setattr("tpsctl.cli.show_run.show", lambda manifest: None)
    return calls
