"""`shoot`: options, exit codes, what is printed, and messages; the workflow is replaced."""

import json

import pytest

from tpsctl.errors import ExitCode

START = {
    "start": "image 47",
    "role": "top",
    "shots": 200,
    "to_a": 106,
    "to_b": 94,
    "to_neither": 0,
    "failed": 0,
    "p_b": 0.47,
    "p_b_low": 0.402,
    "p_b_high": 0.539,
    "p_b_least": 0.47,
    "p_b_most": 0.47,
    "mean_length_ps": float("nan"),
    "energy_above_top_kj_per_mol": 0.0,
    "verdict": "transition state",
}


@pytest.fixture
def fake_shoot(monkeypatch):
    """Replaces the workflow; holds the settings it was called with and sets the outcome."""
    from tpsctl.workflows.shoot import run

    calls = {"outcome": "complete"}

    def fake(settings, progress):
        calls["settings"] = settings
        print("a library talks")  # noqa: T201
        states = {"A": [{"kind": "torsions", "within_deg": 30.0}], "B": [{"kind": "point", "within_nm": 0.5}]}
        return {
            "kind": "committor",
            "outcome": calls["outcome"],
            "name": "ala",
            "verdict": "The path crosses the transition state.",
            "directory": "runs/x/shooting",
            "dynamics": "Langevin dynamics",
            "recipe": {"path": 0, "states": states, "turning_torsions": ["phi ALA2"]},
            "starts": [START],
        }

    monkeypatch.setattr(run, "shoot", fake)
    return calls


@pytest.mark.parametrize(
    ("outcome", "code"), [("complete", 0), ("not_transition_state", ExitCode.NOT_VALID), ("not_judged", 3)]
)
def test_exit_codes_of_shoot(invoke, fake_shoot, outcome, code):
    fake_shoot["outcome"] = outcome
    assert invoke("shoot", "runs/x").exit_code == code


def test_options_of_shoot_reach_the_workflow(invoke, fake_shoot, tmp_path):
    words = (
        "--path",
        2,
        "--images",
        "3, 4",
        "--least",
        5,
        "--most",
        9,
        "--width",
        0.2,
        "--longest-ps",
        3,
        "--dt-ps",
        0.002,
    )
    words += (
        "--friction-per-ps",
        5,
        "--temperature-k",
        310,
        "--seed",
        4,
        "--set",
        "validation.states=1",
        "--shard",
        "1/2",
    )
    result = invoke("shoot", tmp_path, *words, "--dynamics", "prior", "--out", "d")
    assert result.exit_code == 0, result.output
    settings = fake_shoot["settings"]
    assert (settings.path, settings.images, settings.least, settings.most, settings.width) == (2, (3, 4), 5, 9, 0.2)
    physics = settings.physics
    assert (physics.dynamics, physics.longest_ps, physics.dt_ps) == ("prior", 3.0, 0.002)
    assert (physics.friction_per_ps, physics.temperature_k) == (5.0, 310.0)
    assert (settings.seed, str(settings.shard), str(settings.out)) == (4, "1/2", "d")
    again = settings.origin
    assert again[:3] == (str(tmp_path), "--set", "validation.states=1")
    fake_shoot.clear()
    fake_shoot["outcome"] = "complete"
    assert invoke("shoot", *again, "--out", "d").exit_code == 0
    assert fake_shoot["settings"].physics == physics
    assert fake_shoot["settings"].images == (3, 4)


def test_the_table_and_the_verdict_are_printed(invoke, fake_shoot):
    out = invoke("shoot", "runs/x").stdout
    assert "0.40 to 0.54" in out
    assert "A: phi ALA2 within 30 degrees (root mean square); B: within 0.5 nm of the end" in out
    assert "verdict: The path crosses the transition state." in out


def test_json_is_alone_on_stdout_and_has_no_nan(invoke, fake_shoot):
    result = invoke("shoot", "runs/x", "--json")

    def refuse(word):
        raise AssertionError(word)

    answer = json.loads(result.stdout, parse_constant=refuse)
    assert answer["starts"][0]["mean_length_ps"] is None
    assert answer["starts"][0]["p_b"] == 0.47


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "a,b"), "--images a,b: expected numbers of images with commas between them, e.g. 40,47,54."),
        (("--friction-per-ps", "0"), "--friction-per-ps 0: expected a number above 0."),
        (("--dt-ps", "0"), "--dt-ps 0: expected a number above 0."),
        (("--least", "500"), "--least 500: more than --most 400. Give at least as many for --most."),
        (("--shard", "3/2"), "--shard 3/2: expected i/N with 1 <= i <= N"),
    ],
)
def test_bad_options_of_shoot_are_refused_with_a_remedy(invoke, fake_shoot, words, message):
    result = invoke("shoot", "runs/x", *words)
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr
    assert "settings" not in fake_shoot
