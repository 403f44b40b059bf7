"""Actions and optimizer trajectories of the published code, from tpsctl's own action and optimizers.

The published sum is 2 D S of ours, one D for the kinetic term of every bead but D_a = kT/(m_a gamma) in the drift
term. With D = 1/2 for every bead, our S is that sum if the score is given as F_a / (m_a gamma D): `PublishedScore`.
Everything is in the published units: network lengths, ps, forces in amu/ps^2 times a network length.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tpsctl.action.base import Dynamics, TimedAction
from tpsctl.action.divergence import ExactDivergence
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.truncated import TruncatedAction
from tpsctl.networks.graph_transformer import attend_compiled, attention, frozen
from tpsctl.optimize.base import Convergence
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.score.base import AutogradScore

PRECISIONS = [torch.float64, torch.float32]
D = 0.5
_IMAGES = 20
NEVER = Convergence(action_tolerance=0.0, gradient_tolerance_per_nm=0.0)


def inner(paths):
    return paths[:, 1:-1]


def force_fn(case, prior, length, t, kt=None):
    """F at positions in network lengths; not symmetric where networks see positions (derivative at centered x)."""
    scale, kt = float(prior.units.scale), kt or case.kt(length)
    return lambda x: kt * scale * prior.output.score(x * scale, t)


def real_beads(case):
    return torch.tensor(case.arrays["z"] != 0) if "z" in case.arrays else torch.ones(case.meta["N"]).bool()


def published_dynamics(case):
    return Dynamics(case.meta["dt"], torch.where(real_beads(case), D, 1e30).double())  # padding has no kinetic term


def published_score(case, prior, length, t, kt=None):
    weight = (real_beads(case) / torch.tensor(case.arrays["masses"]).double()).unsqueeze(-1) / D
    force = force_fn(case, prior, length, t, kt)
    return AutogradScore(lambda x: weight.to(x) * force(x), conservative=False)


def published_action(case, prior, length, t, kt=None):
    return TruncatedAction(published_score(case, prior, length, t, kt), published_dynamics(case))


def paper_time(case):
    return case.time(case.meta["paper_latent_time"])


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_truncated_terms_and_gradients(case, dtype):
    for length, tag in case.lengths():
        path = case.positions(length, "path_angstrom")

        def action(prior, length=length):
            return published_action(case, prior, length, paper_time(case))

        def terms(prior, path, action=action):
            found = action(prior).terms(path)
            return torch.stack([found.kinetic.sum(), found.drift.sum(), found.divergence.sum()])

        def kinetic(prior, path):
            steps = path.diff(dim=1) / case.meta["dt"] * real_beads(case).unsqueeze(-1)
            return steps[:, :-1] - steps[:, 1:]

        def drift(prior, path, action=action):
            score, vjp = action(prior).score.with_vjp(path[:, :-1].flatten(0, 1))
            return vjp(case.meta["dt"] * D / 2 * score).view_as(path[:, :-1])

        case.check(f"trunc_terms{tag}", dtype, terms, path)
        whole = lambda prior, path, action=action: inner(action(prior).value_and_gradient(path)[1])  # noqa: E731
        case.check(f"trunc_grad{tag}", dtype, whole, path, part=inner)
        case.check(f"path_term_grad{tag}", dtype, kinetic, path, part=inner)
        case.check(f"force_term_grad{tag}", dtype, drift, path, part=lambda array: array[:, :-1])


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_forces_along_a_path(case, dtype):
    for length, tag in case.lengths():

        def force(prior, path, length=length):
            x = path[:, :-1].flatten(0, 1)
            return force_fn(case, prior, length, paper_time(case))(x).view_as(path[:, :-1])

        case.check(f"path_forces{tag}", dtype, force, case.positions(length, "path_angstrom"))


@pytest.fixture
def any_order(monkeypatch):
    """Layers composed by autograd: the published gradient of its divergence takes third derivatives, tpsctl's never."""

    def gated(new, old, by_new, by_old):
        a = (new @ by_new + old @ by_old).unsqueeze(-1)
        return torch.sigmoid(a) * new + torch.sigmoid(-a) * old

    def tilted(q, x):
        s = q[..., -1:]
        return torch.cat([q[..., :-4], q[..., -4:-1] - 2 * s * x, s], dim=-1)

    def attend(q, bias, k, v, x, blocked, *, beads):
        q = q + bias if x is None else tilted(q + bias, x)
        q, k, v = (part.unflatten(1, (-1, beads)) for part in (q, k, v))
        logits = q @ k.mT
        if blocked is not None:
            logits = logits.masked_fill(blocked, -torch.finfo(logits.dtype).max)
        return (torch.softmax(logits, -1) @ v).flatten(1, 2)

    monkeypatch.setattr(attend_compiled, "usable", lambda _: False)
    composed = {
        "attend": attend,
        "gelu": functional.gelu,
        "standardized": lambda a: functional.layer_norm(a, a.shape[-1:]),
        "softmax": lambda a: torch.softmax(a, -1),
        "gated": gated,
        "tilted": tilted,
        "to_heads": torch.matmul,
        "from_heads": lambda y, weight: torch.bmm(y, weight).sum(0),
    }
    for module in (attention, frozen):
        for name in composed.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, composed[name])


