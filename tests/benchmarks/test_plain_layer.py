"""The yardstick itself: the plain layer gives the published code's numbers, and tpsctl's step is the same step."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.plain_layer import plain_noise, plain_step
from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import noise_prior
from tpsctl.score.levels import Levels, cosine_tables

FILES = {"chignolin_diff": "model-best.pt", "chignolin_flow": "model-best-flow.pt"}


@pytest.fixture(params=FILES)
def golden_case(request, root):
    folder = Path(os.environ.get("TPSCTL_SHARED", root.parent / "shared")) / "golden" / request.param
    if not folder.is_dir():
        pytest.skip(f"no golden data in {folder}: set TPSCTL_SHARED to the folder that holds golden/")
    model = read_published(folder / FILES[request.param])
    network = GraphTransformer(GraphTransformerSizes.from_dict(model.description.sizes)).double()
    network.load_state_dict(model.weights)
    return network, np.load(folder / "golden.npz"), json.loads((folder / "meta.json").read_text()), request.param


def relative(found, expected):
    return float((found - torch.as_tensor(expected)).abs().max() / np.abs(expected).max())


def test_plain_network_gives_the_published_numbers(golden_case):
    network, arrays, _, _ = golden_case
    x = (torch.tensor(arrays["x_angstrom"]) / float(arrays["norm_factor"])).requires_grad_(True)
    for t in ("0.02", "0.5", "0.95"):
        assert relative(plain_noise(network, x, float(t)).detach(), arrays[f"model_t{t}_f64"]) < 1e-12


def test_plain_step_gives_the_published_gradient(golden_case):
    """The published sum with its own forces: D = 1/2 for every bead in the kinetic term, kT/(m gamma) in the drift."""
    network, arrays, meta, name = golden_case
    if name != "chignolin_diff":
        pytest.skip("a step of the diffusion model")
    length = float(arrays["norm_factor"])
    kt, time = 0.83144626181 * meta["temp_K"] / length**2, meta["paper_latent_time"] / 1000
    path = (torch.tensor(arrays["path_angstrom"]) / length).requires_grad_(True)
    sigma = float(cosine_tables(1000, dtype=torch.float32)["sqrt_one_minus_alphas_cumprod"][20])
    x = path[:, :-1].flatten(0, 1)
    force = -kt / sigma * plain_noise(network, x, time)
    drift = (force.square() * meta["dt"] / (2 * torch.tensor(arrays["masses"]).double().unsqueeze(-1) ** 2)).sum()
    action = (path.diff(dim=1).square() / (2 * meta["dt"])).sum() + drift
    (gradient,) = torch.autograd.grad(action, path)
    assert relative(gradient, arrays["trunc_grad_f64"]) < 1e-6  # the noise table of the files is single precision


def test_step_of_tpsctl_is_the_plain_step():
    sizes = GraphTransformerSizes(6, 0, 16, 3, 4, 8, False, True, False, 1)
    network = GraphTransformer(sizes).double()
    field = GraphTransformerField(network, Beads(torch.arange(6)))
    prior = noise_prior(field, Levels(cosine_tables(1000)), scale_nm=(0.4,))
    motion = Dynamics(0.01, torch.linspace(0.5, 1.5, 6))
    path, t = 0.4 * torch.randn(7, 6, 3), 0.02
    sigma = float(prior.schedule.sigma(torch.tensor(t)))
    terms, gradient = TruncatedAction(prior.at(t), motion).value_and_gradient(path.unsqueeze(0))
    action, expected = plain_step(network, path, motion, time=t, sigma=sigma, scale_nm=0.4)
    torch.testing.assert_close(terms.total[0], action)
    torch.testing.assert_close(gradient[0], expected, rtol=1e-9, atol=1e-9)
