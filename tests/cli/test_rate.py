"""`rate`: the words of the command line, and the table; the workflow is replaced."""

import json

import pytest

from tpsctl.errors import ExitCode

FACTS = {
    "name": "wells",
    "states": "balls",
    "diffusion_nm2_per_ps": 0.5,
    "temperature_k": 300.0,
    "functional_per_nm2": 3.3e-6,
    "flux_per_ps": 3.3e-6,
    "population_a": 0.96,
    "rate_per_ps": 3.45e-6,
    "flux_interval_per_ps": [3e-6, 4e-6],
    "rate_interval_per_ps": [3.1e-6, 4.1e-6],
    "effective_samples": 900.0,
    "transition_samples": 500,
    "notes": ["look again"],
}


@pytest.fixture
def fake(monkeypatch):
    from tpsctl.workflows import rate

    calls = {"facts": FACTS}

    def rate_of_recipe(recipe, settings, progress):
        calls.update(recipe=recipe, settings=settings)
        return calls["facts"]

    monkeypatch.setattr(rate, "rate_of_recipe", rate_of_recipe)
    return calls


def test_options_become_settings(invoke, fake, root):
    words = ("--radius", 0.5, "--cv", "phi ALA2", "--tempering", 6, "--samples", 500, "--seed", 4)
    assert invoke("rate", root / "recipes" / "mueller_brown.yaml", *words).exit_code == ExitCode.COMPLETE
    settings = fake["settings"]
    assert (settings.radius, settings.torsions, settings.tempering) == (0.5, ("phi ALA2",), 6)
    assert (settings.samples, settings.seed) == (500, 4)


def test_every_number_has_its_definition(invoke, fake, root):
    shown = invoke("rate", root / "recipes" / "mueller_brown.yaml").stdout
    for words in ("1/2 E|grad q|^2", "D E|grad q|^2", "reactive flux / E[1 - q]", "6.9e-06", "note: look again"):
        assert words in shown


def test_a_molecule_has_no_functional_of_one_d(invoke, fake, root):
    left = {key: value for key, value in FACTS.items() if key not in ("diffusion_nm2_per_ps", "functional_per_nm2")}
    fake["facts"] = left | {"friction_per_ps": 2.0}
    shown = invoke("rate", root / "recipes" / "mueller_brown.yaml").stdout
    assert "functional" not in shown
    assert "D = kT/(m 2/ps)" in shown


def test_json_is_the_answer_alone(invoke, fake, root):
    assert json.loads(invoke("rate", root / "recipes" / "mueller_brown.yaml", "--json").stdout) == FACTS


def test_a_radius_of_nothing_is_refused(invoke, fake, root):
    result = invoke("rate", root / "recipes" / "mueller_brown.yaml", "--radius", 0)
    assert result.exit_code == ExitCode.USAGE
    assert "expected a finite value above 0" in result.stderr
