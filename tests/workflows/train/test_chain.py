"""`tpsctl train` on a chain of beads: the network is chosen by itself, and its checkpoint serves the other commands."""

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.architectures import ARCHITECTURES
from tpsctl.checkpoints.build import build, load_prior
from tpsctl.checkpoints.native import load_model, read_card, save_model
from tpsctl.cli import app as cli
from tpsctl.errors import PriorError, RecipeError
from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.simulation.dataset import Dataset
from tpsctl.workflows.checkpoints import inspect
from tpsctl.workflows.train.results import tables_of

BEADS = 6
CHAIN = Topology(
    tuple(Atom("CA", "C", "GLY", i + 1, "A", 110.0) for i in range(BEADS)), tuple((i, i + 1) for i in range(BEADS - 1))
)
RECIPE = """\
version: 1
name: chain
seed: 3
data: {kind: dataset, dataset: data.npz, held_out: 1}
model: {kind: diffusion, levels: 8, hidden: 8, layers: 1, embedding: 3}
optimize: {steps: 12, batch: 16, linear_samples: 500}
output: {checkpoint: out/chain.safetensors}
"""
FILES = """\
version: 1
name: chain
seed: 3
data: {kind: trajectories, trajectories: [a.dcd, b.dcd], topology: chain.pdb, temperature_k: 300}
model: {kind: diffusion, levels: 3, hidden: 8, layers: 1, embedding: 3}
optimize: {steps: 12, batch: 16, linear_samples: 500}
output: {checkpoint: out/chain.safetensors}
"""

SAMPLE = """\
version: 1
name: chain-paths
seed: 1
endpoints: {start: {structure: start.pdb}, end: {structure: end.pdb}}
prior: {kind: checkpoint, checkpoint: chain.safetensors, diffusion_time: 0.05, accept_unfit: true}
path: {paths: 1, images: 6, guess: {kind: latent, level: 0.3, steps: 4}, screen: {max_draws: 1}}
action: {functional: truncated, dt_ps: 0.001, friction_per_ps: 1.0}
optimize:
  - {method: lbfgs, max_steps: 2}
  - {method: levenberg_marquardt, max_steps: 2}
output: {directory: run}
"""
ATOM = "ATOM  {:5d}  CA  GLY A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"


