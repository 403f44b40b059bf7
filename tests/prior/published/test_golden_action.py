"""Actions and optimizer trajectories of the published code, from tpsctl's own action and optimizers.

The published sum is 2 D S of ours, one D for the kinetic term of every bead but D_a = kT/(m_a gamma) in the drift
term. With D = 1/2 for every bead, our S is that sum if the score is given as F_a / (m_a gamma D): `PublishedScore`.
Everything is in the published units: network lengths, ps, forces in amu/ps^2 times a network length.
"""

import numpy as np
import pytest
import torch

from tpsctl.action.base import Dynamics
from tpsctl.action.divergence import ExactDivergence
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.truncated import TruncatedAction
from tpsctl.optimize.base import Convergence
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.score import AutogradScore

PRECISIONS = [torch.float64, torch.float32]
D = 0.5
NEVER = Convergence(action_tolerance=0.0, gradient_tolerance_per_nm=0.0)


def relative(found, expected):
    found, expected = (np.asarray(v, dtype=np.float64) for v in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def force_fn(case, prior, length, t, kt=None):
    """F at positions in network lengths; not symmetric where networks see positions (derivative at centered x)."""
    scale, kt = float(prior._scale), kt or case.kt(length)
    return lambda x: kt * scale * prior._score(x * scale, t)


def real_beads(case):
    return torch.tensor(case.arrays["z"] != 0) if "z" in case.arrays else torch.ones(case.meta["N"]).bool()


def published_action(case, prior, length, t, dtype, kt=None):
    real = real_beads(case)
    weight = (real / torch.tensor(case.arrays["masses"]).double()).to(dtype).unsqueeze(-1) / D
    force = force_fn(case, prior, length, t, kt)
    score = AutogradScore(lambda x: weight * force(x), conservative=False)
    diffusion = torch.where(real, D, 1e30)  # padding has no kinetic term
    return TruncatedAction(score, Dynamics(case.meta["dt"], diffusion.double()))


def paper_time(case):
    return case.time(case.meta["paper_latent_time"])


def compare(case, name, found, dtype, exact):
    expected = case.get(name, dtype)
    limit = exact if dtype is torch.float64 else 2e-5
    if dtype is torch.float32 and case.get(name, torch.float64) is not None:
        limit = max(limit, 2 * relative(expected, case.get(name, torch.float64)))
    assert relative(found, expected) <= limit, (case.name, name, relative(found, expected), limit)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_truncated_terms_and_gradients(case, dtype):
    prior = case.prior(dtype)
    for length, tag in case.lengths():
        path = torch.tensor(case.arrays["path_angstrom"], dtype=dtype) / length
        action = published_action(case, prior, length, paper_time(case), dtype)
        terms, gradient = action.value_and_gradient(path)
        found = torch.stack([terms.kinetic.sum(), terms.drift.sum(), terms.divergence.sum()])
        compare(case, f"trunc_terms{tag}", found, dtype, 2e-12)
        expected = case.get(f"trunc_grad{tag}", dtype)[:, 1:-1]
        exact = dtype is torch.float64
        # float32: second derivatives of the networks that work in Angstrom are good to three digits, theirs or ours
        assert relative(gradient[:, 1:-1], expected) < (4e-12 if exact else 2e-3)
        kinetic = path.diff(dim=1) / case.meta["dt"] * real_beads(case).unsqueeze(-1)
        kinetic = kinetic[:, :-1] - kinetic[:, 1:]
        path_part = case.get(f"path_term_grad{tag}", dtype)[:, 1:-1]
        assert relative(kinetic, path_part) < (1e-12 if exact else 2e-5)
        score, vjp = action.score.with_vjp(path[:, :-1].flatten(0, 1))
        force_part = vjp(case.meta["dt"] * D / 2 * score).view_as(path[:, :-1])
        assert relative(force_part, case.get(f"force_term_grad{tag}", dtype)[:, :-1]) < (4e-12 if exact else 2e-3)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_forces_along_a_path(case, dtype):
    prior = case.prior(dtype)
    for length, tag in case.lengths():
        path = torch.tensor(case.arrays["path_angstrom"], dtype=dtype) / length
        x = path[:, :-1].flatten(0, 1)
        found = force_fn(case, prior, length, paper_time(case))(x).view_as(path[:, :-1])
        compare(case, f"path_forces{tag}", found, dtype, 2e-12)


def optimizer_action(case):
    """The action as the published optimizer saw it: for flows, its time and its kT/sigma were rounded to float32."""
    prior, length = case.prior(torch.float64), case.lengths()[0][0]
    t, kt = paper_time(case), case.kt(length)
    if "flow" in case.name:
        t = 1 - float(np.float32(1) - np.float32(case.meta["paper_latent_time"]) / np.float32(10))
        kt = float(np.float32(kt / t)) * t
    return published_action(case, prior, length, t, torch.float64, kt)


def make_optimizer(method, steps):
    if method == "adam":
        return Adam(learning_rate_nm=0.2, max_steps=steps, convergence=NEVER)
    return SGD(learning_rate_nm2=1e-5, momentum=0.9, max_steps=steps, convergence=NEVER)


@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_actions_and_gradients_at_every_state_of_the_optimizers(case, method):
    if f"opt_{method}_paths_f64" not in case.arrays:
        pytest.skip("not in the golden data")
    action, paths = optimizer_action(case), torch.tensor(case.arrays[f"opt_{method}_paths_f64"])
    for k in (0, 1, 4):
        terms, gradient = action.value_and_gradient(paths[k])
        assert float(terms.total.sum()) == pytest.approx(case.arrays[f"opt_{method}_actions_f64"][k], rel=1e-9)
        assert relative(gradient, case.arrays[f"opt_{method}_grads_f64"][k]) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_five_steps_of_the_optimizers(case, method):
    if f"opt_{method}_paths_f64" not in case.arrays:
        pytest.skip("not in the golden data")
    action, expected = optimizer_action(case), torch.tensor(case.arrays[f"opt_{method}_paths_f64"])
    found, _ = make_optimizer(method, 5).minimize(action, expected[0])
    # Adam divides each component of the gradient by its own size: where it nearly vanishes (a straight start has no
    # kinetic gradient) rounding decides. SGD on the tetrapeptide diverges (action 3e6 -> 4e15). So: 1e-9, or what a
    # change of the start in its 15th digit does, whichever is larger.
    inner = torch.zeros_like(expected[0])
    inner[:, 1:-1] = 1e-15 * torch.randn(inner[:, 1:-1].shape) * expected[0].abs().max()
    nudged, _ = make_optimizer(method, 5).minimize(action, expected[0] + inner)
    assert relative(found, expected[-1]) < max(1e-9, 10 * relative(nudged, found))
    assert torch.equal(found[:, [0, -1]], expected[0][:, [0, -1]])


def test_published_divergence_is_met_and_is_n_times_too_large(case):
    """Compatibility only: the published trace is over all beads, but is weighted and summed per bead once more."""
    prior, (length, _) = case.prior(torch.float64), case.lengths()[0]
    path = torch.tensor(case.arrays["path_angstrom"]) / length
    path.requires_grad_(True)
    v = torch.tensor(case.arrays["v"]).double()
    masses, real = torch.tensor(case.arrays["masses"]).double(), real_beads(case)
    dt, d = case.meta["dt"], case.meta["D"]
    x = path[:, :-1].flatten(0, 1)
    force = force_fn(case, prior, length, paper_time(case))(x).view_as(v)
    (product,) = torch.autograd.grad(force, path, v, create_graph=True)
    trace = -(v * product[:, :-1]).sum()
    kinetic = (path.diff(dim=1).square().sum(-1) * real).sum() / (2 * dt)
    drift = (force.square().sum(-1) * real * dt / (2 * masses**2)).sum()
    divergence = (trace * dt * d / masses)[real].sum()
    found = torch.stack([kinetic, drift, divergence]).detach()
    if relative(found, case.arrays["hutch_terms_f64"]) > 1e-9:  # the published sum is over padding too
        divergence = (trace * dt * d / masses).sum()
        found = torch.stack([kinetic, drift, divergence]).detach()
    assert relative(found, case.arrays["hutch_terms_f64"]) < 1e-11
    (gradient,) = torch.autograd.grad(kinetic + drift - divergence, path)
    assert relative(gradient, case.arrays["hutch_grad_f64"]) < 1e-9


def test_our_divergence_is_the_trace_weighted_per_bead():
    """A linear force with known trace, beads of different mass: C = dt/2 sum_i sum_a D_a tr(J_aa)."""
    stiffness = torch.tensor([1.0, 2.0, 5.0])
    diffusion = torch.tensor([0.1, 0.3, 0.7])
    score = AutogradScore(lambda x: -stiffness.view(1, 3, 1) * x)
    action = OnsagerMachlupAction(score, Dynamics(0.01, diffusion), ExactDivergence())
    paths = torch.randn(2, 6, 3, 3)
    expected = 0.01 / 2 * 5 * (-3 * stiffness * diffusion).sum()  # 5 left points, 3 dimensions
    torch.testing.assert_close(action.terms(paths).divergence, expected.expand(2))