class PublishedHutchinson(TimedAction):
    """The published action with divergence, probes given: a trace over all beads, weighted and summed once more.

    Its third term, L dt d sum_i 1/m_i with L = -sum v . J^T v over everything, is subtracted. For this test only:
    the sum over beads makes it N times too large.
    """

    functional = "published"

    def __init__(self, case, prior, length, t, probes, kt=None):
        super().__init__(published_score(case, prior, length, t, kt), published_dynamics(case))
        self._truncated = published_action(case, prior, length, t, kt)
        self._force = force_fn(case, prior, length, t, kt)
        self._weight = case.meta["dt"] * case.meta[f"D{dict(case.lengths())[length]}"]
        self._weight *= float((real_beads(case) / torch.tensor(case.arrays["masses"]).double()).sum())
        self._probes = list(probes)

    def _image_terms(self, x, dx, index, *, gradient):
        raise NotImplementedError  # the published divergence is not a sum over images

    def value_and_gradient(self, paths):
        probes = self._probes.pop(0) if len(self._probes) > 1 else self._probes[0]
        v = torch.as_tensor(probes).to(paths)
        terms, gradient = self._truncated.value_and_gradient(paths)
        values, slopes = [], []
        # Third derivatives keep many times the memory of a score: a few images at a time.
        for x, w in zip(paths[:, :-1].flatten(0, 1).split(_IMAGES), v.flatten(0, 1).split(_IMAGES), strict=True):
            x = x.detach().requires_grad_(True)
            with torch.enable_grad():
                (product,) = torch.autograd.grad(self._force(x), x, w, create_graph=True)
                value = self._weight * (w * product).sum((1, 2))  # minus the third term
                slopes += torch.autograd.grad(value.sum(), x)
            values.append(value.detach())
        each, slope = torch.cat(values), torch.cat(slopes)
        gradient = gradient.clone()
        gradient[:, 1:-1] += slope.view_as(paths[:, :-1])[:, 1:]
        each = each.view(len(paths), -1).sum(1)
        return replace(terms, divergence=each, divergence_error=torch.zeros_like(each)), gradient


@pytest.mark.slow
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.usefixtures("any_order")
def test_published_divergence(case, dtype):
    """Compatibility only."""
    for length, tag in case.lengths():
        path = case.positions(length, "path_angstrom")

        def evaluate(prior, path, length=length):
            action = PublishedHutchinson(case, prior, length, paper_time(case), [case.arrays["v"]])
            return action.value_and_gradient(path)

        def terms(prior, path, evaluate=evaluate):
            found = evaluate(prior, path)[0]
            return torch.stack([found.kinetic.sum(), found.drift.sum(), -found.divergence.sum()])

        gradient = lambda prior, path, evaluate=evaluate: inner(evaluate(prior, path)[1])  # noqa: E731
        case.check(f"hutch_terms{tag}", dtype, terms, path)
        case.check(f"hutch_grad{tag}", dtype, gradient, path, part=inner)