def frames(count):
    """Chains with bonds of 0.38 nm and random angles, nm, float32, and forces of harmonic bonds over kT."""
    g = torch.Generator().manual_seed(0)
    bonds = torch.nn.functional.normalize(torch.randn(count, BEADS - 1, 3, generator=g), dim=-1)
    bonds = bonds * (0.38 + 0.01 * torch.randn(count, BEADS - 1, 1, generator=g))
    return center(torch.cat((torch.zeros(count, 1, 3), bonds.cumsum(1)), 1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training that is done, and its card."""
    from .conftest import run_recipe

    folder = tmp_path_factory.mktemp("chain")
    x = frames(300).float()
    Dataset(
        topology=CHAIN,
        temperature_k=300.0,
        positions=x,
        forces=torch.zeros_like(x),
        energies=torch.zeros(300, dtype=torch.float64),
        bias_energies=torch.zeros(300, dtype=torch.float64),
        trajectories=torch.arange(300) // 100,
        times_ps=(torch.arange(300) % 100).double(),
        bias=None,
        settings={},
    ).save(folder / "data.npz")
    (folder / "train.yaml").write_text(RECIPE)
    torch.set_default_dtype(torch.float32)
    return folder, run_recipe(folder / "train.yaml", "data.use_forces=false")


@pytest.mark.parametrize("network", ["chain_energy", "transformer_energy"])
@pytest.mark.parametrize("kind", ["score_matching", "action_matching"])
def test_chains_learn_by_the_other_objectives_too(trained, tmp_path, network, kind):
    from .conftest import run_recipe

    shutil.copy(trained[0] / "data.npz", tmp_path)
    (tmp_path / "train.yaml").write_text(RECIPE.replace(", embedding: 3", f", network: {{kind: {network}}}"))
    torch.set_default_dtype(torch.float32)
    card = run_recipe(tmp_path / "train.yaml", f"model.kind={kind}", "optimize.steps=3", "data.use_forces=false")
    assert (card["network"]["name"], card["kind"]) == (network, kind)
    prior = load_prior(tmp_path / "out" / "chain.safetensors")
    assert torch.isfinite(prior.at(prior.time_of(0.05))(frames(2).float())).all()


def test_beads_get_a_chain_energy_and_its_defaults(trained):
    folder, card = trained
    assert card["network"]["name"] == "chain_energy"
    assert (card["network"]["gaussians"], card["smallest_width_nm"]) == (12, 0.01)
    assert card["schedule"] == {"name": "variance_exploding", "sigma_min": 0.01, "sigma_max": 3.0}
    assert card["data"]["forces_used"] is False
    assert tables_of(card)[0].rows == [], "the forces of these data are zero, so there are no torques to compare"
    assert {p.name for p in (folder / "out").iterdir()} == {"chain.safetensors", "chain_report"}


def test_the_checkpoint_serves_inspection_samples_and_latent_guesses(trained):
    file = trained[0] / "out" / "chain.safetensors"
    report = inspect(file)
    assert report["safe"]
    by_check = {test["check"]: test["passed"] for test in report["self_test"]}
    assert by_check["score against the slope of the energy"]
    assert by_check["change of the score when moved by 1 nm"]
    assert by_check["noise seen in pure noise"], "the fitted part alone knows the noise at the largest width"
    prior, generator = load_prior(file), torch.Generator().manual_seed(0)
    samples = prior.sample(100, generator, steps=60)
    bonds = samples.diff(dim=1).norm(dim=-1)
    assert float(bonds.mean()) == pytest.approx(0.38, abs=0.02), "the fitted part alone knows the bonds"
    noised = prior.noise(samples[:2].double(), 0.5, generator)
    assert torch.isfinite(prior.denoise(noised, 0.5, generator, steps=10)).all()


def test_a_saved_model_gives_identical_scores(trained, tmp_path):
    model = load_model(trained[0] / "out" / "chain.safetensors")
    save_model(tmp_path / "again.safetensors", model)
    x = frames(3).float()
    for t in (0.0, 0.5):
        assert torch.equal(build(model).at(t)(x), load_prior(tmp_path / "again.safetensors").at(t)(x))


@pytest.mark.parametrize(
    ("key", "value"),
    [("levels", 9), ("hidden", 9), ("gaussians", 7), ("layers", 2), ("embedding", 4), ("fitted", 1)],
)
def test_sizes_that_the_tensors_do_not_have_are_refused(trained, key, value):
    model = load_model(trained[0] / "out" / "chain.safetensors")
    model.description.sizes[key] = value
    with pytest.raises(PriorError, match="tensors do not fit the model card"):
        build(model)


def test_a_card_whose_beads_form_no_chain_is_refused(trained):
    model = load_model(trained[0] / "out" / "chain.safetensors")
    with pytest.raises(PriorError, match="form no chain of four beads"):
        ARCHITECTURES["chain_energy"].network(model, Topology(CHAIN.atoms, ((0, 1), (1, 2))))


def test_the_network_can_be_named(trained, run):
    folder = trained[0]
    card = run(folder / "train.yaml", "model.network.kind=internal_energy", out=folder / "other" / "x.safetensors")
    assert (card["network"]["name"], card["smallest_width_nm"]) == ("internal_energy", 0.00025)
    assert card["network"]["hidden"] == 8


def sampled(folder, checkpoint):
    """The outcome of `tpsctl sample` between two frames with a checkpoint, as its JSON answer."""
    shutil.copy(checkpoint, folder / "chain.safetensors")
    for name, frame in zip(("start", "end"), (10 * frames(2)).tolist(), strict=True):
        lines = [ATOM.format(i + 1, i + 1, *x) for i, x in enumerate(frame)]
        (folder / f"{name}.pdb").write_text("".join(lines) + "TER\nEND\n")
    (folder / "sample.yaml").write_text(SAMPLE)
    done = CliRunner().invoke(cli.app, ["sample", str(folder / "sample.yaml"), "--json"])
    assert done.exit_code in (0, 3), done.output
    assert (folder / "run" / "paths" / "path_0000.dcd").exists()
    return json.loads(done.stdout)


def test_paths_are_optimized_with_both_second_order_methods(trained, tmp_path):
    """The latent guess denoises with the chain energy, L-BFGS takes its gradient, and LM its closed-form Jacobian."""
    assert sampled(tmp_path, trained[0] / "out" / "chain.safetensors")["produced"] == 1


@pytest.mark.parametrize("pair_energy", ["true", "false"])
def test_a_graph_transformer_is_trained_and_serves_paths(trained, run, tmp_path, pair_energy):
    folder = trained[0]
    (folder / "transformer.yaml").write_text(RECIPE.replace(", embedding: 3", ""))
    network = f"model.network={{kind: transformer_energy, pair_energy: {pair_energy}, heads: 2, head_dim: 4}}"
    out = folder / f"transformer_{pair_energy}" / "x.safetensors"
    card = run(folder / "transformer.yaml", network, out=out)
    assert card["network"]["name"] == "transformer_energy"
    assert (card["network"]["heads"], card["network"]["hidden"]) == (2, 8)
    fitted = load_model(out).weights["pairs.coefficients"]
    assert bool(fitted.any()) == (pair_energy == "true")
    by_check = {test["check"]: test["passed"] for test in inspect(out)["self_test"]}
    assert by_check["score against the slope of the energy"]
    if pair_energy == "true":
        assert sampled(tmp_path, out)["produced"] == 1


def test_what_a_transformer_cannot_do_is_said(trained, run):
    recipe = trained[0] / "train.yaml"
    with pytest.raises(RecipeError, match=r"model\.embedding: a transformer energy has none"):
        run(recipe, "model.network={kind: transformer_energy}", out=trained[0] / "never" / "x.safetensors")


def test_trajectories_of_alpha_carbons_are_data_too(tmp_path, run):
    import mdtraj

    top = mdtraj.Topology()
    chain = top.add_chain()
    for i in range(BEADS):
        top.add_atom("CA", mdtraj.element.carbon, top.add_residue("GLY", chain, i + 1))
    x = frames(200).float().numpy()
    mdtraj.Trajectory(x[:1], top).save_pdb(str(tmp_path / "chain.pdb"))
    for name, part in (("a", x[:100]), ("b", x[100:])):
        mdtraj.Trajectory(part, top).save_dcd(str(tmp_path / f"{name}.dcd"))
    (tmp_path / "train.yaml").write_text(FILES)
    card = run(tmp_path / "train.yaml")
    assert card["network"]["name"] == "chain_energy"
    assert len(card["bonds"]) == BEADS - 1, "bonds of a chain of alpha carbons follow from their distances"
    assert read_card(tmp_path / "out" / "chain.safetensors")["data"]["training_frames"] == 100
