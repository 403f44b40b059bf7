"""A Gaussian prior and a linear observable: multipliers, guided mean, excess work and KL have closed forms.

Data N(m, c^2 I), f(x) = a . x, target F. The multiplier is lambda = (a . m - F) / (c^2 |a|^2), the tilted data are
N(m - lambda c^2 a, c^2 I) and KL = lambda^2 c^2 |a|^2 / 2. With V(s) = c^2 + s^2 the exact term of guidance is
h = -lambda a c^2 / V(s). Started from the unguided law at the largest width s_1, the mean m + d(s) a has

    stochastic    d(s) = -lambda c^2 (1 - V(s) / V(s_1)) ,        W = lambda^2 |a|^2 c^4 / 2 (1/V(s_0) - 1/V(s_1))
    ODE           d(s) = -lambda c^2 (1 - (V(s)/V(s_1))^(1/2)) ,  W = d(s_0)^2 |a|^2 / (2 V(s_0))
"""

import math

import numpy as np
import pytest
import torch

from tpsctl.score.base import AutogradScore
from tpsctl.score.guidance.base import DenoisedGuide, NoGuide, NoisedGuide
from tpsctl.score.guidance.maximum_entropy import maximum_entropy
from tpsctl.score.guidance.process import guided_diffusion, guided_flow, initial_noise
from tpsctl.score.guidance.work import excess_work, mean_and_error, unguided_averages
from tpsctl.score.likelihood import Diffusion
from tpsctl.score.reverse_process import geometric_widths, reverse

C, S0, S1, LAMBDA = 0.7, 0.01, 20.0, 1.3
A = torch.tensor([[0.6, -0.8]], dtype=torch.float64)  # |a| = 1


def variance(width):
    return C**2 + width**2


LAW = Diffusion(lambda s: AutogradScore(lambda y: -y / variance(s)), S0, S1, spread=C)


def tilt(x):
    return -LAMBDA * (x * A).sum((1, 2))


def exact_strength(width):
    return C**2 / variance(width)


def start(count, generator):
    return initial_noise(LAW, torch.zeros(count, 1, 2), generator)


def along(y):
    return (y * A).sum((1, 2))


def test_multiplier_and_entropy_loss_by_quadrature():
    """Gauss-Hermite nodes as weighted samples: 60 nodes integrate exp(-lambda f) f to rounding."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = 0.4 + C * torch.tensor(nodes).unsqueeze(1)
    target = torch.tensor([0.4 - LAMBDA * C**2])
    found = maximum_entropy(values, target, names=["f"], weights=torch.tensor(weights))
    assert found.values.item() == pytest.approx(LAMBDA, abs=1e-6)
    assert found.entropy_loss == pytest.approx(LAMBDA**2 * C**2 / 2, abs=1e-6)
    assert found.averages.item() == pytest.approx(target.item(), abs=1e-6)


def test_multiplier_of_samples_within_its_bootstrap_error(generator):
    values = 0.4 + C * torch.randn(4000, 1, generator=generator)
    target = torch.tensor([0.4 - 0.8 * C**2])
    found = maximum_entropy(values, target, names=["f"], generator=generator)
    assert abs(found.values.item() - 0.8) < 4 * found.errors.item()
    # to first order lambda is (mean - F) / variance; the spread of the mean gives c / (c^2 n^(1/2)) = 0.0226
    assert 0.015 < found.errors.item() < 0.05
    assert found.replicates == 200


def test_excess_work_of_the_stochastic_process_by_quadrature():
    """1/2 int E|h|^2 dtau with the guide's own h, Gauss-Legendre in log(s)."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    half = math.log(S1 / S0) / 2
    total = 0.0
    guide = DenoisedGuide(tilt, lambda s: 1.0)
    for node, weight in zip(nodes, weights, strict=True):
        width = math.exp(math.log(S0) + half * (node + 1))
        _, h = guide.guided(LAW.score_at(width), torch.zeros(1, 1, 2), width)
        total += weight * half * width**2 * h.square().sum().item()  # dtau / 2 = s^2 dlog(s)
    assert total == pytest.approx(LAMBDA**2 * C**4 / 2 * (1 / variance(S0) - 1 / variance(S1)), abs=1e-6)
    assert total == pytest.approx(LAMBDA**2 * C**2 / 2, rel=2e-3)  # KL, but for the widths beyond both ends


