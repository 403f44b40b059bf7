"""`validation.committor`: a run shoots from its best path when it is done, with the files of `tpsctl shoot`."""

import json
from dataclasses import replace

import pytest

from tpsctl.cli import show_run
from tpsctl.errors import ExitCode, Interrupted, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.shoot import run as shooting
from tpsctl.workflows.shoot.committor import CommittorRounds
from tpsctl.workflows.shoot.settings import ShootSettings

WISH = ("prior.temperature_k=240", "output.figures=false", "validation.committor=true")


def recipe(root, *changes):
    return load_recipe(root / "recipes" / "mueller_brown.yaml", SampleRecipe, [*WISH, *changes])


def few(settings):
    return replace(settings, least=5, most=5, threads=1)  # further processes would not know of the few shots


@pytest.fixture
def asked(monkeypatch):
    """The settings of all shots; five shots from each image are made instead of a hundred."""
    real, seen = shooting.shoot, []

    def shoot(settings, progress):
        seen.append(settings)
        return real(few(settings), progress)

    monkeypatch.setattr(shooting, "shoot", shoot)
    return seen


def tables(folder):
    return {file.name: file.read_text() for file in folder.glob("*.csv")}


def test_a_run_shoots_as_the_command_does_and_its_report_says_so(root, tmp_path, asked, monkeypatch, capsys):
    settings = RunSettings(tmp_path / "run", device="cpu", threads=1)
    done = run_recipe(recipe(root), settings, Progress())
    assert [entry["role"] for entry in done["committor"]["starts"]] == [
        *("control", "neighbor", "top", "neighbor", "control")
    ]
    assert done["committor"]["verdict"] in (tmp_path / "run/report.html").read_text()
    assert "No committor was computed" not in (tmp_path / "run/report.html").read_text()
    show_run.show(done)
    printed = capsys.readouterr().out
    assert printed.index("barriers in kJ/mol") < printed.index("path 0: committor by shooting")
    answer = json.loads(json.dumps(show_run.as_json(done)))
    assert answer["committor"]["starts"][2]["role"] == "top"
    # all that decides the result is what `tpsctl shoot RUN` has, so that it finds these shots
    plain = ShootSettings(tmp_path / "run", threads=1, origin=asked[0].origin)
    assert asked == [plain]
    monkeypatch.setattr(CommittorRounds, "run", lambda *_: pytest.fail("a shot was made twice"))
    assert shooting.shoot(plain, Progress())["starts"] == done["committor"]["starts"]
    assert run_recipe(recipe(root), settings, Progress())["committor"]["starts"] == done["committor"]["starts"]


def test_the_wish_can_come_later_and_does_not_make_another_run(root, tmp_path, asked):
    settings = RunSettings(tmp_path / "run", device="cpu", threads=1)
    assert "committor" not in run_recipe(recipe(root, "validation.committor=false"), settings, Progress())
    before = (tmp_path / "run/manifest.json").read_bytes()
    assert not asked
    assert run_recipe(recipe(root), settings, Progress())["committor"]["outcome"]
    assert (tmp_path / "run/manifest.json").read_bytes() == before


def test_only_the_process_that_gathers_the_shards_shoots(root, tmp_path, asked):
    out = tmp_path / "run"
    done = run_recipe(recipe(root), RunSettings(out, device="cpu", threads=1, shard=Shard(1, 1)), Progress())
    assert "committor" not in done
    assert not asked
    found = gather(out, Progress())["committor"]
    assert found.get("directory") == str(out / "shooting"), found["verdict"]
    assert len(asked) == 1


def test_shots_that_were_stopped_go_on_with_the_same_command(root, tmp_path, asked, monkeypatch):
    whole = run_recipe(recipe(root), RunSettings(tmp_path / "whole", device="cpu", threads=1), Progress())
    settings, real, blocks = RunSettings(tmp_path / "run", device="cpu", threads=1), CommittorRounds.run, []

    def stop_after_two(rounds, block):
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(block)
        return real(rounds, block)

    monkeypatch.setattr(CommittorRounds, "run", stop_after_two)
    with pytest.raises(Interrupted, match="tpsctl shoot"):
        run_recipe(recipe(root), settings, Progress())
    assert (tmp_path / "run/manifest.json").exists()
    monkeypatch.setattr(CommittorRounds, "run", lambda rounds, block: blocks.append(block) or real(rounds, block))
    run_recipe(recipe(root), settings, Progress())
    assert len(blocks) == len(whole["committor"]["starts"])  # one block for each start: none is shot twice
    assert tables(tmp_path / "run/shooting") == tables(tmp_path / "whole/shooting")


def test_states_that_say_nothing_leave_the_run_without_a_committor(root, tmp_path, asked, capsys):
    wide = "validation.states={A: [{kind: point, within_nm: 17}], B: [{kind: point, within_nm: 3}]}"
    done = run_recipe(recipe(root, wide), RunSettings(tmp_path / "run", device="cpu", threads=1), Progress())
    assert done["outcome"] == "complete"
    assert done["committor"]["outcome"] == "not_judged"
    assert "No committor was computed: validation.states.A: state A contains image" in done["committor"]["verdict"]
    assert not (tmp_path / "run/shooting").exists()
    show_run.show(done)
    assert "state A contains image" in capsys.readouterr().out
    assert show_run.as_json(done)["committor"] == done["committor"]
    assert show_run.exit_code(done) == ExitCode.NOT_VALID


def test_what_cannot_be_shot_from_is_refused_before_any_work(root, tmp_path, asked):
    settings = RunSettings(tmp_path / "run", device="cpu", threads=1)
    with pytest.raises(RecipeError, match="validation.committor: got no output.trajectories"):
        run_recipe(recipe(root, "output.trajectories=[]"), settings, Progress())
    changes = ["validation.committor=true", "validation.energy=null", "validation.saddle=false"]
    molecule = load_recipe(root / "recipes" / "alanine_dipeptide.yaml", SampleRecipe, changes)
    with pytest.raises(RecipeError, match="validation.committor: got no validation.energy"):
        run_recipe(molecule, settings, Progress())
    assert not (tmp_path / "run").exists()


def test_the_exit_code_tells_of_the_committor():
    assert show_run.exit_code({"outcome": "complete"}) == ExitCode.COMPLETE
    assert show_run.exit_code({"outcome": "complete", "committor": {"outcome": "complete"}}) == ExitCode.COMPLETE
    assert show_run.exit_code({"outcome": "complete", "committor": {"outcome": "not_judged"}}) == ExitCode.NOT_VALID
    assert show_run.exit_code({"outcome": "not_valid", "committor": {"outcome": "complete"}}) == ExitCode.NOT_VALID
