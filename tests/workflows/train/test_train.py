"""`tpsctl train` on a molecule of four atoms: files, refusals, interruptions, the user's own dynamics."""

import json
import signal

import mdtraj
import pytest
import torch
from safetensors.torch import load_file
from tpsctl.training.trainer import TrainingSettings
from typer.testing import CliRunner

from tpsctl.checkpoints.native import load_checkpoint, read_card
from tpsctl.cli import app as cli
from tpsctl.errors import DataError, Interrupted, OutputError, PriorError, RecipeError, StateError
from tpsctl.jobs.lease import Lease, leased
from tpsctl.progress import Progress
from tpsctl.recipe import train as models
from tpsctl.recipe.loader import load_recipe
from tpsctl.score.schedule import Flow, VarianceExploding, VariancePreserving
from tpsctl.simulation.dataset import Dataset
from tpsctl.workflows.train.molecule import Settings, make_schedule, show, train_recipe

RECIPE = """\
version: 1
name: peroxide
seed: 3
data: {{kind: dataset, dataset: data.npz, held_out: 1}}
model: {{{model}, levels: 2, hidden: 8, layers: 1, embedding: 3}}
optimize: {{steps: 12, batch: 16, linear_samples: 500}}
output: {{checkpoint: out/prior.safetensors, licence: CC-BY-4.0}}
"""
TOPOLOGY_PDB = """\
HETATM    1  H1  PER A   1       0.925   0.000  -0.380  1.00  0.00           H
HETATM    2  O1  PER A   1       0.000   0.000   0.000  1.00  0.00           O
HETATM    3  O2  PER A   1       0.000   0.000   1.500  1.00  0.00           O
HETATM    4  H2  PER A   1       0.000   0.925   1.880  1.00  0.00           H
{connections}END
"""
CONNECTIONS = "CONECT    1    2\nCONECT    2    1    3\nCONECT    3    2    4\nCONECT    4    3\n"


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch):
    """float32 by default, and the number of threads put back; but a coarse linear fit, which nothing here judges."""
    monkeypatch.setattr("tpsctl.training.linear_fit._DIRECTIONS", 1)
    monkeypatch.setattr("tpsctl.training.trainer._TABLE_SAMPLES", 200)
    monkeypatch.setattr("tpsctl.training.trainer._MOMENT_BATCHES", 1)
    monkeypatch.setattr("tpsctl.training.targets._CALIBRATION_SIZE", 50)
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe(tmp_path, peroxide):
    """A recipe file beside a data set of three trajectories."""
    x, scores = peroxide.frames(300)
    kt = 2.5
    numbers = torch.arange(300) // 100
    dataset = Dataset(
        topology=peroxide.topology,
        temperature_k=kt / 0.00831446261815324,
        positions=x.float(),
        forces=(kt * scores).float(),
        energies=kt * peroxide.energy(x),
        bias_energies=torch.zeros(300, dtype=torch.float64),
        trajectories=numbers,
        times_ps=(torch.arange(300) % 100).double(),
        bias=None,
        settings={"structure": "peroxide"},
    )
    dataset.save(tmp_path / "data.npz")
    path = tmp_path / "train.yaml"
    path.write_text(RECIPE.format(model="kind: diffusion"))
    return path


class Recorder(Progress):
    """Keeps what is said; raises a signal when told to."""

    def __init__(self, *, signal_at=None, number=signal.SIGTERM):
        self.said, self.signal_at, self.number, self.texts = [], signal_at, number, []

    def say(self, text):
        self.said.append(text)

    def task(self, name, total):
        from contextlib import contextmanager

        @contextmanager
        def task():
            def update(done, text):
                self.texts.append(f"{name} {done}/{total} {text}")
                if (name, done) == self.signal_at:
                    signal.raise_signal(self.number)

            yield update

        return task()


def run(recipe, *assignments, progress=None, **settings):
    loaded = load_recipe(recipe, models.TrainRecipe, assignments)
    return train_recipe(loaded, Settings(threads=1, **settings), progress or Recorder())