def test_denoised_guide_is_exact_and_equals_the_noised_one_with_the_exact_strength(generator):
    y, width = torch.randn(5, 1, 2, generator=generator), 0.9
    score = LAW.score_at(width)
    expected = -LAMBDA * A * exact_strength(width)
    for guide in (DenoisedGuide(tilt, lambda s: 1.0), NoisedGuide(tilt, exact_strength)):
        found, h = guide.guided(score, y, width)
        torch.testing.assert_close(found, score(y))
        torch.testing.assert_close(h, expected.expand_as(h))


def test_stochastic_process_has_the_closed_mean_variance_and_work(generator):
    count = 4000
    widths = geometric_widths(S1, S0, 300)
    found = guided_diffusion(LAW, DenoisedGuide(tilt, lambda s: 1.0), start(count, generator), widths, generator)
    mean, error = mean_and_error(along(found.y))
    shift = -LAMBDA * C**2 * (1 - variance(S0) / variance(S1)) * C**2 / variance(S0)  # with Tweedie's last step
    # the steps' own error is of first order: r = 0.975, hence 1 % of the shift
    assert abs(mean - shift) < 4 * error + 0.01 * abs(shift)
    assert along(found.y).std().item() == pytest.approx(C, rel=0.05)
    work = excess_work(found)
    discrete = sum(
        LAMBDA**2 * exact_strength(s) ** 2 * (s / r) ** 2 * (s**2 - r**2) / 2
        for s, r in zip(widths[:-1], widths[1:], strict=True)
    )
    assert work.nats == pytest.approx(discrete, rel=1e-12)  # h is the same everywhere, so there is no noise
    assert abs(work.from_ratios - discrete) < 4 * work.from_ratios_error
    continuous = LAMBDA**2 * C**4 / 2 * (1 / variance(S0) - 1 / variance(S1))
    assert discrete == pytest.approx(continuous, rel=0.06)


def test_discrete_work_converges_to_the_integral_at_first_order():
    continuous = LAMBDA**2 * C**4 / 2 * (1 / variance(S0) - 1 / variance(S1))
    errors = []
    for steps in (200, 400):
        generator = torch.Generator().manual_seed(1)
        widths = geometric_widths(S1, S0, steps)
        found = guided_diffusion(LAW, NoisedGuide(tilt, exact_strength), start(2, generator), widths, generator)
        errors.append(float(found.work.mean(1).sum()) - continuous)
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)


def test_weights_give_back_the_unguided_ensemble(generator):
    widths = geometric_widths(S1, S0, 150)
    weak = NoisedGuide(lambda x: 0.3 * tilt(x), exact_strength)
    found = guided_diffusion(LAW, weak, start(6000, generator), widths, generator)
    assert along(found.y).mean() < -0.15
    mean, error = unguided_averages(along(found.y).unsqueeze(1), found.log_ratio)
    assert abs(mean.item()) < 4 * error.item()
    assert torch.exp(-found.log_ratio).mean().item() == pytest.approx(1, abs=0.05)  # sum of q p/q over samples of q
    assert 0.5 < excess_work(found).effective_size < 1


def test_langevin_corrections_keep_the_law_and_cost_work(generator):
    widths = geometric_widths(S1, S0, 100)
    guide = NoisedGuide(tilt, exact_strength)
    plain = guided_diffusion(LAW, guide, start(2000, generator), widths, generator)
    found = guided_diffusion(LAW, guide, start(2000, generator), widths, generator, corrections=2)
    assert found.work.shape == (100, 2000)
    assert found.work.sum(0).mean() > plain.work.sum(0).mean()
    mean, error = unguided_averages(found.log_ratio.exp().unsqueeze(1), found.log_ratio)
    assert math.isfinite(mean.item())
    # E_q[log q/p] from the samples is the mean of the expected steps
    work = excess_work(found)
    assert abs(work.from_ratios - work.nats) < 4 * work.from_ratios_error


