"""`tpsctl diff`: every kind of difference is found, named and attributed, and equal runs are equal."""

import copy
import json
import shutil

import pytest

from tests.small_manifest import small_manifest
from tpsctl.errors import RecipeError
from tpsctl.workflows.diff import RunDifference, compare_runs


@pytest.fixture
def runs(finished_run, tmp_path):
    """A run and a function that makes a second one from a change of its manifest."""
    first = json.loads((finished_run / "manifest.json").read_text())

    def second(change):
        values = copy.deepcopy(first)
        change(values)
        (tmp_path / "second").mkdir()
        (tmp_path / "second/manifest.json").write_text(json.dumps(values))
        return compare_runs(finished_run, tmp_path / "second")

    return second


def test_a_moved_copy_is_equal(finished_run, tmp_path):
    copied = shutil.copytree(finished_run, tmp_path / "copy")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["recipe"]["output"]["directory"] = "elsewhere"
    manifest["recipe"]["endpoints"]["start"]["structure"] = "elsewhere/start.pdb"
    manifest["seconds"] = {"total": 1e9}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert compare_runs(finished_run, copied) == []


def test_a_changed_key_of_the_recipe(runs):
    found = runs(lambda m: m["recipe"]["optimize"].update(max_steps=7))
    assert found == [RunDifference("recipe", "optimize.max_steps", 3, 7)]


def test_stages_are_compared_one_by_one(tmp_path, finished_run):
    manifest = json.loads((finished_run / "manifest.json").read_text())
    places = []
    for name, steps in (("a", 5), ("b", 6)):
        manifest["recipe"]["optimize"] = [{"method": "adam", "max_steps": 2}, {"method": "lbfgs", "max_steps": steps}]
        places.append(tmp_path / name)
        places[-1].mkdir()
        (places[-1] / "manifest.json").write_text(json.dumps(manifest))
    assert compare_runs(*places) == [RunDifference("recipe", "optimize.1.max_steps", 5, 6)]


def test_changed_contents_of_a_file_that_kept_its_name(runs):
    found = runs(lambda m: m["inputs"]["endpoints.end.structure"].update(sha256="0" * 64))
    assert [(each.part, each.key, each.second) for each in found] == [("inputs", "endpoints.end.structure", "0" * 64)]


def test_a_version(runs):
    found = runs(lambda m: m["versions"].update(openmm="7.0"))
    assert [(each.part, each.key, each.second) for each in found] == [("versions", "openmm", "7.0")]


def test_results_path_by_path(runs):
    def change(manifest):
        manifest["paths"][1]["gate"] = "chirality at image 3: center A:ALA2:CA is inverted"
        manifest["paths"][1]["raw"]["barrier_forward_kj_per_mol"] = 1.0
        manifest["valid"] = 1

    keys = [(each.part, each.key) for each in runs(change)]
    assert keys == [
        ("results", "valid"),
        ("results", "path 1: gate"),
        ("results", "path 1: raw.barrier_forward_kj_per_mol"),
    ]


def test_a_missing_path(runs):
    found = runs(lambda m: m["paths"].pop())
    assert found == [RunDifference("results", "path 1", "found", "missing")]


@pytest.mark.parametrize(
    ("factor", "tolerance", "equal"), [(1 + 1e-9, 0, False), (1 + 1e-9, 1e-8, True), (1.1, 1e-2, False)]
)
def test_numbers_within_the_tolerance_are_equal(finished_run, tmp_path, factor, tolerance, equal):
    copied = shutil.copytree(finished_run, tmp_path / "copy")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["paths"][0]["action"]["total"] *= factor
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert (compare_runs(finished_run, copied, tolerance=tolerance) == []) == equal


def search(*routes):
    """A manifest of a search whose routes pass saddles of these energies."""
    saddles = sorted({energy for route in routes for energy in route})
    entry = {"status": "converged", "gate": "valid", "steps": 3, "action": {"total": 1.0}}
    names = ("forward", "backward", "action", "length", "free_energy_forward", "free_energy_backward", "flux_share")
    return small_manifest(
        [{"path": k} | entry for k in range(len(routes))],
        produced=2,
        valid=2,
        converged=2,
        saddles=[{"saddle": k, "energy": energy} for k, energy in enumerate(saddles)],
        routes=[
            {"number": k, "valid": "valid", "saddles": [saddles.index(e) for e in route]}
            | dict.fromkeys(names, max(route))
            for k, route in enumerate(routes)
        ],
    )


def test_routes_are_recognized_by_their_saddles(tmp_path):
    """The second search found a lower route, so that all numbers moved; the common routes are still compared."""
    for name, manifest in (("a", search((20.0,), (8.0, 30.0))), ("b", search((12.0,), (20.0,), (8.0, 30.0)))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    assert compare_runs(tmp_path / "a", tmp_path / "b") == [
        RunDifference("results", "route 0: route.number", 0, 1),
        RunDifference("results", "route 1: route.number", 1, 2),
        RunDifference("results", "route 0", "missing", "found"),
    ]


def test_the_second_directory_must_hold_a_finished_run_too(finished_run, tmp_path):
    with pytest.raises(RecipeError, match="not the directory of a finished run"):
        compare_runs(finished_run, tmp_path)