def optimizer_action(case, prior, method):
    """The action as the published optimizer saw it: for flows, its time and its kT/sigma were rounded to float32."""
    length = case.lengths()[0][0]
    t, kt = paper_time(case), case.kt(length)
    if "flow" in case.name:
        t = 1 - float(np.float32(1) - np.float32(case.meta["paper_latent_time"]) / np.float32(10))
        kt = float(np.float32(kt / t)) * t
    if method.endswith("hutch"):
        return PublishedHutchinson(case, prior, length, t, case.arrays[f"opt_{method}_v_f64"], kt)
    return published_action(case, prior, length, t, kt)


def make_optimizer(method, steps):
    if method.startswith("adam"):
        return Adam(learning_rate_nm=0.2, max_steps=steps, convergence=NEVER)
    return SGD(learning_rate_nm2=1e-5, momentum=0.9, max_steps=steps, convergence=NEVER)


@pytest.fixture(params=["adam", "sgd", "adam_hutch", "sgd_hutch"])
def method(request, case):
    if f"opt_{request.param}_paths_f64" not in case.arrays:
        pytest.skip("not in the golden data")
    return request.param


@pytest.mark.usefixtures("any_order")
def test_actions_and_gradients_at_every_state_of_the_optimizers(case, method):
    paths = torch.tensor(case.arrays[f"opt_{method}_paths_f64"])[:-1]

    def evaluate(prior, paths):
        action = optimizer_action(case, prior, method)
        return [action.value_and_gradient(path) for path in paths]

    def totals(prior, paths):
        return torch.stack([terms.total.sum() for terms, _ in evaluate(prior, paths)])

    def gradients(prior, paths):
        return torch.stack([gradient for _, gradient in evaluate(prior, paths)])

    case.check(f"opt_{method}_actions", torch.float64, totals, paths, bar=1e-9)
    case.check(f"opt_{method}_grads", torch.float64, gradients, paths, bar=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("any_order")
def test_five_steps_of_the_optimizers(case, method):
    """1e-9, or what the last digit of the start and of the weights decides.

    Adam divides each component of the gradient by its own size: where it nearly vanishes (a straight start has no
    kinetic gradient) rounding decides. SGD on the tetrapeptide diverges (action 3e6 -> 4e15).
    """
    start = torch.tensor(case.arrays[f"opt_{method}_paths_f64"][0])

    def five_steps(prior, path):
        return make_optimizer(method, 5).minimize(optimizer_action(case, prior, method), path)[0]

    case.check(
        f"opt_{method}_paths", torch.float64, five_steps, start, bar=1e-9, part=lambda paths: paths[-1], evaluations=5
    )
    found = five_steps(case.prior(torch.float64), start)
    assert torch.equal(found[:, [0, -1]], start[:, [0, -1]])


def test_our_divergence_is_the_trace_weighted_per_bead():
    """A linear force with known trace, beads of different mass: C = dt/2 sum_i sum_a D_a tr(J_aa)."""
    stiffness = torch.tensor([1.0, 2.0, 5.0])
    diffusion = torch.tensor([0.1, 0.3, 0.7])
    score = AutogradScore(lambda x: -stiffness.view(1, 3, 1) * x)
    action = OnsagerMachlupAction(score, Dynamics(0.01, diffusion), ExactDivergence())
    paths = torch.randn(2, 6, 3, 3)
    expected = 0.01 / 2 * 5 * (-3 * stiffness * diffusion).sum()  # 5 left points, 3 dimensions
    torch.testing.assert_close(action.terms(paths).divergence, expected.expand(2))
