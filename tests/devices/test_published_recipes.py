"""The shipped BBA recipes on a pretended GPU: guess, optimization with its divergence, validation and resume.

The network has the published sizes (28 beads, width 96) and random weights in the published layout; paths, images and
steps are few.
"""

import argparse
import pickle
import shutil

import pytest
import torch

from tests.pretend_device import PretendedGPU
from tpsctl.action.divergence import HutchinsonDivergence
from tpsctl.checkpoints.layouts import two_for_one
from tpsctl.errors import ExitCode, Interrupted
from tpsctl.networks.graph_transformer.network import GraphTransformer, GraphTransformerSizes
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.levels import cosine_tables
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

BEADS, WIDTH, LEVELS = 28, 96, 1000
KINDS = ["diffusion", "flow"]
FEW = ["path.paths=2", "path.images=4", "path.guess.steps=2", "path.screen.max_draws=1", "optimize.max_steps=3"]
ATOM = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}{2:8.3f}{3:8.3f}  1.00  0.00           C\n"

PUBLISHED_NAMES = (
    ("decoder.", "node_decoder."),
    ("attention_norm.", "0.0.norm."),
    ("attention_gate.", "0.1."),
    ("attention.", "0.0.fn."),
    ("feed_forward_norm.", "1.0.norm."),
    ("feed_forward_gate.", "1.1."),
    ("widen.", "1.0.fn.0."),
    ("narrow.", "1.0.fn.2."),
)
"""Parts of tpsctl's names of weights, and of the published ones."""


def published_name(name):
    """The name of a weight in the published layout."""
    prefix, block, rest = "", "", name
    if name.startswith("blocks."):
        _, number, rest = name.split(".", 2)
        prefix, block = "graphtransformer.layers.", f"{number}."
    ours, published = next(((a, b) for a, b in PUBLISHED_NAMES if rest.startswith(a)), ("", ""))
    rest = published + rest.removeprefix(ours)
    return prefix + block + (rest.replace("1.proj.", "1.proj.0.") if block else rest)


@pytest.fixture
def recipe(root, tmp_path, request):
    """The shipped recipe of a kind beside its checkpoint and two helices of 28 residues."""
    kind, torch_seed = request.param, 5
    data = tmp_path / "bba"
    data.mkdir()
    torch.manual_seed(torch_seed)
    is_flow = kind == "flow"
    network = GraphTransformer(GraphTransformerSizes(BEADS, 0, WIDTH, 3, 8, 64, is_flow, not is_flow, is_flow, 1))
    weights = {f"ema_model.model.{published_name(name)}": w.float() for name, w in network.state_dict().items()}
    if not is_flow:
        weights |= {f"ema_model.{name}": table.float() for name, table in cosine_tables(LEVELS).items()}
    tail = "-flow" if is_flow else ""
    torch.save({"step": 1, "ema": weights}, data / f"model-best{tail}.pt")
    inputs = {"use_abs_coords": is_flow, "use_intrinsic_coords": not is_flow, "use_distances": is_flow}
    arguments = argparse.Namespace(mol="bba", scale_data=True, diffusion_steps=LEVELS, **inputs)
    (data / f"args{tail}.pickle").write_bytes(pickle.dumps(arguments))
    for name, turn_degrees in (("start", 100.0), ("end", 90.0)):
        angle = torch.arange(BEADS) * torch.pi / 180 * turn_degrees
        x = torch.stack([2.3 * angle.cos(), 2.3 * angle.sin(), 1.5 * torch.arange(BEADS)], dim=1)
        lines = [ATOM.format(i, *row) for i, row in enumerate(x.tolist(), start=1)]
        (data / f"{name}.pdb").write_text("".join(lines) + "TER\nEND\n")
    shutil.copy(root / "recipes" / "fast_folders" / f"bba_{kind}.yaml", tmp_path)
    return load_recipe(tmp_path / f"bba_{kind}.yaml", SampleRecipe, FEW)


def test_the_names_of_weights_are_those_that_the_layout_reads():
    names = set(GraphTransformer(GraphTransformerSizes(4, 0, 8, 2, 2, 4, False, True, False, 1)).state_dict())
    assert set(two_for_one.rename({published_name(name): torch.empty(0) for name in names})) == names


def run_on_gpu(recipe, out, **how):
    """Run the recipe on a pretended GPU that must find nothing wrong."""
    with PretendedGPU() as gpu:
        try:
            return run_recipe(recipe, RunSettings(out=out, device="cuda", threads=1, **how), Progress())
        finally:
            assert not gpu.mixes


def trajectories(folder):
    return [file.read_bytes() for file in sorted((folder / "paths").glob("*.dcd"))]


@pytest.mark.parametrize("recipe", KINDS, indirect=True)
def test_a_run_on_a_gpu_mixes_no_devices_and_goes_on_bit_by_bit(recipe, tmp_path):
    whole = run_on_gpu(recipe, tmp_path / "whole")
    assert [path["steps"] for path in whole["paths"]] == [3, 3]
    assert all(path["action"]["divergence"] != 0 for path in whole["paths"])
    assert whole["machines"][0]["gpu"] == "pretended GPU"
    assert len(trajectories(tmp_path / "whole")) == 2
    with pytest.raises(Interrupted) as stopped:
        run_on_gpu(recipe, tmp_path / "cut", max_hours=1e-9)  # is over after the first step
    assert stopped.value.exit_code == ExitCode.RESUMABLE
    run_on_gpu(recipe, tmp_path / "cut", resume=True)
    assert trajectories(tmp_path / "cut") == trajectories(tmp_path / "whole")


@pytest.mark.parametrize("recipe", KINDS[:1], indirect=True)
def test_probes_left_on_the_cpu_would_be_found(recipe, tmp_path, monkeypatch):
    """The fault that this test is for: random signs of the host, looked up with places on the device."""

    def on_the_host(self, x, index):
        return self._draw(int(index.max()) + 1, x)[index.to(x.device)].transpose(0, 1).to(x)

    monkeypatch.setattr(HutchinsonDivergence, "vectors", on_the_host)
    with pytest.raises(AssertionError, match="CUDA indices into a CPU tensor"):
        run_on_gpu(recipe, tmp_path / "out")