def test_without_guidance_it_is_the_reverse_process():
    y = start(3, torch.Generator().manual_seed(2))
    widths = geometric_widths(S1, S0, 20)
    found = guided_diffusion(LAW, NoGuide(), y, widths, torch.Generator().manual_seed(3), corrections=1)
    expected = reverse(
        lambda z, s: LAW.score_at(s)(z), y, widths, torch.Generator().manual_seed(3), corrections=1, centered=False
    )
    torch.testing.assert_close(found.y, expected)
    assert found.log_ratio.abs().max() == 0


def test_flow_has_the_closed_mean_and_work(generator):
    """No sampling error: the work of the ODE depends on the mean of the start only, which is subtracted."""
    widths = geometric_widths(S1, S0, 160)
    y = start(500, generator)
    y = torch.cat((y, -y))  # mean zero
    found = guided_flow(LAW, NoisedGuide(tilt, exact_strength), y, widths)
    shift = -LAMBDA * C**2 * (1 - (variance(S0) / variance(S1)) ** 0.5)
    last = variance(S0) / C**2  # undoes Tweedie's step
    assert along(found.y).mean().item() * last == pytest.approx(shift, abs=1e-6)
    work = excess_work(found)
    assert work.nats == pytest.approx(shift**2 / (2 * variance(S0)), abs=1e-6)
    assert work.by_step.sum().item() == pytest.approx(work.nats, abs=1e-12)
    assert float(found.log_ratio.mean()) == pytest.approx(work.nats, abs=1e-12)


def test_log_ratio_of_the_flow_is_that_of_the_densities_at_the_end(generator):
    """Two ways: integrated along the trajectory, and from both Gaussian densities at the end."""
    found = guided_flow(LAW, NoisedGuide(tilt, exact_strength), start(50, generator), geometric_widths(S1, S0, 160))
    end = along(found.y) * variance(S0) / C**2
    shift = -LAMBDA * C**2 * (1 - (variance(S0) / variance(S1)) ** 0.5)
    expected = (end.square() - (end - shift).square()) / (2 * variance(S0))
    torch.testing.assert_close(found.log_ratio, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("error", [0.0, 0.02, -0.02])
def test_what_a_network_has_wrong_at_wide_noise_costs_little_work(generator, error):
    """A score that is 2 % wrong makes the Jacobian of the posterior mean wrong by 0.02 at every wide noise."""
    wrong = Diffusion(lambda s: AutogradScore(lambda y: -(1 + error) * y / variance(s)), S0, 100 * C, spread=C)
    widths = geometric_widths(100 * C, S0, 60)
    y = initial_noise(wrong, torch.zeros(200, 1, 2), generator)
    works = []
    for bound in (None, C**2):
        guide = DenoisedGuide(tilt, lambda width: 1.0, bound)
        found = guided_diffusion(wrong, guide, y, widths, torch.Generator().manual_seed(1))
        works.append(excess_work(found).by_step)
    exact = LAMBDA**2 * C**2 / 2
    if error == 0.0:  # the exact h is never longer than the bound
        torch.testing.assert_close(works[1], works[0], rtol=0, atol=0)
        return
    # steps above 10 C have 1 % of the exact work; without the bound, 1/2 (error lambda)^2 (100 C)^2
    wide = sum(width > 10 * C for width in widths[:-1])
    assert float(works[0][:wide].sum()) > 5 * exact
    # |h| <= 10 lambda C^2 / s^2 gives 100 times the exact 1 % at the most
    assert float(works[1][:wide].sum()) < 1.05 * exact
