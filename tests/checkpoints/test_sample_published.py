"""`tpsctl sample`, `inspect` and `convert` on published files, as a user runs them."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli

CHIGNOLIN = "TYR TYR ASP PRO GLU THR GLY THR TRP TYR".split()
ATOM = "ATOM  {:5d}  CA  {} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"


def tpsctl(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(golden_folder, tmp_path):
    """The recipe as shipped, the checkpoint, and two real structures of chignolin."""
    golden, data = golden_folder / "chignolin_diff", tmp_path / "chignolin"
    data.mkdir()
    for name in ("model-best.pt", "args.pickle"):
        shutil.copy(golden / name, data)
    arrays = np.load(golden / "golden.npz")
    for name, key in (("start", "endpoint1_angstrom"), ("end", "endpoint2_angstrom")):
        lines = [ATOM.format(i + 1, CHIGNOLIN[i], i + 1, *x) for i, x in enumerate(arrays[key][0])]
        (data / f"{name}.pdb").write_text("".join(lines) + "TER\nEND\n")
    return tmp_path


SHORT = ("path.paths=2", "path.images=8", "path.guess.steps=4", "path.screen.max_draws=1", "optimize.max_steps=3")


def test_the_shipped_recipe_runs_on_the_published_layout(folder, root):
    import MDAnalysis
    import mdtraj

    shutil.copy(root / "recipes" / "fast_folders" / "chignolin_diffusion.yaml", folder)
    changes = [part for change in SHORT for part in ("--set", change)]
    out = folder / "run"
    done = tpsctl("sample", folder / "chignolin_diffusion.yaml", "--out", out, "--json", *changes)
    assert done.exit_code == 3, done.output  # the weights are random: honest about it, and the files are there
    found = json.loads(done.stdout)
    assert (found["outcome"], found["produced"], found["valid"], found["converged"]) == ("not_valid", 2, 0, 0)
    start = mdtraj.load(str(folder / "chignolin" / "start.pdb"))
    for path in ("path_0000", "path_0001"):
        dcd = mdtraj.load(str(out / "paths" / f"{path}.dcd"), top=str(out / "topology.pdb"))
        assert dcd.xyz.shape == (8, 10, 3)
        assert mdtraj.rmsd(dcd[:1], start)[0] < 1e-3  # nm; PDB keeps 1e-4
        pdb = mdtraj.load(str(out / "paths" / f"{path}.pdb"))
        np.testing.assert_allclose(pdb.xyz, dcd.xyz, atol=1e-4)  # nm; PDB keeps 1e-4
        for suffix in ("pdb", "dcd"):
            universe = MDAnalysis.Universe(str(out / "topology.pdb"), str(out / "paths" / f"{path}.{suffix}"))
            assert len(universe.trajectory) == 8
            assert list(universe.residues.resnames) == CHIGNOLIN
            frames = np.stack([frame.positions.copy() for frame in universe.trajectory])
            np.testing.assert_allclose(frames / 10, dcd.xyz, atol=1e-4)


def test_the_arguments_beside_a_checkpoint_are_inputs_of_the_run(folder, root):
    from tpsctl.recipe.loader import load_recipe
    from tpsctl.recipe.sample import SampleRecipe
    from tpsctl.workflows.sample.identity import identify

    path = folder / "chignolin_diffusion.yaml"
    shutil.copy(root / "recipes" / "fast_folders" / path.name, path)
    before = identify(load_recipe(path, SampleRecipe))
    assert before["inputs"]["prior.checkpoint: args.pickle"]["file"] == str(folder / "chignolin" / "args.pickle")
    arguments = folder / "chignolin" / "args.pickle"
    arguments.write_bytes(arguments.read_bytes() + b"x")
    after = identify(load_recipe(path, SampleRecipe))
    assert after["digest"] != before["digest"]
    assert after["inputs"]["prior.checkpoint"] == before["inputs"]["prior.checkpoint"]


def test_a_missing_checkpoint_is_named_with_what_to_do(folder, root):
    shutil.copy(root / "recipes" / "fast_folders" / "chignolin_flow.yaml", folder)
    done = tpsctl("sample", folder / "chignolin_flow.yaml")
    assert done.exit_code == 2
    assert "prior.checkpoint: no such file" in done.output
    assert "--set prior.checkpoint=FILE" in done.output


def test_missing_arguments_are_named(folder):
    (folder / "chignolin" / "args.pickle").unlink()
    done = tpsctl("inspect", folder / "chignolin")
    assert done.exit_code == 1
    assert "needs its arguments, args.pickle, in the same folder" in done.output


def test_the_wrong_number_of_beads_is_named(folder, root):
    shutil.copy(root / "recipes" / "fast_folders" / "chignolin_diffusion.yaml", folder)
    recipe, few = folder / "chignolin_diffusion.yaml", "endpoints.select=resid 0 to 7"
    done = tpsctl("sample", recipe, "--out", folder / "run", "--set", few)
    assert done.exit_code == 1
    assert "is for 10 beads in 3 dimensions, the ends have 8" in done.output


def test_inspect_sees_random_weights(folder):
    done = tpsctl("inspect", folder / "chignolin", "--json")
    assert done.exit_code == 3
    report = json.loads(done.stdout)
    assert report["safe"]
    assert (report["kind"], report["beads"], report["parameters"]) == ("diffusion", 10, 600129)
    assert report["temperature_k"] == 340
    assert {test["check"]: test["passed"] for test in report["self_test"]} == {
        "finite score": True,
        "change of the score when moved by 1 nm": True,
        "score against the slope of the energy": True,
        "noise seen in pure noise": False,
    }


@pytest.mark.parametrize("kind", ["diffusion", "flowmatching"])
def test_inspect_finds_the_trained_networks_sound(golden_folder, kind):
    done = tpsctl("inspect", golden_folder / "mb_neural" / f"mb_{kind}_model.pt")
    assert done.exit_code == 0, done.output
    assert "self-test: sound" in done.output


def test_inspect_lists_dangerous_names_and_loads_nothing(tmp_path, monkeypatch):
    import os

    import torch

    class Call:
        def __reduce__(self):
            return os.system, ("touch ran",)

    monkeypatch.chdir(tmp_path)
    torch.save({"ema": Call()}, "evil.pt")
    done = tpsctl("inspect", "evil.pt", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["dangerous_names"] == ["posix.system"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["chignolin_diff", "chignolin_flow", "tetra_flow", "mb_neural/mb_diffusion_model.pt"])
def test_converted_files_give_identical_scores(golden_folder, tmp_path, name):
    done = tpsctl("convert", golden_folder / name, tmp_path / "native.safetensors", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["scores_differing"] == 0
    native = json.loads(tpsctl("inspect", tmp_path / "native.safetensors", "--json").stdout)
    assert native["provenance"]["sha256"] == json.loads(done.stdout)["source_sha256"]
    again = tpsctl("convert", golden_folder / name, tmp_path / "native.safetensors")
    assert again.exit_code == 1
    assert "exists already" in again.output


def test_a_described_state_dict_is_the_same_model(golden_folder, tmp_path):
    """The weights alone, with a YAML description instead of args.pickle."""
    import torch

    from tpsctl.workflows.checkpoints import open_prior

    content = torch.load(golden_folder / "chignolin_flow" / "model-best-flow.pt", weights_only=True)
    torch.save(content["ema"], tmp_path / "weights.pt")
    (tmp_path / "model.yaml").write_text(
        "weights: weights.pt\nprefix: ema_model.model.\nkind: flow_matching\n"
        "length_angstrom: 3.113133430480957\ntemperature_k: 340\n"
        "graph_transformer: {use_intrinsic_coords: false, use_abs_coords: true, use_distances: true}\n"
    )
    x = torch.randn(2, 10, 3, dtype=torch.float32)
    expected = open_prior(golden_folder / "chignolin_flow")
    assert torch.equal(open_prior(tmp_path / "model.yaml").at(0.05)(x), expected.at(0.05)(x))
    text = (tmp_path / "model.yaml").read_text().replace("length_angstrom", "lenght_angstrom")
    (tmp_path / "model.yaml").write_text(text)
    done = tpsctl("inspect", tmp_path / "model.yaml")
    assert done.exit_code == 2
    assert 'model.yaml:4: lenght_angstrom: unknown key. Did you mean "length_angstrom"?' in done.output
