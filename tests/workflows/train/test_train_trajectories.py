"""`tpsctl train` on the user's own dynamics: three DCD files and a PDB file of a molecule of four atoms."""

import mdtraj
import numpy as np
import pytest
import torch

from tpsctl.errors import DataError, RecipeError
from tpsctl.recipe import train as sections
from tpsctl.recipe.loader import load_recipe
from tpsctl.units import thermal_energy
from tpsctl.workflows.train.frames import about, load_frames
from tpsctl.workflows.train.results import tables_of

TOPOLOGY_PDB = """\
HETATM    1  H1  PER A   1       0.925   0.000  -0.380  1.00  0.00           H
HETATM    2  O1  PER A   1       0.000   0.000   0.000  1.00  0.00           O
HETATM    3  O2  PER A   1       0.000   0.000   1.500  1.00  0.00           O
HETATM    4  H2  PER A   1       0.000   0.925   1.880  1.00  0.00           H
{connections}END
"""
CONNECTIONS = "CONECT    1    2\nCONECT    2    1    3\nCONECT    3    2    4\nCONECT    4    3\n"
DATA = "{kind: trajectories, trajectories: [md_0.dcd, md_1.dcd, md_2.dcd], topology: top.pdb, temperature_k: 310}"


@pytest.fixture
def own(recipe, tmp_path, peroxide):
    """The recipe, on trajectories instead of a data set."""
    (tmp_path / "top.pdb").write_text(TOPOLOGY_PDB.format(connections=CONNECTIONS))
    topology = mdtraj.load(str(tmp_path / "top.pdb")).topology
    for n in range(3):
        x = peroxide.frames(100, seed=n)[0].numpy()
        mdtraj.Trajectory(x, topology).save_dcd(str(tmp_path / f"md_{n}.dcd"))
    lines = recipe.read_text().splitlines()
    recipe.write_text("\n".join([*lines[:3], f"data: {DATA}", *lines[4:]]))
    return recipe


def test_own_trajectories_are_learned_from_positions_alone(own, run):
    card = run(own)
    assert card["temperature_k"] == 310
    assert card["data"]["forces_used"] is False
    assert card["data"]["trajectories"] == ["md_0.dcd", "md_1.dcd", "md_2.dcd"]
    assert (card["data"]["training_frames"], card["data"]["held_out_frames"]) == (200, 100)
    assert card["metrics"]["held_out_torque_r2"]["reference"] == "denoising targets"
    table = tables_of(card)[0]
    assert [row[0] for row in table.rows] == ["A:PER1:O1-A:PER1:O2"]
    assert table.columns == ["bond", "0.005 nm", "0.01 nm", "0.025 nm", "0.1 nm"]
    assert "the noise of these targets keeps R^2 below 1" in table.notes[0]
    assert table.notes[1:] == ["diffusion, 200 frames, from positions alone", f"checkpoint: {card['file']}"]


def test_stride_thins_the_frames(own, run):
    assert run(own, "data.stride=4")["data"]["training_frames"] == 50


def test_a_known_bias_and_blocks_of_one_trajectory(own, tmp_path):
    """Frames are weighted by exp(V / kT), and the same number of values and frames stays after the stride."""
    bias = np.linspace(0, 5, 100)
    np.save(tmp_path / "bias.npy", bias)
    recipe = load_recipe(
        own,
        sections.TrainRecipe,
        [
            f"data.trajectories=[{tmp_path}/md_0.dcd]",
            f"data.reweighting={{kind: bias, files: [{tmp_path}/bias.npy]}}",
            "data.split={kind: block, blocks: 5}",
            "data.stride=2",
        ],
    )
    frames = load_frames(recipe.data, seed=3)
    assert (len(frames.training.positions), len(frames.held_out)) == (40, 10)
    assert frames.facts["split"] == "by block"
    kt = thermal_energy(310)
    found = torch.cat((frames.training.bias.log_weights, frames.held_out_bias.log_weights)) * kt
    spread = found[:40].max() - found[:40].min()
    assert 3.5 < float(spread) <= 5.0
    weights = torch.softmax(frames.training.bias.log_weights, 0)
    assert frames.facts["effective_frames"] == pytest.approx(float(1 / weights.square().sum()), abs=0.1)


def test_weights_reach_the_training(own, run, tmp_path):
    """Half of the frames of every trajectory count a thousandth: about 100 of 200 are effective."""
    for n in range(3):
        np.save(tmp_path / f"w{n}.npy", np.where(np.arange(100) < 50, 1.0, 1e-3))
    files = ", ".join(f"w{n}.npy" for n in range(3))
    own.write_text(
        own.read_text().replace(
            "temperature_k: 310", f"temperature_k: 310, reweighting: {{kind: weights, files: [{files}]}}"
        )
    )
    card = run(own)
    assert card["data"]["bias_corrected"] is True
    assert card["data"]["effective_frames"] == pytest.approx(100.2, abs=0.5)


def test_more_frames_than_allowed_are_thinned_and_this_is_said(own, tmp_path):
    recipe = load_recipe(own, sections.TrainRecipe, ["data.most_frames=100"])
    frames = load_frames(recipe.data, seed=3)
    assert frames.facts["thinned_to_stride"] == 4
    assert len(frames.training.positions) + len(frames.held_out) == 75
    assert "thinned to every 4th frame" in about(frames)


@pytest.mark.parametrize(
    ("assignment", "error", "message"),
    [
        ("data.held_out=3", DataError, "cannot hold out 3 of 3 trajectories"),
        ("data.trajectories=[md_0.dcd]", DataError, "cannot hold out 1 of 1 trajectories.*split: {kind: block}"),
        ("data.trajectories=[md_0.dcd, none.dcd]", RecipeError, "data.trajectories.1: no such file"),
        ("data.select=name O1 or name O2", DataError, "2 atoms, 1 known bonds and none of them rotatable"),
        ("output.checkpoint=prior.pt", RecipeError, "expected a file that ends in .safetensors"),
        ("model.smallest_width_nm=2.0", RecipeError, "must be less than largest_width_nm"),
        ("model.scale_nm=0.3", RecipeError, "model.scale_nm: unknown key"),
        ("optimize.step=3", RecipeError, 'Did you mean "steps"'),
        ("data.use_forces=true", RecipeError, "data.use_forces: unknown key"),
    ],
)
def test_mistakes_have_their_message(own, run, tmp_path, monkeypatch, assignment, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(own, assignment)


def test_a_topology_without_bonds_is_explained(own, run, tmp_path):
    apart = TOPOLOGY_PDB.format(connections="").replace("0.925", "9.250").replace("1.500", "15.00")
    (tmp_path / "top.pdb").write_text(apart)  # so far apart that no bonds are found by distance either
    with pytest.raises(DataError, match="0 known bonds and none of them rotatable.*CONECT"):
        run(own)


def test_the_recipe_in_the_documentation_is_valid(root, tmp_path):
    text = (root / "docs" / "training.md").read_text().split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "train.yaml"
    path.write_text(text)
    assert load_recipe(path, sections.TrainRecipe).data.kind == "trajectories"
