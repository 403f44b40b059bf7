"""`tpsctl shoot` on a model potential: files, kills, shards, and what is refused."""

import csv
import json

import pytest

from tpsctl.errors import Interrupted, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.workflows.shoot.committor import CommittorRounds
from tpsctl.workflows.shoot.run import shoot


def table(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def files(folder):
    return {file.name: file.read_text() for file in folder.glob("*.csv")}


def test_every_shot_is_in_the_tables_and_the_committor_is_counted_from_them(run, wanted):
    manifest = shoot(wanted(run), Progress())
    shots, committors = table(run / "shooting" / "shots.csv"), table(run / "shooting" / "committor.csv")
    assert [row["start"] for row in committors] == ["image 14", "image 18"]
    for row in committors:
        mine = [shot for shot in shots if shot["start"] == row["start"]]
        assert [shot["shot"] for shot in mine] == [str(k) for k in range(int(row["shots"]))]
        outcomes = [shot["outcome"] for shot in mine]
        counted = [outcomes.count(kind) for kind in ("A", "B", "neither", "failed")]
        assert counted == [int(row[name]) for name in ("to_a", "to_b", "to_neither", "failed")]
        assert float(row["p_b"]) == counted[1] / (counted[0] + counted[1])
    assert manifest["starts"][0]["p_b"] < manifest["starts"][1]["p_b"]
    assert json.loads((run / "shooting" / "manifest.json").read_text())["verdict"] == manifest["verdict"]
    assert not (run / "shooting" / "state").exists()


def test_without_a_wish_the_top_its_neighbors_and_controls_are_taken(run, wanted):
    manifest = shoot(wanted(run, images=None, least=10, most=10), Progress())
    roles = {entry["role"]: entry["start"] for entry in manifest["starts"]}
    top = json.loads((run / "manifest.json").read_text())["paths"][0]["raw"]["highest_image"]
    assert roles["top"] == f"image {top}"
    assert [entry["role"] for entry in manifest["starts"]] == ["control", "neighbor", "top", "neighbor", "control"]
    first, *_, last = manifest["starts"]
    assert (first["verdict"], last["verdict"]) == ("committed to A", "committed to B")


def test_shards_share_the_shots_and_a_stop_on_the_way_changes_none(run, wanted, monkeypatch, tmp_path):
    """A round is stopped after its first block; one shard goes on, the other joins, the last call gathers."""
    shoot(wanted(run), Progress())
    expected = files(run / "shooting")
    out, real, done = tmp_path / "again", CommittorRounds.run, []

    def stop_after_one(rounds, block):
        if done:
            raise KeyboardInterrupt
        done.append(block)
        return real(rounds, block)

    monkeypatch.setattr(CommittorRounds, "run", stop_after_one)
    with pytest.raises(Interrupted, match="tpsctl shoot"):
        shoot(wanted(run, out=out), Progress())
    monkeypatch.undo()
    for number in (2, 1):
        assert shoot(wanted(run, out=out, shard=Shard(number, 2)), Progress())["directory"] == str(out)
    assert not (out / "manifest.json").exists()
    shoot(wanted(run, out=out, resume=True), Progress())
    assert files(out) == expected


def test_shots_that_are_there_are_kept_and_others_refused(run, wanted):
    first = shoot(wanted(run), Progress())
    assert shoot(wanted(run), Progress())["starts"] == json.loads(json.dumps(first["starts"]))
    with pytest.raises(RecipeError, match=r"recipe.seed: 2026 there, 5 now(?s:.*)--overwrite"):
        shoot(wanted(run, seed=5), Progress())
    second = shoot(wanted(run, seed=5, overwrite=True), Progress())
    assert second["recipe"]["seed"] == 5


def test_states_can_be_set_and_the_result_knows_them(run, wanted):
    manifest = shoot(wanted(run, images=(14,), least=1, most=1), Progress())
    assert manifest["recipe"]["states"]["B"] == [{"kind": "point", "within_nm": 6.0}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": 3}, "--path 3: .* has the paths 0 to 0"),
        ({"images": (14, 99)}, "--images: no image 99; the path has the images 0 to 49"),
        ({"images": (14, 14)}, "an image is named twice"),
        ({"physics": {"dynamics": "force_field"}}, "the run names no force field(?s:.*)--dynamics prior"),
        ({"assignments": ("path.paths=3",)}, "a finished run keeps its recipe"),
        (
            {
                "assignments": (
                    "validation.states={A: [{kind: point, within_nm: 40}], B: [{kind: point, within_nm: 1}]}",
                )
            },
            r"validation.states.A: end B of the path is in this state",
        ),
        (
            {"assignments": ("validation.states={A: [{kind: rmsd, below_nm: 1}], B: [{kind: point, within_nm: 1}]}",)},
            "a model potential has no such thing",
        ),
        ({"resume": True}, "has no unfinished run"),
        ({"overwrite": True, "shard": Shard(1, 2)}, "not with --shard"),
        ({"shard": Shard(1, 9)}, "at most 2 shards"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(run, wanted, changes, message):
    with pytest.raises(RecipeError, match=message):
        shoot(wanted(run, **changes), Progress())
    assert not (run / "shooting").exists()


def test_a_place_without_a_finished_run_is_refused(wanted, run):
    (run / "manifest.json").unlink()
    with pytest.raises(RecipeError, match="not the directory of a finished run"):
        shoot(wanted(run), Progress())
