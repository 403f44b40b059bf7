"""A guided prior: its score, its Jacobian, and paths on it."""

import math

import pytest
import torch

from tpsctl.action import TruncatedAction
from tpsctl.action.base import Dynamics
from tpsctl.errors import PriorError
from tpsctl.prior.diffused import diffused
from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.guided import GuidedPrior
from tpsctl.score.guidance.base import NoisedGuide

T = 0.2


@pytest.fixture
def guided():
    prior = GaussianPrior(mean_nm=(1.0, -0.5), std_nm=0.3)
    model = diffused(prior, T)
    # in the unit of the law, y = x - mean
    guide = NoisedGuide(lambda y: 2.0 * y[:, 0, 0] - 4.0 * y[:, 0, 1].square(), lambda width: 0.5)
    return prior, GuidedPrior(prior, model, guide)


def test_score_is_the_gradient_of_the_log_density(guided, generator):
    _, prior = guided
    x = torch.randn(4, 1, 2, generator=generator, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior.log_density(x, T).sum(), x)
    torch.testing.assert_close(prior.at(T)(x.detach()), gradient)


def test_jacobian_and_its_products_agree(guided, generator):
    plain, prior = guided
    x, v = torch.randn(2, 3, 1, 2, generator=generator)
    score = prior.at(T)
    jacobian = score.jacobian(x)
    expected = plain.at(T).jacobian(x) + torch.diag(torch.tensor([0.0, -4.0]))
    torch.testing.assert_close(jacobian, expected)
    product = (jacobian @ v.flatten(1).unsqueeze(2)).view_as(v)
    torch.testing.assert_close(score.jvp(x, v), product)
    value, vjp = score.with_vjp(x)
    torch.testing.assert_close(value, score(x))
    torch.testing.assert_close(vjp(v), product)


def test_the_action_of_a_path_at_rest_is_that_of_the_added_force(guided):
    """On the mean of the Gaussian only the guidance acts: S = dt D |h|^2 / 4 per image, h = (1, 0) per nm."""
    _, prior = guided
    path = torch.tensor([[1.0, -0.5]]).expand(1, 6, 1, 2).clone()
    dynamics = Dynamics.uniform(dt_ps=0.01, diffusion_nm2_per_ps=0.02, n_beads=1)
    action = TruncatedAction(prior.at(T), dynamics)
    images = 5  # the left-point rule leaves out the last one
    assert action.terms(path).total.item() == pytest.approx(images * 0.01 * 0.02 / 4, rel=1e-9)


def test_the_law_of_a_gaussian_ends_at_the_width_of_the_time():
    prior = GaussianPrior(mean_nm=(1.0,), std_nm=0.3)
    model = diffused(prior, T)
    assert model.law.smallest_width == pytest.approx(prior.sigma_nm(T))
    assert model.time_of(model.law.smallest_width) == pytest.approx(T)
    assert math.isclose(float(model.to_nm(torch.zeros(1, 1, 1))), 1.0)


def test_a_force_field_has_no_reverse_process():
    with pytest.raises(PriorError, match="cannot be sampled by a reverse process"):
        diffused(DoubleWellPrior(temperature_k=300.0), 0.0)
