"""`schema`, `doctor` and `completion`."""

import json
import subprocess
import sys

import pytest

from tpsctl.cli.installation import RecipeKind
from tpsctl.errors import ExitCode
from tpsctl.recipe import kinds


def test_schema_knows_every_kind_of_recipe(invoke):
    assert [kind.value for kind in RecipeKind] == list(kinds.MODELS)
    for kind in RecipeKind:
        assert json.loads(invoke("schema", kind.value).stdout)["type"] == "object"


def test_doctor_as_json(invoke):
    found = json.loads(invoke("doctor", "--json").stdout)
    assert {"versions", "torch_devices", "openmm_platforms", "problems"} <= set(found)
    assert found["attention"].startswith(("compiled (", "by torch (reinstalled with a C compiler"))


@pytest.mark.parametrize(("problems", "code"), [([], ExitCode.COMPLETE), (["mend it"], ExitCode.FAILED)])
def test_doctor_fails_where_something_stands_in_the_way(invoke, monkeypatch, problems, code):
    from tpsctl.workflows import doctor

    facts = {"versions": {"torch": "2"}, "torch_devices": ["cpu"], "problems": problems}
    monkeypatch.setattr(doctor, "examine", lambda: facts)
    result = invoke("doctor")
    assert result.exit_code == code
    assert "torch 2" in result.stdout
    assert all(problem in result.stdout for problem in problems)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(invoke, shell):
    assert "_TPSCTL_COMPLETE" in invoke("completion", shell).output


def test_completion_answers_the_shell():
    environment = {"_TPSCTL_COMPLETE": "complete_bash", "COMP_WORDS": "tpsctl sam", "COMP_CWORD": "1", "PATH": "/bin"}
    command = [sys.executable, "-m", "tpsctl"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["sample"]
