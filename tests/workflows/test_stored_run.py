"""The reader of run directories: files in both formats, recipes of other versions, inputs that changed."""

import json
import shutil

import pytest
import torch

from tests.small_manifest import small_manifest
from tpsctl.errors import RecipeError
from tpsctl.output.manifest import write_manifest
from tpsctl.output.trajectory import write_path
from tpsctl.workflows.run_refusals import release_order
from tpsctl.workflows.stored_run import StoredRun


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def changed(run, change):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))
    return StoredRun.read(run)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ("99.0", "the newer tpsctl 99.0 wrote it.* Update tpsctl."),
        ("0.0.1", "the older tpsctl 0.0.1 wrote it.* Run the recipe again."),
    ],
)
def test_a_recipe_with_keys_of_another_version_says_so(run, theirs, words):
    def change(manifest):
        manifest["versions"]["tpsctl"] = theirs
        manifest["recipe"]["path"]["wishes"] = 3

    with pytest.raises(RecipeError, match=rf"path.wishes: unknown key(?s:.*){words}"):
        changed(run, change).recipe()


def test_a_manifest_of_this_version_that_lacks_something_is_damaged(run):
    with pytest.raises(RecipeError, match=r"has no outcome: Restore it, or run the recipe again\.$"):
        changed(run, lambda manifest: manifest.pop("outcome"))


def test_versions_are_ordered_as_they_were_released():
    versions = ["0.0.9", "0.1.dev9+gab", "0.1.dev564+gcd", "0.1", "0.1.1", "0.2.dev1", "0.10"]
    assert sorted(sorted(versions), key=release_order) == versions


def test_changes_of_the_recipe_leave_the_manifest_as_it_is(run):
    read = StoredRun.read(run)
    before = json.dumps(read.manifest)
    recipe = read.recipe({"path.paths": 7}, ("validation.energy.minimize=true",))
    assert recipe.path.paths == 7
    assert recipe.validation.energy.minimize
    assert json.dumps(read.manifest) == before
    assert read.recipe().path.paths == 2


def test_the_most_precise_file_that_was_asked_for_is_read(run):
    exact = StoredRun.read(run)
    x = exact.path(1)
    write_path(run, 1, x, exact.topology, dt_ps=None, formats=("pdb",))
    assert torch.equal(StoredRun.read(run).path(1), x)
    rounded = changed(run, lambda manifest: manifest["recipe"]["output"].update(trajectories=["pdb"])).path(1)
    # PDB has three digits behind the point of an angstrom
    assert 0 < (rounded - x).abs().max() <= 0.5e-4 + 1e-8
    (run / "paths/path_0001.pdb").unlink()
    with pytest.raises(RecipeError, match=r"path_0001\.pdb: missing"):
        StoredRun.read(run).path(1)


def test_paths_of_different_lengths_are_damaged(run):
    read = StoredRun.read(run)
    write_path(run, 1, read.path(1)[:5], read.topology, dt_ps=None, formats=("dcd",))
    with pytest.raises(RecipeError, match=r"path_0001\.dcd: damaged \(its shape is \(5, 22, 3\), not \(12, 22, 3\)\)"):
        _ = StoredRun.read(run).paths


def test_a_run_without_paths_or_without_files_of_them_says_so(run, tmp_path):
    write_manifest(tmp_path, small_manifest([]))
    with pytest.raises(RecipeError, match="this run found no path. Name one that did."):
        _ = StoredRun.read(tmp_path).paths
    shutil.rmtree(run / "paths")
    assert not StoredRun.read(run).has_trajectories
    with pytest.raises(RecipeError, match=r"asked for no trajectories\. Run it again with output\.trajectories"):
        StoredRun.read(run).path(0)


def test_input_files_must_be_what_they_were(run, tmp_path):
    def move(manifest):
        file = tmp_path / "start.pdb"
        shutil.copy(manifest["inputs"]["endpoints.start.structure"]["file"], file)
        manifest["inputs"]["endpoints.start.structure"]["file"] = str(file)

    read = changed(run, move)
    assert set(read.require_inputs(("endpoints.",))) == {"endpoints.start.structure", "endpoints.end.structure"}
    (tmp_path / "start.pdb").write_text("another")
    with pytest.raises(RecipeError, match=r"endpoints\.start\.structure: .*start\.pdb has changed since the run"):
        read.require_inputs()
    (tmp_path / "start.pdb").unlink()
    with pytest.raises(RecipeError, match=r"endpoints\.start\.structure: .* of the run .* is no longer there"):
        read.require_inputs()