@pytest.mark.parametrize("model", ["kind: diffusion", "kind: flow_matching, uniform_time: 0.5"])
def test_a_recipe_becomes_a_checkpoint_with_a_full_card(recipe, tmp_path, model):
    recipe.write_text(RECIPE.format(model=model))
    progress = Recorder()
    card = run(recipe, progress=progress)
    file = tmp_path / "out" / "prior.safetensors"
    prior = load_checkpoint(file)
    assert card == read_card(file) | {"file": str(file)}
    assert prior.kind == model.split()[1].rstrip(",")
    assert (card["name"], card["licence"]) == ("peroxide", "CC-BY-4.0")
    assert card["data"]["forces_used"] is True
    assert (card["data"]["training_frames"], card["data"]["held_out_frames"]) == (200, 100)
    assert card["recipe"]["optimize"]["steps"] == 12
    assert card["recipe"]["data"]["dataset"] == "data.npz", "a card names no folders"
    assert len(card["inputs"]["data.dataset"]["sha256"]) == 64
    assert {"tpsctl", "torch", "python"} <= set(card["versions"])
    quality = card["metrics"]["held_out_torque_r2"]
    assert quality["reference"] == "physical forces"
    assert list(quality["by_width_nm"]) == ["0.00025", "0.0005", "0.001", "0.002", "0.004"]
    assert set(quality["by_width_nm"]["0.001"]) == {"A:PER1:O1-A:PER1:O2"}
    assert str(tmp_path) not in json.dumps(read_card(file))
    assert [p.name for p in file.parent.iterdir()] == [file.name], "nothing is left beside it"
    assert any(text.startswith("training 12/12 loss ") and "steps/s" in text for text in progress.texts)
    assert torch.isfinite(prior.sample(2, torch.Generator().manual_seed(0), steps=3)).all()


def test_what_is_there_already_is_not_trained_again(recipe):
    first = run(recipe)
    progress = Recorder()
    assert run(recipe, progress=progress) == first
    assert progress.texts == []
    assert "trained by this recipe already; nothing to do" in progress.said[0]


def test_another_recipe_does_not_replace_a_checkpoint_unless_told(recipe, tmp_path):
    run(recipe)
    before = (tmp_path / "out" / "prior.safetensors").read_bytes()
    with pytest.raises(RecipeError, match=r"(?s)another training is there.*recipe\.optimize\.steps: 12 there, 13 now"):
        run(recipe, "optimize.steps=13")
    assert (tmp_path / "out" / "prior.safetensors").read_bytes() == before
    assert run(recipe, "optimize.steps=13", overwrite=True)["recipe"]["optimize"]["steps"] == 13


def test_another_data_set_under_the_same_name_is_another_training(recipe, tmp_path):
    run(recipe)
    dataset = Dataset.load(tmp_path / "data.npz")
    dataset.take(torch.arange(299)).save(tmp_path / "data.npz")
    with pytest.raises(RecipeError, match=r"inputs\.data\.dataset\.sha256"):
        run(recipe)


