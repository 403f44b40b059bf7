"""`compare`: the words of the command line, and the tables; the workflow is replaced."""

import json

import pytest

from tpsctl.errors import ExitCode, RecipeError

ESTIMATE = {"value": 0.5, "low": 0.25, "high": 0.75}
ROWS = [
    {
        "name": name,
        "about": f"about {name}",
        "paths": 4,
        "valid": 3,
        "gate": ["valid"] * 4,
        "highest_above_start": {"raw": {"median_kj_per_mol": 36.4}},
        "tops": {"force_field": {"saddles": 2, "judged": 3}},
        "measures": {"order_difference": ESTIMATE},
    }
    for name in ("run", "straight line", "no OM (guess only)")
]
ANSWER = {
    "run": "small",
    "directory": "runs/small/comparison",
    "ensembles": [
        *ROWS,
        {
            "name": "simulation",
            "about": "sets",
            "paths": 4,
            "measures": {"order_difference": ESTIMATE | {"value": None}},
        },
    ],
    "measures": {"order_difference": {"discriminates": "straight line", "run_like_simulation": False}},
    "simulation": {
        "frames": 100,
        "trajectories": 1,
        "transitions": 10,
        "frames_per_transition": 10.0,
        "microstates": 20,
        "slowest_timescale_frames": ESTIMATE,
        "rate_a_to_b_per_frame": ESTIMATE,
    },
    "settings": {"observables": "torsions", "lag_frames": 4, "lag_chosen": True, "events": ["phi ALA2"]},
    "notes": ["four paths are few"],
}


@pytest.fixture
def fake(monkeypatch):
    from tpsctl.workflows.compare import run

    calls = {"answer": ANSWER}

    def compare_run(directory, settings, progress):
        calls.update(directory=directory, settings=settings)
        print("a library talks")  # noqa: T201
        return calls["answer"]

    monkeypatch.setattr(run, "compare_run", compare_run)
    return calls


def test_options_become_settings(invoke, fake, tmp_path):
    words = ("--reference", "a.xtc", "--reference", "b.xtc", "--topology", "t.pdb", "--stride", 2, "--lag", 5)
    more = ("--baseline", "string", "--baseline", "idpp", "--temperature-k", 350, "--draws", 50)
    assert invoke("compare", tmp_path, *words, *more).exit_code == ExitCode.COMPLETE
    settings = fake["settings"]
    assert [file.name for file in settings.references] == ["a.xtc", "b.xtc"]
    assert (settings.stride, settings.lag, settings.temperature_k, settings.draws) == (2, 5, 350, 50)
    assert settings.baselines == ("idpp", "string")


def test_all_means_every_baseline(invoke, fake, tmp_path):
    invoke("compare", tmp_path, "--baseline", "all")
    assert fake["settings"].baselines == ("idpp", "latent", "string")


def test_an_unknown_baseline_is_named(invoke, fake, tmp_path):
    result = invoke("compare", tmp_path, "--baseline", "geodesic")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "--baseline: got 'geodesic', expected one of idpp, latent, string, all.\n"


def test_both_tables_are_printed(invoke, fake, tmp_path):
    shown = invoke("compare", tmp_path).stdout
    assert "2 of 3" in shown
    assert "0.5 (0.25 to 0.75)" in shown
    assert "note: four paths are few" in shown
    assert "a library talks" not in shown


def test_without_a_simulation_there_is_one_table(invoke, fake, tmp_path):
    fake["answer"] = {key: ANSWER[key] for key in ("run", "directory", "notes")} | {"ensembles": ROWS}
    shown = invoke("compare", tmp_path).stdout
    assert "order difference" not in shown
    assert "files: runs/small/comparison" in shown


def test_json_is_the_answer_alone(invoke, fake, tmp_path):
    assert json.loads(invoke("compare", tmp_path, "--json").stdout) == ANSWER


def test_an_error_ends_with_its_exit_code(invoke, monkeypatch, tmp_path):
    from tpsctl.workflows.compare import run

    def refuse(*arguments):
        raise RecipeError("no run")

    monkeypatch.setattr(run, "compare_run", refuse)
    result = invoke("compare", tmp_path)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (ExitCode.USAGE, "no run")
