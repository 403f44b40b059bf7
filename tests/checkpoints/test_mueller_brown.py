"""The two trained networks of the Mueller-Brown surface on the golden grids, and paths on them."""

import json

import numpy as np
import pytest
import torch

from tpsctl.action.base import Dynamics
from tpsctl.action.truncated import TruncatedAction
from tpsctl.checkpoints.build import build
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.optimize.base import Convergence
from tpsctl.optimize.first_order import Adam
from tpsctl.score.base import AutogradScore

NEVER = Convergence(action_tolerance=0.0, gradient_tolerance_per_nm=0.0)
KT_PUBLISHED = 8.617330337217213e-05 * 700  # eV; ase's Boltzmann constant and the temperature of the published data


@pytest.fixture(scope="module")
def grid(golden_folder):
    arrays = np.load(golden_folder / "mb_neural" / "golden.npz")
    return {key: arrays[key] for key in arrays}


def prior_of(golden_folder, kind):
    return build(read_published(golden_folder / "mb_neural" / f"mb_{kind}_model.pt"))


def relative(found, expected):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_diffusion_noise_on_the_grid(golden_folder, grid):
    prior, y = prior_of(golden_folder, "diffusion"), torch.tensor(grid["grid_normalised"], dtype=torch.float32)
    for level in (0, 1, 2, 4, 8, 16, 64, 128, 255):
        found = prior.output.noise_estimate(y.unsqueeze(1), level / 256).squeeze(1)
        assert relative(found, grid[f"dm_eps_t{level}"]) < 1e-5
    prior.to(device="cpu", dtype=torch.float64)
    for level in (0, 4):
        found = prior.output.noise_estimate(y.double().unsqueeze(1), level / 256).squeeze(1)
        assert relative(found, grid[f"dm_eps_t{level}_f64"]) < 1e-12


def test_flow_velocity_on_the_grid(golden_folder, grid):
    prior, y = prior_of(golden_folder, "flowmatching"), torch.tensor(grid["grid_normalised"], dtype=torch.float32)
    for s in ("0.0", "0.5", "0.9", "0.95", "0.96", "0.99"):
        found = prior.field(y.unsqueeze(1), float(s)).squeeze(1)
        assert relative(found, grid[f"fm_vel_t{s}"]) < 1e-5


@pytest.mark.parametrize(("kind", "times"), [("diffusion", (1, 4, 16, 64)), ("flowmatching", (0.5, 0.9, 0.95, 0.99))])
def test_forces_on_the_grid(golden_folder, grid, kind, times):
    """Force = kT score; the published tables of the noise are float32 (1e-4 at the first levels)."""
    prior, y = prior_of(golden_folder, kind), torch.tensor(grid["grid_normalised"], dtype=torch.float32)
    x = prior.units.from_network(y.unsqueeze(1))
    for time in times:
        t = time / 256 if kind == "diffusion" else 1 - time
        found = KT_PUBLISHED * prior.at(t)(x).squeeze(1)
        expected = grid[f"dm_force_t{time}" if kind == "diffusion" else f"fm_force_t{time}"]
        assert relative(found, expected) < 2e-4


def test_the_schedule_is_the_published_one(golden_folder, grid):
    prior = prior_of(golden_folder, "diffusion")
    for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"):
        found = prior.schedule.tables[name].numpy()
        np.testing.assert_allclose(found, grid[f"dm_{name}"], rtol=3e-4)  # 1 - ac in float32 at the first levels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "paths"),
    [
        ("dm_Trunc_noencode", "diffusion", 1),
        ("fm_Trunc", "flowmatching", 1),
        pytest.param("dm_Trunc", "diffusion", 10, id="ten_paths_from_noised_ends"),
    ],
)
def test_om_end_values(golden_folder, grid, name, kind, paths, generator):
    """The published truncated action (mean over paths) after 1000 Adam steps, within 2 %.

    Starts: the straight line; for ten paths, the line between ends noised to the level of the score. In network units,
    with the score itself for the force (gamma = dt = 0.01, force in units of kT_published):
    sum |dy|^2/(2 dt) + dt F^2/(2 gamma^2), so D = 1/2 and s = 2 F/gamma as in test_golden_action.
    """
    prior = prior_of(golden_folder, kind)
    settings = json.loads((golden_folder / "mb_neural" / "log.json").read_text())[name]
    final = torch.tensor(grid[f"{name}_final_path_norm"]).double()
    dt = gamma = 0.01
    t, rate = (4 / 256, 0.2) if kind == "diffusion" else (0.1, 0.02)
    sigma = float(prior.schedule.sigma(torch.tensor(t, dtype=torch.float64)))
    prior.to(device="cpu", dtype=torch.float64)
    std = prior.units.scale
    score = AutogradScore(
        lambda y: -2 / gamma * KT_PUBLISHED * prior.output.noise_estimate(y, t) / sigma / std, conservative=False
    )
    action = TruncatedAction(score, Dynamics.uniform(dt_ps=dt, diffusion_nm2_per_ps=0.5, n_beads=1))
    ends = final[:paths, [0, -1]].unsqueeze(2)  # (path, end, bead, dim)
    noised = ends if paths == 1 else prior.sampler.mix(ends, torch.randn(ends.shape, generator=generator), t)
    along = torch.linspace(0, 1, final.shape[1]).view(1, -1, 1, 1)
    start = torch.lerp(noised[:, :1], noised[:, 1:], along)
    start[:, [0, -1]] = ends
    _, outcome = Adam(learning_rate_nm=rate, max_steps=1000, convergence=NEVER).minimize(action, start)
    assert float(outcome.terms.total.mean()) == pytest.approx(settings[1], rel=0.02)
