"""`tpsctl train` on data sets of several molecules: one checkpoint serves all of them, and no other."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.build import build_from
from tpsctl.checkpoints.native import load_model, read_card, save_model
from tpsctl.checkpoints.stored_verdict import read_verdict
from tpsctl.cli import app as cli
from tpsctl.errors import DataError, PriorError, RecipeError
from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.train import TrainRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.loop import Loop
from tpsctl.workflows.checkpoints import inspect
from tpsctl.workflows.train.run import task_of

from .conftest import run_recipe

RECIPE = """\
version: 1
name: chains
seed: 3
data:
  kind: datasets
  datasets: [{dataset: short.npz}, {dataset: long.npz, name: the long one}]
  use_forces: false
model: {kind: diffusion, network: {kind: transformer_energy, heads: 2, head_dim: 4}, levels: 4, hidden: 8, layers: 2}
optimize: {steps: 12, batch: 16, linear_samples: 500}
output: {checkpoint: out/chains.safetensors}
"""
SAMPLE = """\
version: 1
name: chain-paths
seed: 1
endpoints: {start: {structure: start.pdb}, end: {structure: end.pdb}}
prior: {kind: checkpoint, checkpoint: out/chains.safetensors, diffusion_time: 0.05, accept_unfit: true}
path: {paths: 1, images: 6, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.001, friction_per_ps: 1.0}
optimize: {method: lbfgs, max_steps: 2}
output: {directory: run, trajectories: [pdb], figures: false}
"""
ATOM = "ATOM  {:5d}  CA  {:3s} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"


def chain_of(*residues):
    atoms = tuple(Atom("CA", "C", name, number + 1, "A", 110.0) for number, name in enumerate(residues))
    return Topology(atoms, tuple((i, i + 1) for i in range(len(residues) - 1)))


SHORT = chain_of("ALA", "GLY", "ALA", "PRO", "GLY")
LONG = chain_of("GLY", "PRO", "TRP", "ALA", "ALA", "GLY", "GLY")


def frames(topology, count=300):
    """Chains with bonds of 0.38 nm and random angles, nm, float32."""
    g = torch.Generator().manual_seed(topology.n_atoms)
    bonds = torch.nn.functional.normalize(torch.randn(count, topology.n_atoms - 1, 3, generator=g), dim=-1)
    bonds = bonds * (0.38 + 0.01 * torch.randn(count, topology.n_atoms - 1, 1, generator=g))
    return center(torch.cat((torch.zeros(count, 1, 3), bonds.cumsum(1)), 1)).float()


def write_dataset(file, topology, temperature_k=300.0):
    x = frames(topology)
    zeros = torch.zeros(len(x), dtype=torch.float64)
    numbers = torch.arange(len(x))
    Dataset(
        topology,
        temperature_k,
        x,
        torch.zeros_like(x),
        zeros,
        zeros,
        numbers // 100,
        (numbers % 100).double(),
        None,
        {},
    ).save(file)


def write_ends(folder, topology):
    for name, x in zip(("start", "end"), frames(topology, 2), strict=True):
        rows = [
            ATOM.format(i + 1, atom.residue_name, i + 1, *(10 * v for v in at.tolist()))
            for i, (atom, at) in enumerate(zip(topology.atoms, x, strict=True))
        ]
        (folder / f"{name}.pdb").write_text("".join(rows) + "END\n")


def write_all(folder):
    write_dataset(folder / "short.npz", SHORT)
    write_dataset(folder / "long.npz", LONG)
    (folder / "train.yaml").write_text(RECIPE)
    (folder / "sample.yaml").write_text(SAMPLE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training that is done, and its card."""
    folder = tmp_path_factory.mktemp("molecules")
    torch.set_default_dtype(torch.float32)
    write_all(folder)
    return folder, run_recipe(folder / "train.yaml")


def test_the_card_knows_all_molecules_and_a_verdict_on_each(trained):
    folder, card = trained
    assert card["network"]["name"] == "shared_transformer"
    assert card["bead_types"] == ["ALA:CA", "GLY:CA", "PRO:CA", "TRP:CA"]
    assert [(entry["name"], len(entry["atoms"])) for entry in card["molecules"]] == [("short", 5), ("the long one", 7)]
    for entry in card["molecules"]:
        assert entry["metrics"]["held_out_loss"] > 0
        assert entry["verdict"]["by_width"]
        assert entry["name"] in card["verdict"]["words"]
    assert {"log.csv", "sample_distributions_short.png", "sample_distributions_the long one.png"} <= {
        path.name for path in (folder / "out" / "chains_report").iterdir()
    }


def test_inspect_and_train_show_every_molecule(trained):
    folder, _ = trained
    runner = CliRunner(env={"COLUMNS": "250"})
    seen = runner.invoke(cli.app, ["inspect", str(folder / "out" / "chains.safetensors")])
    again = runner.invoke(cli.app, ["train", str(folder / "train.yaml")])
    assert seen.exit_code in (0, 3), seen.output
    assert again.exit_code in (0, 3), again.output
    assert "short 5 beads, the long one 7 beads" in seen.stdout
    assert "bead types: ALA:CA, GLY:CA, PRO:CA, TRP:CA" in again.stdout
    for text in (seen.stdout, again.stdout):
        assert "short: fitness for paths by noise width" in text
        assert "the long one: fitness for paths by noise width" in text
    report = inspect(folder / "out" / "chains.safetensors")
    passed = {test["check"]: test["passed"] for test in report["self_test"]}
    assert passed["short: noise seen in pure noise"]
    assert passed["the long one: score against the slope of the energy"]


