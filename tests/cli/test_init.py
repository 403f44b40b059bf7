"""`tpsctl init`: its options reach the workflow, and its answer is a table or JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tpsctl.errors import ExitCode

FACTS = {
    "recipe": "my molecule/recipe.yaml",
    "schema": "my molecule/schema.json",
    "atoms": 22,
    "distance_nm": 0.12,
    "method": "levenberg_marquardt",
    "reason": "why",
    "findings": [{"what": "energies", "verdict": "warn", "text": "an end is strained"}],
    "next": ["tpsctl check my molecule/recipe.yaml", "tpsctl sample my molecule/recipe.yaml"],
}


@pytest.fixture
def fake_init(monkeypatch):
    """Replaces the workflow; holds how it was called."""
    from tpsctl.workflows.init import run

    calls = {}

    def fake(start, end, options, progress):
        print("a library talks")  # noqa: T201
        calls.update(start=start, end=end, options=options)
        return FACTS

    monkeypatch.setattr(run, "init_recipe", fake)
    return calls


def test_all_options_reach_the_workflow(invoke, fake_init):
    words = ("init", "a.pdb", "b.pdb", "--force-field", "x.xml", "--force-field", "y.xml", "--checkpoint", "m.pt")
    result = invoke(*words, "--name", "run", "--out", "r.yaml")
    assert result.exit_code == ExitCode.COMPLETE
    assert (fake_init["start"], fake_init["end"]) == (Path("a.pdb"), Path("b.pdb"))
    options = fake_init["options"]
    assert options.force_fields == ("x.xml", "y.xml")
    assert (options.checkpoint, options.name, options.out) == (Path("m.pt"), "run", Path("r.yaml"))


def test_what_to_run_next_can_be_pasted_into_a_shell(invoke, fake_init):
    result = invoke("init", "a.pdb", "b.pdb", "--force-field", "x.xml", "--out", "r.yaml")
    lines = result.stdout.splitlines()
    assert lines[0] == "wrote my molecule/recipe.yaml"
    assert "warn      an end is strained" in lines
    assert lines[-3:] == [
        "next:",
        "  tpsctl check 'my molecule/recipe.yaml'",
        "  tpsctl sample 'my molecule/recipe.yaml'",
    ]


def test_json_is_alone_on_stdout(invoke, fake_init):
    result = invoke("init", "a.pdb", "b.pdb", "--force-field", "x.xml", "--out", "r.yaml", "--json")
    assert json.loads(result.stdout) == FACTS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.pdb", "b.pdb", "--out", "r.yaml"), "expected what gives the forces"),
        (("a.pdb", "b.pdb", "--force-field", "x.xml", "--out", "."), "this is a folder"),
        (("a.pdb", "b.pdb", "--force-field", "x.xml"), "Missing option '--out'"),
        (("a.pdb", "--force-field", "x.xml", "--out", "r.yaml"), "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_exit_2(invoke, words, message):
    result = invoke("init", *words)
    assert result.exit_code == ExitCode.USAGE
    assert message in " ".join(result.stderr.split())


def test_a_missing_structure_is_exit_1(invoke, tmp_path):
    result = invoke("init", "no.pdb", "b.pdb", "--force-field", "amber14-all.xml", "--out", tmp_path / "r.yaml")
    assert result.exit_code == ExitCode.FAILED
    assert "no.pdb" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_of_init_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from tpsctl.cli import app as cli; "
        "assert CliRunner().invoke(cli.app, ['init', '--help']).exit_code == 0; "
        "print([m for m in 'torch numpy openmm mdtraj matplotlib rich yaml'.split() if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
