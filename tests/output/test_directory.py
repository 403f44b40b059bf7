"""Run directories: complete or not at all, and nothing lost."""

import json
import math

import pytest

from tpsctl.errors import OutputError, RecipeError
from tpsctl.output.directory import earlier_result, staged
from tpsctl.output.manifest import differences, file_sha256, read_manifest, write_manifest

RECIPE = {"action": {"dt_ps": 0.001}}


@pytest.fixture
def finished(tmp_path):
    with staged(tmp_path / "run") as folder:
        write_manifest(folder, {"digest": "aa", "recipe": RECIPE})
    return tmp_path / "run"


def test_a_finished_run_is_recognized_by_its_digest(finished):
    assert earlier_result(finished, "aa", {"recipe": RECIPE}, overwrite=False)["digest"] == "aa"


def test_another_recipe_is_refused_and_told_apart(finished):
    other = {"recipe": {"action": {"dt_ps": 0.002}}}
    with pytest.raises(RecipeError) as caught:
        earlier_result(finished, "bb", other, overwrite=False)
    assert "recipe.action.dt_ps: 0.001 there, 0.002 now" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert earlier_result(finished, "bb", other, overwrite=True) is None


def test_new_and_empty_places_are_free(tmp_path):
    (tmp_path / "empty").mkdir()
    assert earlier_result(tmp_path / "empty", "aa", {}, overwrite=False) is None
    assert earlier_result(tmp_path / "new", "aa", {}, overwrite=False) is None


def test_foreign_folders_and_files_are_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    for place in (tmp_path / "home", tmp_path / "home" / "thesis.tex"):
        with pytest.raises(RecipeError):
            earlier_result(place, "aa", {}, overwrite=True)


def test_overwriting_replaces_the_whole_folder(finished):
    (finished / "old.txt").write_text("x")
    with staged(finished, overwrite=True) as folder:
        write_manifest(folder, {"digest": "bb"})
    assert [p.name for p in finished.parent.iterdir()] == ["run"]
    assert [p.name for p in finished.iterdir()] == ["manifest.json"]


def test_a_failed_run_leaves_nothing_behind_and_the_old_result_alone(finished):
    def fail() -> None:
        with staged(finished) as folder:
            (folder / "half.txt").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [p.name for p in finished.parent.iterdir()] == ["run"]
    assert read_manifest(finished)["digest"] == "aa"


def test_a_result_that_came_first_is_kept_and_so_is_the_late_one(tmp_path):
    def race() -> None:
        with staged(tmp_path / "run") as folder:
            write_manifest(folder, {"digest": "late"})
            (tmp_path / "run").mkdir()  # meanwhile another process finishes
            write_manifest(tmp_path / "run", {"digest": "first"})

    with pytest.raises(OutputError, match="another run put its result here meanwhile"):
        race()
    assert read_manifest(tmp_path / "run")["digest"] == "first"
    (late,) = tmp_path.glob("run.late-*")
    assert read_manifest(late)["digest"] == "late"


def test_an_unwritable_place_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="--out"), staged(tmp_path / "file" / "run"):
        pass


def test_manifests_are_plain_json(tmp_path):
    write_manifest(tmp_path, {"a": math.nan, "b": (1, math.inf), "c": tmp_path})
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"a": None, "b": [1, None], "c": str(tmp_path)}


def test_a_damaged_manifest_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match=r"manifest\.json: cannot be read"):
        read_manifest(tmp_path)


def test_hash_follows_content_and_names(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    assert file_sha256(tmp_path / "a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # of "1"
    before = file_sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert file_sha256(tmp_path) != before


def test_differences_list_nested_keys():
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3})) == [
        "a.c: 2 there, null now",
        "d: null there, 3 now",
    ]