def test_a_file_that_is_no_checkpoint_is_not_replaced(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prior.safetensors").write_text("my notes")
    with pytest.raises(PriorError, match="not a readable safetensors file"):
        run(recipe)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_an_interrupted_run_continues_bit_for_bit(recipe, tmp_path, number, code):
    unbroken = load_file(run(recipe, out=tmp_path / "unbroken.safetensors")["file"])
    progress = Recorder(signal_at=("training", 5), number=number)
    with pytest.raises(Interrupted, match="(?s)stopped after step 5, state saved.*Go on with: again") as stopped:
        run(recipe, progress=progress, command="again")
    assert stopped.value.exit_code == code
    assert not (tmp_path / "out" / "prior.safetensors").exists()
    resumed = Recorder()
    tensors = load_file(run(recipe, progress=resumed)["file"])
    assert resumed.said[1] == "going on after step 5 of 12"
    assert resumed.texts[0].startswith("training 6/12")
    for name, tensor in tensors.items():
        assert torch.equal(tensor, unbroken[name]), name


def test_the_linear_fit_is_not_done_twice(recipe):
    with pytest.raises(Interrupted):
        run(recipe, progress=Recorder(signal_at=("training", 1)))
    progress = Recorder()
    run(recipe, progress=progress)
    assert not any(text.startswith("linear fit") for text in progress.texts)


def test_an_interruption_in_the_linear_fit_leaves_no_state(recipe, tmp_path):
    progress = Recorder(signal_at=("linear fit", 1))
    with pytest.raises(Interrupted):
        run(recipe, progress=progress)
    assert not list(tmp_path.glob("out/*/*.safetensors"))
    run(recipe)


def test_unfinished_training_of_another_recipe_is_refused_unless_told(recipe):
    with pytest.raises(Interrupted):
        run(recipe, progress=Recorder(signal_at=("training", 3)))
    with pytest.raises(RecipeError, match=r"(?s)unfinished training of another recipe.*recipe\.seed: 3 there, 4 now"):
        run(recipe, "seed=4")
    assert run(recipe, "seed=4", overwrite=True)["recipe"]["seed"] == 4


def test_signals_work_as_usual_afterwards(recipe):
    before = signal.getsignal(signal.SIGINT)
    run(recipe)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_is_not_held_back(recipe):
    class Impatient(Recorder):
        def task(self, name, total):
            if name == "training":
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            return super().task(name, total)

    with pytest.raises(KeyboardInterrupt):
        run(recipe, progress=Impatient())


def test_a_time_limit_stops_in_time_and_any_number_of_parts_give_the_same(recipe, tmp_path):
    unbroken = load_file(run(recipe, out=tmp_path / "unbroken.safetensors")["file"])
    with pytest.raises(Interrupted):
        run(recipe, progress=Recorder(signal_at=("training", 8)))
    for _ in range(4):  # a limit that has passed stops it after every step
        with pytest.raises(Interrupted) as stopped:
            run(recipe, max_hours=0.0)
        assert stopped.value.exit_code == 75
    tensors = load_file(run(recipe)["file"])
    assert all(torch.equal(tensor, unbroken[name]) for name, tensor in tensors.items())


def test_resuming_needs_a_state(recipe):
    with pytest.raises(RecipeError, match="has no state. Leave --resume out"):
        run(recipe, resume=True)


def test_a_kill_behind_the_finished_checkpoint_leaves_nothing(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("tpsctl.jobs.unfinished.Unfinished.remove", lambda self: None)
    run(recipe)
    assert (tmp_path / "out" / "prior.safetensors.training").exists()
    run(recipe)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["prior.safetensors"]


def test_two_processes_do_not_train_one_model(recipe, tmp_path):
    with leased(Lease(tmp_path / "out" / "prior.safetensors.training" / "lease.json")):  # noqa: SIM117
        with pytest.raises(StateError, match="works on this already"):
            run(recipe)


def test_a_loss_that_is_no_number_stops_the_run(recipe, monkeypatch):
    from tpsctl.training.trainer import Trainer

    monkeypatch.setattr(Trainer, "run", lambda self: iter([(1, float("nan"))]))
    with pytest.raises(DataError, match=r"step 1: the loss is nan.*Lower optimize\.learning_rate"):
        run(recipe)


def test_a_full_disk_is_said_plainly(recipe, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match=r"training-00000001.safetensors: cannot be written \(No space left"):
        run(recipe)


def test_forces_can_be_left_out_and_still_judge(recipe):
    card = run(recipe, "data.use_forces=false")
    assert card["data"]["forces_used"] is False
    assert card["metrics"]["held_out_torque_r2"]["reference"] == "physical forces"


# --- the user's own dynamics ----------------------------------------------------------------------


@pytest.fixture
def own(recipe, tmp_path, peroxide):
    """The same recipe on three DCD files and a PDB file."""
    (tmp_path / "top.pdb").write_text(TOPOLOGY_PDB.format(connections=CONNECTIONS))
    topology = mdtraj.load(str(tmp_path / "top.pdb")).topology
    for n in range(3):
        x = peroxide.frames(100, seed=n)[0].numpy()
        mdtraj.Trajectory(x, topology).save_dcd(str(tmp_path / f"md_{n}.dcd"))
    section = (
        "{kind: trajectories, trajectories: [md_0.dcd, md_1.dcd, md_2.dcd], topology: top.pdb, temperature_k: 310}"
    )
    text = RECIPE.format(model="kind: diffusion").splitlines()
    recipe.write_text("\n".join([*text[:3], f"data: {section}", *text[4:]]))
    return recipe


def test_own_trajectories_are_learned_from_positions_alone(own, capsys):
    card = run(own)
    assert card["temperature_k"] == 310
    assert card["data"]["forces_used"] is False
    assert card["data"]["trajectories"] == ["md_0.dcd", "md_1.dcd", "md_2.dcd"]
    assert (card["data"]["training_frames"], card["data"]["held_out_frames"]) == (200, 100)
    assert card["metrics"]["held_out_torque_r2"]["reference"] == "denoising targets"
    show(card)
    printed = capsys.readouterr().out
    assert "PER1:O1" in printed
    assert "the noise of these targets keeps R^2 below 1" in printed
    assert "from positions alone" in printed


def test_stride_thins_the_frames(own):
    assert run(own, "data.stride=4")["data"]["training_frames"] == 50


@pytest.mark.parametrize(
    ("assignment", "error", "message"),
    [
        ("data.held_out=3", DataError, "cannot hold out 3 of 3 trajectories"),
        ("data.trajectories=[md_0.dcd]", RecipeError, "data.trajectories: .*at least 2"),
        ("data.trajectories=[md_0.dcd, none.dcd]", RecipeError, "data.trajectories.1: no such file"),
        ("data.select=name O1 or name O2", DataError, "2 atoms, 1 known bonds and none of them rotatable"),
        ("output.checkpoint=prior.pt", RecipeError, "expected a file that ends in .safetensors"),
        ("model.smallest_width_nm=2.0", RecipeError, "must be less than largest_width_nm"),
        ("model.scale_nm=0.3", RecipeError, "model.scale_nm: unknown key"),
        ("optimize.step=3", RecipeError, 'Did you mean "steps"'),
        ("data.use_forces=true", RecipeError, "data.use_forces: unknown key"),
    ],
)
def test_mistakes_have_their_message(own, tmp_path, monkeypatch, assignment, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(own, assignment)


def test_a_topology_without_bonds_is_explained(own, tmp_path):
    (tmp_path / "top.pdb").write_text(TOPOLOGY_PDB.format(connections=""))
    with pytest.raises(DataError, match="0 known bonds and none of them rotatable.*CONECT"):
        run(own)


# --- recipe and command line ----------------------------------------------------------------------


def test_defaults_are_those_of_the_trainer():
    trainer = TrainingSettings()
    for name, field in models.OptimizationSection.model_fields.items():
        assert field.default == getattr(trainer, name), name
    for name in ("smallest_width_nm", "largest_width_nm"):
        assert models.NetworkSection.model_fields[name].default == getattr(trainer, name)


def test_the_recipe_in_the_documentation_is_valid(root, tmp_path):
    text = (root / "docs" / "training.md").read_text().split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "train.yaml"
    path.write_text(text)
    assert load_recipe(path, models.TrainRecipe).data.kind == "trajectories"


@pytest.mark.parametrize(
    ("model", "schedule"),
    [
        ("kind: diffusion", VarianceExploding(0.00025, 1.0)),
        ("kind: diffusion, schedule: {kind: variance_preserving, scale_nm: 0.4}", VariancePreserving(0.4)),
        ("kind: flow_matching, scale_nm: 0.2", Flow(0.2)),
    ],
)
def test_every_schedule_can_be_named(recipe, model, schedule):
    recipe.write_text(RECIPE.format(model=model))
    assert make_schedule(load_recipe(recipe, models.TrainRecipe).model) == schedule


def test_the_command_prints_a_table_or_the_card(recipe):
    runner = CliRunner()
    result = runner.invoke(cli.app, ["train", str(recipe), "--threads", "1"])
    assert result.exit_code == 0
    assert "R^2 of held-out torques" in result.stdout
    again = runner.invoke(cli.app, ["train", str(recipe), "--json"])
    assert json.loads(again.stdout)["name"] == "peroxide"
    assert runner.invoke(cli.app, ["train", str(recipe), "--set", "seed=9"]).exit_code == 2
