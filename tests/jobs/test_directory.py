"""Run directories: complete or not at all, and nothing lost."""

import json
import math
import os

import pytest

from tpsctl.errors import OutputError, RecipeError
from tpsctl.jobs.directory import earlier_result, publish
from tpsctl.output.manifest import differences, file_sha256, read_manifest, shown_differences, write_manifest

RECIPE = {"action": {"dt_ps": 0.001}}


def assemble(folder, digest, **texts):
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_manifest(folder, {"digest": digest, "recipe": RECIPE})
    return folder


@pytest.fixture
def finished(tmp_path):
    run = tmp_path / "run"
    publish(assemble(run / "state" / "result", "aa", **{"paths/a.dcd": "1", "paths.csv": "2"}), run)
    return run


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_finished_run_is_recognized_by_its_digest(finished):
    assert names(finished) == ["manifest.json", "paths.csv", "paths/a.dcd"]
    assert earlier_result(finished, "aa", {"recipe": RECIPE}, overwrite=False)["digest"] == "aa"


def test_another_recipe_is_refused_and_told_apart(finished):
    other = {"recipe": {"action": {"dt_ps": 0.002}}}
    with pytest.raises(RecipeError) as caught:
        earlier_result(finished, "bb", other, overwrite=False)
    assert "recipe.action.dt_ps: 0.001 there, 0.002 now" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert earlier_result(finished, "bb", other, overwrite=True) is None


@pytest.mark.parametrize("inside", [None, "", "slurm", "state"])
def test_new_and_empty_places_are_free(tmp_path, inside):
    if inside is not None:
        (tmp_path / "run" / inside).mkdir(parents=True)
    assert earlier_result(tmp_path / "run", "aa", {}, overwrite=False) is None


def test_foreign_folders_and_files_are_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    for place in (tmp_path / "home", tmp_path / "home" / "thesis.tex"):
        with pytest.raises(RecipeError):
            earlier_result(place, "aa", {}, overwrite=True)


def test_publishing_replaces_what_was_there_but_not_scripts_and_state(finished):
    (finished / "old.txt").write_text("x")
    (finished / "slurm").mkdir()
    publish(assemble(finished / "state" / "result", "bb", **{"paths/b.dcd": "3"}), finished)
    assert names(finished) == ["manifest.json", "paths/b.dcd"]
    assert (finished / "slurm").is_dir()


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_while_publishing_leaves_no_manifest_and_is_mended_by_doing_it_again(finished, monkeypatch, moves):
    real, count = os.rename, iter(range(10))

    def rename(source, target):
        if next(count) >= moves:
            raise KeyboardInterrupt
        real(source, target)

    def new():
        return assemble(finished / "state" / "result", "bb", **{"paths/a.dcd": "3", "paths.csv": "4"})

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        publish(new(), finished)
    monkeypatch.undo()
    assert not (finished / "manifest.json").exists()
    publish(new(), finished)
    assert (finished / "paths" / "a.dcd").read_text() == "3"
    assert read_manifest(finished)["digest"] == "bb"


def test_a_file_that_changes_on_its_way_is_found_and_the_result_is_not_complete(tmp_path, monkeypatch):
    folder, real = assemble(tmp_path / "state" / "result", "aa", **{"paths.csv": "1"}), os.rename

    def rename(source, target):
        real(source, target)
        if target.name == "paths.csv":
            target.write_text("2")

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OutputError, match=r"paths\.csv: does not read back"):
        publish(folder, tmp_path)
    assert read_manifest(tmp_path) is None


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


def test_a_file_with_the_same_content_elsewhere_is_no_difference():
    def manifest(place, content, seed):
        recipe = {"seed": seed, "output": {"directory": f"{place}/out"}}
        recipe["endpoints"] = {"start": f"{place}/a.pdb", "end": f"{place}/b.pdb"}
        files = {"endpoints.start": ("a.pdb", "same"), "endpoints.end": ("b.pdb", content)}
        inputs = {key: {"file": f"{place}/{name}", "sha256": sha256} for key, (name, sha256) in files.items()}
        return {"recipe": recipe, "inputs": inputs}

    there, now = manifest("/there", "before", 1), manifest("/here", "after", 2)
    assert [line.split(": ")[0].strip() for line in shown_differences(there, now, ("recipe", "inputs"))] == [
        "recipe.seed",
        "recipe.endpoints.end",
        "inputs.endpoints.end.file",
        "inputs.endpoints.end.sha256",
    ]
