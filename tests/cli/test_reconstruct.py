"""`reconstruct`: flags, exit codes and what is printed; the workflow is replaced."""

import json

import pytest

from tpsctl.cli.reconstruct import Backend
from tpsctl.errors import ExitCode, MissingDependencyError
from tpsctl.molecule.reconstruction import BACKENDS

COUNTS = {"inverted_centers": 0, "cis_bonds": 0, "clashes": 0}
PATH = {
    "path": 0, "images": 3, "gate": "valid", "reconstructed": COUNTS | {"clashes": 7}, "written": COUNTS,
    "flicker": {
        "reconstructed": {"mean_nm": 0.31, "jumps": 9, "torsions": 12},
        "written": {"mean_nm": 0.05, "jumps": 1, "torsions": 12},
    },
    "ca_rmsd_nm": 0.02,
    "energy_kj_per_mol": {"raw": {"lowest": 1.0, "highest": 2.0}, "minimized": {"lowest": -20.0, "highest": -10.0}},
    "seconds": {"reconstruction": 1.0, "minimization": 2.0},
}  # fmt: skip


@pytest.fixture
def fake(monkeypatch):
    """Replaces the workflow; holds its settings and sets its outcome."""
    from tpsctl.workflows import reconstruct

    calls = {"outcome": "complete", "error": None}

    def run(folder, settings, progress):
        calls.update(run=folder, settings=settings)
        if calls["error"]:
            raise calls["error"]
        return {
            "name": "all_atom of run", "outcome": calls["outcome"], "residues": 20, "atoms": 304, "paths": [PATH],
            "backend": {"name": "cgback", "package": "cgback", "version": "1.1.1"}, "directory": "run/all_atom",
            "energies": {"force_field": ["a.xml"], "solvent": "", "platform": "CPU", "precision": "single"},
            "settings": {"smooth": settings.smooth},
        }  # fmt: skip

    monkeypatch.setattr(reconstruct, "reconstruct_run", run)
    return calls


def test_the_back_ends_of_the_command_are_those_of_the_package():
    assert [backend.value for backend in Backend] == list(BACKENDS)


def test_the_table_shows_flicker_before_and_after(invoke, fake, tmp_path):
    result = invoke("reconstruct", tmp_path)
    assert result.exit_code == ExitCode.COMPLETE
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["0", "reconstructed", "3", "0", "0", "7", "0.3100", "9", "1", "2", "1.0"] in lines
    assert ["0", "written", "3", "0", "0", "0", "0.0500", "1", "-20", "-10", "2.0"] in lines
    assert "a.xml (vacuum; CPU platform, single precision)" in result.stdout
    assert fake["settings"].backend == "cgback"
    assert fake["settings"].paths == (0,)


def test_options_reach_the_workflow(invoke, fake, tmp_path):
    words = "--backend pulchra --path 2 --path 5 --path 2 --every 4 --force-field a.xml --seed 7 --independent".split()
    assert invoke("reconstruct", tmp_path, *words, "--overwrite", "--json").exit_code == ExitCode.COMPLETE
    settings = fake["settings"]
    assert (settings.backend, settings.paths, settings.every, settings.seed) == ("pulchra", (2, 5), 4, 7)
    assert (settings.force_field, settings.smooth, settings.overwrite) == (("a.xml",), False, True)


def test_a_failed_gate_is_exit_3_and_json_is_alone_on_stdout(invoke, fake, tmp_path):
    fake["outcome"] = "not_valid"
    result = invoke("reconstruct", tmp_path, "--json")
    assert result.exit_code == ExitCode.NOT_VALID
    assert json.loads(result.stdout)["paths"][0]["flicker"]["written"]["jumps"] == 1
    assert "NOT VALID" in invoke("reconstruct", tmp_path).stdout


def test_a_missing_back_end_is_one_message(invoke, fake, tmp_path):
    fake["error"] = MissingDependencyError('back-end "cgback" needs package cgback')
    result = invoke("reconstruct", tmp_path)
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.strip() == 'back-end "cgback" needs package cgback'
