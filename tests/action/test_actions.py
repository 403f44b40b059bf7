"""Actions against closed forms, invariances and finite differences. Everything in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsctl.action import (
    Dynamics,
    EulerMaruyamaAction,
    ExactDivergence,
    HutchinsonDivergence,
    OnsagerMachlupAction,
    TruncatedAction,
)
from tpsctl.action.memory import bytes_per_image
from tpsctl.errors import PathError, TpsctlError
from tpsctl.score.base import AutogradScore

ROUNDING = 1e-10
"""Relative: sums of a few hundred float64 terms of like size."""


def zero_score():
    return AutogradScore(torch.zeros_like)


def linear_score(matrix, *, conservative=True):
    """s(x) = M x on flattened coordinates."""
    return AutogradScore(lambda x: (x.flatten(1) @ matrix.T).view_as(x), conservative=conservative)


def curved(x):
    """Conservative, with a third derivative that is not zero, and coupling all beads."""
    total = x.sum(1, keepdim=True)
    return -x * (1 + x.square()) + torch.sin(total) - 0.3 * total


def curved_score():
    return AutogradScore(curved)


def swirling_score():
    """Not the gradient of anything."""
    return AutogradScore(lambda x: torch.sin(x.roll(1, dims=-1)) - x, conservative=False)


def dynamics(n_beads=2, dt_ps=0.05):
    return Dynamics(dt_ps, torch.linspace(0.3, 1.1, n_beads))


def all_actions(score, motion):
    return [
        TruncatedAction(score, motion),
        EulerMaruyamaAction(score, motion),
        OnsagerMachlupAction(score, motion, ExactDivergence()),
        OnsagerMachlupAction(score, motion, HutchinsonDivergence(probes=3)),
    ]


def random_paths(n_paths=2, images=6, beads=2, dims=3):
    return torch.randn(n_paths, images, beads, dims)


def straight(start, end, images):
    fraction = torch.linspace(0, 1, images).view(-1, 1, 1)
    return (start + fraction * (end - start)).unsqueeze(0)


@settings(deadline=None, max_examples=25)
@given(images=st.integers(2, 60), dt=st.floats(1e-4, 1e2), d=st.floats(1e-4, 1e2))
def test_action_of_straight_line_under_free_diffusion(images, dt, d):
    start, end = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[0.3, -0.4, 1.2]], dtype=torch.float64)
    motion = Dynamics.uniform(dt_ps=dt, diffusion_nm2_per_ps=d, n_beads=1)
    expected = 1.69 / (4 * d * dt * (images - 1))  # distance^2 / (4 D T)
    for action in all_actions(zero_score(), motion):
        total = action.terms(straight(start, end, images)).total.item()
        assert total == pytest.approx(expected, rel=ROUNDING)


def sinh_action(a, b, d, omega, duration):
    """Least truncated action of a harmonic drift -omega x: (omega/4D) [(a^2+b^2) cosh - 2ab] / sinh of omega T."""
    return omega / (4 * d) * ((a * a + b * b) * math.cosh(omega * duration) - 2 * a * b) / math.sinh(omega * duration)


def test_sampled_sinh_path_has_the_closed_form_action_to_first_order():
    a, b, d, omega, duration = 0.7, -0.4, 0.5, 2.0, 1.5
    errors, counts = [], (100, 200, 400, 800)
    for steps in counts:
        tau = torch.linspace(0, duration, steps + 1)
        x = (a * torch.sinh(omega * (duration - tau)) + b * torch.sinh(omega * tau)) / math.sinh(omega * duration)
        score = AutogradScore(lambda y: -omega / d * y)
        motion = Dynamics.uniform(dt_ps=duration / steps, diffusion_nm2_per_ps=d, n_beads=1)
        total = TruncatedAction(score, motion).terms(x.view(1, -1, 1, 1)).total.item()
        errors.append(abs(total - sinh_action(a, b, d, omega, duration)))
    slope = torch.tensor(errors).log().diff() / torch.tensor(counts).double().log().diff()
    assert slope.tolist() == pytest.approx([-1, -1, -1], abs=0.02)  # left-point rule: next order is 1/steps


@pytest.mark.parametrize("divergence", [ExactDivergence(), HutchinsonDivergence(probes=1)])
def test_divergence_of_diagonal_linear_score_is_exact_even_with_one_probe(divergence):
    """A wrong count of beads, a doubled term or a wrong sign, all seen in published code, would show here."""
    curvature = torch.tensor([1.0, -2.0, 3.0, 0.5, -7.0, 4.0])
    motion = dynamics(n_beads=2, dt_ps=0.02)
    action = OnsagerMachlupAction(linear_score(torch.diag(curvature)), motion, divergence)
    per_image = (motion.diffusion.repeat_interleave(3) * curvature).sum()
    expected = 0.02 / 2 * 5 * per_image  # (dt/2) sum over L = 5 left images
    terms = action.terms(random_paths(images=6))
    torch.testing.assert_close(terms.divergence, expected.expand(2), rtol=ROUNDING, atol=0)
    assert terms.divergence_error.tolist() == [0, 0]


def test_mean_of_hutchinson_is_the_exact_divergence_within_its_error():
    paths, motion = random_paths(), dynamics()
    exact = OnsagerMachlupAction(curved_score(), motion, ExactDivergence()).terms(paths).divergence
    terms = OnsagerMachlupAction(curved_score(), motion, HutchinsonDivergence(probes=2000, seed=3)).terms(paths)
    assert (terms.divergence_error > 0).all()
    assert ((terms.divergence - exact).abs() < 4 * terms.divergence_error).all()  # 4 standard errors


def test_all_sign_patterns_average_to_the_exact_divergence():
    motion, x = dynamics(n_beads=1), torch.randn(1, 1, 3)
    score, root = curved_score(), motion.diffusion_like(x).sqrt()
    _, vjp = score.with_vjp(x)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).view(8, 1, 3)
    forms = torch.stack([(root * v * vjp(root * v.unsqueeze(0))[0]).sum() for v in signs])
    exact = ExactDivergence().value(x, vjp, root, torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(forms.mean(), exact[0, 0], rtol=ROUNDING, atol=0)


def test_full_action_without_divergence_is_the_truncated_one():
    antisymmetric = torch.randn(6, 6)
    score, paths = linear_score(antisymmetric - antisymmetric.T, conservative=False), random_paths()
    motion = Dynamics.uniform(dt_ps=0.1, diffusion_nm2_per_ps=0.7, n_beads=2)
    full = OnsagerMachlupAction(score, motion, ExactDivergence()).terms(paths)
    torch.testing.assert_close(full.total, TruncatedAction(score, motion).terms(paths).total, rtol=ROUNDING, atol=0)


def test_euler_maruyama_is_the_perfect_square():
    score, motion, paths = swirling_score(), dynamics(), random_paths()
    d = motion.diffusion_like(paths)
    s = score(paths[:, :-1].flatten(0, 1)).view_as(paths[:, :-1])
    square = (paths.diff(dim=1) - d * s * motion.dt_ps).square() / (4 * d * motion.dt_ps)
    torch.testing.assert_close(EulerMaruyamaAction(score, motion).terms(paths).total, square.sum((1, 2, 3)))


@pytest.mark.parametrize("score", [curved_score(), swirling_score()], ids=["conservative", "swirling"])
@pytest.mark.parametrize("kind", range(4), ids=["truncated", "euler_maruyama", "exact", "hutchinson"])
def test_gradient_is_that_of_the_value(score, kind):
    action, paths = all_actions(score, dynamics())[kind], random_paths()
    terms, gradient = action.value_and_gradient(paths)
    torch.testing.assert_close(terms.total, action.terms(paths).total)
    assert not gradient[:, [0, -1]].any()
    direction = torch.randn_like(paths)
    direction[:, [0, -1]] = 0
    h = 1e-5
    numeric = (action.terms(paths + h * direction).total - action.terms(paths - h * direction).total) / (2 * h)
    # Central differences: h^2 times third derivatives ~ 1e-9, rounding 1e-16/h ~ 1e-10; divergence step 1e-4: 1e-8.
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", range(3), ids=["truncated", "euler_maruyama", "exact"])
def test_rigid_motion_of_path_and_score_changes_nothing(kind):
    q, _ = torch.linalg.qr(torch.randn(3, 3))
    shift, paths = torch.randn(3), random_paths()
    moved = AutogradScore(lambda y: curved((y - shift) @ q.T) @ q)
    before = all_actions(curved_score(), dynamics())[kind].terms(paths).total
    after = all_actions(moved, dynamics())[kind].terms(paths @ q + shift).total
    torch.testing.assert_close(after, before, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", range(3), ids=["truncated", "euler_maruyama", "exact"])
def test_relabelling_beads_changes_nothing(kind):
    order = torch.tensor([2, 0, 1])
    paths, motion = random_paths(beads=3), dynamics(n_beads=3)
    relabelled = Dynamics(motion.dt_ps, motion.diffusion[order])
    before = all_actions(curved_score(), motion)[kind].terms(paths).total
    after = all_actions(curved_score(), relabelled)[kind].terms(paths[:, :, order]).total
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("kind", range(3), ids=["truncated", "euler_maruyama", "exact"])
def test_units_do_not_matter(kind):
    """nm and ps against Angstrom and fs: x 10, t 1000, D 100/1000, score 1/10."""
    motion, paths = dynamics(), random_paths()
    small = AutogradScore(lambda y: curved(y / 10) / 10)
    femto = Dynamics(motion.dt_ps * 1000, motion.diffusion * 0.1)
    before = all_actions(curved_score(), motion)[kind].terms(paths).total
    after = all_actions(small, femto)[kind].terms(paths * 10).total
    torch.testing.assert_close(after, before, rtol=1e-9, atol=0)


def test_chunks_do_not_change_the_result():
    paths = random_paths(n_paths=3, images=8)
    for whole, pieces in zip(
        all_actions(curved_score(), dynamics()), all_actions(curved_score(), dynamics()), strict=True
    ):
        pieces.chunks.images = 5
        expected, gradient = whole.value_and_gradient(paths)
        got, got_gradient = pieces.value_and_gradient(paths)
        torch.testing.assert_close(got.total, expected.total)
        torch.testing.assert_close(got_gradient, gradient)


def test_memory_per_image_counts_what_autograd_keeps():
    weight = torch.randn(6, 1000)

    def score(x):
        return (torch.tanh(x.flatten(1) @ weight) @ weight.T).view_as(x)

    measured = bytes_per_image(AutogradScore(score), torch.randn(16, 2, 3))
    assert 8 * 1000 < measured < 4 * 8 * 1000  # one saved activation of 1000 float64 numbers, and the transient


def test_langevin_diffusion_is_heavier_beads_slower():
    motion = Dynamics.langevin(dt_ps=0.1, masses_amu=[1.0, 12.0], friction_per_ps=2.0, temperature_k=300.0)
    kt = 0.00831446261815324 * 300
    assert motion.diffusion.tolist() == pytest.approx([kt / 2, kt / 24])


def test_impossible_input_is_refused():
    action = TruncatedAction(zero_score(), dynamics())
    with pytest.raises(PathError, match=r"got 1 image\(s\), expected at least 2"):
        action.terms(random_paths(images=1))
    with pytest.raises(PathError, match="got 5 beads, the dynamics has 2"):
        action.terms(random_paths(beads=5))
    with pytest.raises(TpsctlError, match="action.dt_ps: got -0.002 ps"):
        dynamics(dt_ps=-0.002)
