"""`tpsctl train` stopped by signals, limits and others: nothing is lost, and the result is the unbroken one."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file

from tpsctl.errors import DataError, Interrupted, RecipeError, StateError
from tpsctl.jobs.lease import Lease, leased


def require_same_tensors(card, finished_once):
    unbroken = load_file(finished_once.card["file"])
    tensors = load_file(card["file"])
    assert tensors.keys() == unbroken.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, unbroken[name]), name


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_an_interrupted_run_continues_bit_for_bit(stopped, finished_once, run, recorder, tmp_path, number, code):
    progress = recorder(signal_at=("training", 5), number=number)
    with pytest.raises(Interrupted, match="(?s)stopped after step 5 of 12, state saved.*Go on with: again") as told:
        run(stopped, progress=progress, command="again")
    assert told.value.exit_code == code
    assert str(told.value).count("Go on with") == 1
    assert not (tmp_path / "out" / "prior.safetensors").exists()
    resumed = recorder()
    card = run(stopped, progress=resumed)
    assert resumed.said[1] == "going on after step 5 of 12"
    assert resumed.texts[0].startswith("training 6/12"), "the preparation is not done twice"
    require_same_tensors(card, finished_once)


@pytest.mark.parametrize("piece", [1, 2, 5, 8])
def test_an_interruption_in_the_preparation_loses_no_piece(recipe, finished_once, run, recorder, piece):
    progress = recorder(signal_at=("preparation", piece))
    with pytest.raises(Interrupted, match=f"stopped after {piece} of 8 pieces of the preparation|step 0 of 12") as told:
        run(recipe, progress=progress)
    assert told.value.exit_code == 143
    resumed = recorder()
    card = run(recipe, progress=resumed)
    expected = f"preparation {piece + 1}/8" if piece < 8 else "training 1/12"
    assert resumed.texts[0].startswith(expected)
    require_same_tensors(card, finished_once)


def test_a_signal_within_a_piece_gives_the_piece_up(recipe, finished_once, run, recorder, monkeypatch):
    """The signal comes while a batch is drawn for the linear fit, long before the end of its piece."""
    from tpsctl.training.targets import TargetSource

    draw, widths = TargetSource.draw, []

    def drawing(self, sigma, generator):
        widths.append(float(sigma[0]))
        if len(widths) == 2 + 3 + 1:  # tables of two widths, the lead-in of three, and the first of the ladder
            signal.raise_signal(signal.SIGTERM)
        return draw(self, sigma, generator)

    with monkeypatch.context() as patched:
        patched.setattr(TargetSource, "draw", drawing)
        with pytest.raises(Interrupted, match="stopped after 5 of 8 pieces of the preparation, state saved"):
            run(recipe)
    assert len(widths) == 6, "nothing more was drawn"
    resumed = recorder()
    card = run(recipe, progress=resumed)
    assert resumed.said[1] == "going on after 5 of 8 pieces of the preparation"
    require_same_tensors(card, finished_once)


def test_unfinished_training_of_another_recipe_is_refused_unless_told(stopped, run):
    with pytest.raises(RecipeError, match=r"(?s)unfinished training of another recipe.*recipe\.seed: 3 there, 4 now"):
        run(stopped, "seed=4")
    assert run(stopped, "seed=4", overwrite=True)["recipe"]["seed"] == 4


def test_a_state_of_the_version_with_two_loops_is_refused_in_words(stopped, run, tmp_path):
    """Its tensors had other names; the last snapshot is written as that version would have."""
    folder = tmp_path / "out" / "prior.safetensors.training"
    for file in folder.glob("training-*.safetensors"):
        rewrite_as_before(file)
    with pytest.raises(DataError, match=r"another version of tpsctl.*nothing was changed.*--overwrite"):
        run(stopped)
    assert len(list(folder.glob("training-*.safetensors"))) == 2
    assert run(stopped, overwrite=True)["name"] == "peroxide"


def rewrite_as_before(file):
    from tpsctl.jobs.store import read_state, write_state

    tensors, facts = read_state(file)
    kept = {name: value for name, value in tensors.items() if not name.startswith(("objective.", "format"))}
    own = {"step": torch.tensor(3), "digest": kept.pop("fingerprint"), "moments": tensors["objective.moments"]}
    write_state(file, kept | own, facts)


def test_signals_work_as_usual_afterwards(finished_once, stopped, run):
    before = signal.getsignal(signal.SIGINT)
    run(stopped)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_is_not_held_back(stopped, run, recorder):
    class Impatient(recorder):
        def task(self, name, total):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            return super().task(name, total)

    with pytest.raises(Interrupted, match="interrupted; what was saved before is there") as told:
        run(stopped, progress=Impatient())
    assert told.value.exit_code == 130


def test_a_time_limit_stops_in_time_and_any_number_of_parts_give_the_same(stopped, finished_once, run):
    for step in (4, 5, 6, 7):  # a limit that has passed stops it after every step
        with pytest.raises(Interrupted, match=f"step {step} of 12") as told:
            run(stopped, max_hours=0.0)
        assert told.value.exit_code == 75
    require_same_tensors(run(stopped), finished_once)


def test_resuming_needs_a_state(recipe, run):
    with pytest.raises(RecipeError, match="has no state. Leave --resume out"):
        run(recipe, resume=True)


def test_a_kill_behind_the_finished_checkpoint_leaves_nothing(finished, finished_once, run, tmp_path):
    folder = tmp_path / "out" / "prior.safetensors.training"
    folder.mkdir()
    (folder / "identity.json").write_text(json.dumps({"digest": finished_once.card["digest"]}))
    save_file({"x": torch.zeros(1)}, folder / "training-00000001.safetensors")
    run(finished)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"prior.safetensors", "prior_report"}


def test_two_processes_do_not_train_one_model(recipe, run, tmp_path):
    with leased(Lease(tmp_path / "out" / "prior.safetensors.training" / "lease.json")):  # noqa: SIM117
        with pytest.raises(StateError, match="works on this already"):
            run(recipe)


def test_a_signal_during_the_judgement_loses_no_step(stopped, finished_once, run, recorder, monkeypatch):
    """The state is saved after the last step, and a signal ends the command at once; the next run judges again."""

    def killed(*arguments):
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr("tpsctl.workflows.train.molecule.judge_for_paths", killed)
        with pytest.raises(Interrupted, match="Go on with: again") as told:
            run(stopped, command="again")
    assert told.value.exit_code == 143
    resumed = recorder()
    card = run(stopped, progress=resumed)
    assert resumed.said[1] == "going on after step 12 of 12"
    assert resumed.texts == []
    require_same_tensors(card, finished_once)