def sample(folder, tmp_path):
    command = ["sample", str(folder / "sample.yaml"), "--threads", "1", "--device", "cpu"]
    return CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path / "run")])


@pytest.mark.parametrize("topology", [SHORT, LONG], ids=["short", "long"])
def test_sample_takes_the_molecule_of_the_ends(trained, topology, tmp_path):
    folder, _ = trained
    write_ends(folder, topology)
    command = [
        "sample",
        str(folder / "sample.yaml"),
        "--threads",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code in (0, 3), result.output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["paths"][0]["action"]["drift"] > 0


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (chain_of("ALA", "HIS", "ALA", "PRO", "GLY"), "beads of types that this checkpoint does not know: HIS:CA"),
        (chain_of("ALA", "ALA", "ALA", "PRO", "GLY"), "no molecule that this checkpoint was trained on"),
    ],
    ids=["unknown type", "unknown molecule"],
)
def test_another_molecule_is_refused(trained, topology, message, tmp_path):
    folder, _ = trained
    write_ends(folder, topology)
    command = [
        "sample",
        str(folder / "sample.yaml"),
        "--threads",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 1, result.output
    assert message in " ".join(result.output.split())
    assert "short (5 beads); the long one (7 beads)" in " ".join(result.output.split())


def test_the_verdict_is_that_on_the_molecule(trained, tmp_path):
    model = load_model(trained[0] / "out" / "chains.safetensors")
    verdicts = [{"fit_for_paths": fit, "words": f"fit: {fit}"} for fit in (True, False)]
    for entry, verdict in zip(model.description.facts["molecules"], verdicts, strict=True):
        entry["verdict"] = verdict
    file = tmp_path / "judged.safetensors"
    save_model(file, model)
    assert read_verdict(file, SHORT).is_fit is True
    assert read_verdict(file, LONG).words == "fit: False"
    assert read_verdict(file).words == read_card(file)["verdict"]["words"]


def test_a_reordered_molecule_is_the_same_one(trained):
    file = trained[0] / "out" / "chains.safetensors"
    model = load_model(file)
    turned = LONG.select(reversed(range(LONG.n_atoms)))
    assert build_from(file, model, turned).n_beads == 7
    assert build_from(file, model).n_beads == 5, "without a molecule, the first one"


def test_a_saved_model_gives_identical_scores(trained, tmp_path):
    file = trained[0] / "out" / "chains.safetensors"
    save_model(tmp_path / "again.safetensors", load_model(file))
    x = frames(LONG, 3)
    one, two = (build_from(path, load_model(path), LONG).at(0.3)(x) for path in (file, tmp_path / "again.safetensors"))
    assert torch.equal(one, two)
    assert float(one.abs().max()) > 0


def fewer_beads(about):
    return replace(about, molecules=(about.molecules[0].select(range(4)), about.molecules[1]))


def without_a_name(about):
    return replace(about, facts={**about.facts, "molecules": [{"data": {}}, *about.facts["molecules"][1:]]})


def far_too_wide(about):
    return replace(about, sizes={**about.sizes, "hidden": 1 << 16})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (fewer_beads, "tensors do not fit the model card"),
        (without_a_name, "incomplete or damaged"),
        (far_too_wide, "tensors do not fit the model card"),
    ],
)
def test_a_damaged_card_is_refused(trained, damage, message, tmp_path):
    model = load_model(trained[0] / "out" / "chains.safetensors")
    file = tmp_path / "damaged.safetensors"
    save_model(file, replace(model, description=damage(model.description)))
    with pytest.raises(PriorError, match=message):
        build_from(file, load_model(file))


def test_a_training_that_is_stopped_goes_on_to_the_same_model(trained):
    """Step by step through store and restore, against the unbroken run."""
    recipe = load_recipe(trained[0] / "train.yaml", TrainRecipe)

    def new_loop():
        task = task_of(recipe)
        return Loop(task.objective(task.load()), task.loop_settings())

    first = new_loop()
    list(first.prepare())
    list(first.steps(until=5))
    second = new_loop()
    second.restore(first.store())
    list(second.steps())
    weights = load_model(trained[0] / "out" / "chains.safetensors").weights
    for name, value in second.averaged_network().state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.network={kind: chain_energy}", "model.network.kind: got chain_energy, which is for one molecule"),
        ("data.datasets.1.name=short", "two data sets have the same name"),
        ("data.datasets=[{dataset: short.npz}]", "datasets"),
    ],
)
def test_recipes_that_cannot_be_are_refused(trained, change, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(trained[0] / "train.yaml", TrainRecipe, [change])


def test_a_batch_with_less_than_two_structures_each_is_refused(trained, tmp_path):
    with pytest.raises(RecipeError, match="optimize.batch: got 3, expected at least 4"):
        run_recipe(trained[0] / "train.yaml", "optimize.batch=3", f"output.checkpoint={tmp_path / 'a.safetensors'}")


@pytest.mark.parametrize(
    ("topology", "temperature_k", "message"),
    [(LONG, 310.0, "different temperatures: short 300 K, the long one 310 K"), (SHORT, 300.0, "have the same beads")],
)
def test_data_that_do_not_go_together_are_refused(topology, temperature_k, message, tmp_path):
    write_all(tmp_path)
    write_dataset(tmp_path / "long.npz", topology, temperature_k)
    with pytest.raises(DataError, match=message):
        run_recipe(tmp_path / "train.yaml")
