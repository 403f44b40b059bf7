"""A finished run on the Mueller-Brown surface, and copies of it to shoot from."""

import shutil
from pathlib import Path

import pytest

from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.shoot import ensemble
from tpsctl.workflows.shoot.settings import PhysicsSettings, ShootSettings

NEAR = "validation.states={A: [{kind: point, within_nm: 5}], B: [{kind: point, within_nm: 6}]}"
RECIPE = Path(__file__).parents[3] / "recipes" / "mueller_brown.yaml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The run of recipes/mueller_brown.yaml, hot enough for shots that take a second."""
    out = tmp_path_factory.mktemp("finished") / "run"
    recipe = load_recipe(RECIPE, SampleRecipe, ["prior.temperature_k=240"])
    run_recipe(recipe, RunSettings(out=out, device="cpu", threads=1), Progress())
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def wanted():
    """Settings for shots from one image of a run, few and short."""

    def make(run, **changes):
        settings = {"images": (14, 18), "least": 20, "most": 40, "threads": 1, "assignments": (NEAR,)}
        physics = PhysicsSettings(**changes.pop("physics", {}))
        return ShootSettings(run=run, physics=physics, **(settings | changes))

    return make


@pytest.fixture
def few(monkeypatch, wanted):
    """Settings for an ensemble of a few short paths: two chains, and states that nearly touch."""
    monkeypatch.setattr(ensemble, "CHAINS", 2)
    monkeypatch.setattr(ensemble, "BURN_IN", 2)
    monkeypatch.setattr(ensemble, "TRIALS", 4)
    monkeypatch.setattr("tpsctl.workflows.shoot.ensemble_results.BURN_IN", 2)
    monkeypatch.setattr("tpsctl.workflows.shoot.run.CHAINS", 2)
    near = "validation.states={A: [{kind: point, within_nm: 8}], B: [{kind: point, within_nm: 17}]}"
    return lambda run, **changes: wanted(run, **({"images": (18,), "assignments": (near,), "ensemble": 3} | changes))
