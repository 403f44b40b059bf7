"""Plans and shards: every path once, whatever the division."""

import json
import os
from contextlib import contextmanager, nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpsctl.errors import Interrupted, PriorError, RecipeError, StateError
from tpsctl.jobs.plan import Plan, leaving_nothing, open_plan, read_plan
from tpsctl.jobs.shard import WHOLE, Shard

IDENTITY = {"digest": "aa", "recipe": {"seed": 1}, "inputs": {}}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def killed_at(monkeypatch):
    """`with killed_at(n):` the n-th removal of a file or folder (from 0) ends the process."""

    def begin(number):
        left = iter([True] * number)

        def counted(remove):
            def act(*words, **options):
                if not next(left, False):
                    raise Killed
                return remove(*words, **options)

            return act

        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir"):
                patch.setattr(os, name, counted(getattr(os, name)))
            yield

    return contextmanager(begin)


def finished(directory, **changes):
    """A run whose result is published, but whose state is still there."""
    run = plan(directory, **changes)
    run.write()
    for name in ("batches/batch_00000.safetensors", "shards/0001_of_0001/status.json", "gather.json"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text("{}")
    (directory / "manifest.json").write_text(json.dumps(IDENTITY))
    return run


def plan(directory, paths=7, batch_paths=2, **changes):
    values = {"identity": IDENTITY, "replaces": False, "origin": ("my recipe.yaml",)} | changes
    return Plan(directory, paths=paths, batch_paths=batch_paths, **values)


@given(paths=st.integers(1, 60), size=st.integers(1, 9), data=st.data())
def test_every_path_belongs_to_one_batch_and_every_batch_to_one_shard(paths, size, data):
    whole = plan(None, paths, size)
    assert [p for batch in range(whole.batches) for p in whole.numbers(batch)] == list(range(paths))
    of = data.draw(st.integers(1, whole.batches))
    parts = [whole.batches_of(Shard(number, of)) for number in range(1, of + 1)]
    assert all(parts)
    assert sorted(batch for part in parts for batch in part) == list(range(whole.batches))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "a/b", "3", "1/2/3", "-1/4", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(RecipeError, match="expected i/N with 1 <= i <= N, e.g. 2/4"):
        Shard.parse(text)


def test_shards_have_names():
    assert Shard.parse(" 2/4 ") == Shard(2, 4)
    assert (str(Shard(2, 4)), Shard(2, 4).folder) == ("2/4", "0002_of_0004")


def test_the_command_that_goes_on_can_be_pasted_into_a_shell(tmp_path):
    assert plan(tmp_path).command(Shard(2, 4)) == "tpsctl sample 'my recipe.yaml' --shard 2/4"
    assert plan(tmp_path).command(WHOLE) == "tpsctl sample 'my recipe.yaml'"


def test_a_plan_is_found_again_where_its_directory_was_moved(tmp_path):
    (tmp_path / "a").mkdir()
    open_plan(plan(tmp_path / "a"), overwrite=False, resume=False)
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_plan(tmp_path / "b") == plan(tmp_path / "b")
    assert read_plan(tmp_path / "a") is None


def test_the_batches_of_an_unfinished_run_stay_as_they_are(tmp_path):
    """A run begun on a GPU is finished in its batches on a CPU."""
    open_plan(plan(tmp_path, batch_paths=5), overwrite=False, resume=False)
    assert open_plan(plan(tmp_path, batch_paths=2), overwrite=False, resume=False).batch_paths == 5


def test_a_damaged_plan_is_named(tmp_path):
    plan(tmp_path).write()
    (tmp_path / "state" / "plan.json").write_text('{"paths": 1}')
    with pytest.raises(StateError, match=r"plan\.json: cannot be read"):
        read_plan(tmp_path)


@pytest.mark.parametrize("replaces", [False, True])
def test_killed_while_the_state_is_removed_the_next_start_removes_the_rest(tmp_path, killed_at, replaces):
    for number in range(10):
        run = finished(tmp_path, replaces=replaces)
        removals = 8 + replaces  # files and folders, and the temporary file of a plan that is written anew
        with killed_at(number), pytest.raises(Killed) if number < removals else nullcontext():
            run.finish()
        assert open_plan(plan(tmp_path), overwrite=False, resume=False) == IDENTITY
        assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json"]


def test_a_run_that_replaces_another_is_not_complete_before_its_result_is_there(tmp_path):
    finished(tmp_path, replaces=True)
    assert read_plan(tmp_path).result is None
    assert open_plan(plan(tmp_path), overwrite=False, resume=False) == plan(tmp_path, replaces=True)


def refused(run, error):
    """The work on a new plan ends with this error."""
    run.write()
    with pytest.raises(type(error)), leaving_nothing(run):
        raise error


def test_work_that_is_refused_at_once_leaves_nothing_behind(tmp_path):
    run = plan(tmp_path / "run")
    refused(run, PriorError("do not use"))
    assert not run.directory.exists()


def test_work_that_is_refused_leaves_an_earlier_result_as_it_is(tmp_path):
    run = plan(tmp_path, replaces=True)
    (tmp_path / "manifest.json").write_text("{}")
    refused(run, PriorError("do not use"))
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("batches/batch_00000.safetensors", "", PriorError("memory ran out")),
        ("shards/0001_of_0002/log.txt", "Traceback (most recent call last):\n", RecipeError("process 1/2 failed")),
        ("shards/0001_of_0001/status.json", "{}", Interrupted("stopped", 75)),
        ("shards/0001_of_0001/status.json", "{}", ValueError("a defect of tpsctl")),
    ],
)
def test_what_was_saved_or_tells_of_a_defect_stays(tmp_path, name, text, error):
    run = plan(tmp_path / "run")
    (run.folder / name).parent.mkdir(parents=True)
    (run.folder / name).write_text(text)
    refused(run, error)
    assert read_plan(run.directory) == run
    assert (run.folder / name).exists()
