"""The least action of a path over given energies."""

import pytest
import torch

from tpsctl.action.base import Dynamics
from tpsctl.action.truncated import TruncatedAction
from tpsctl.score.base import AutogradScore
from tpsctl.validation.bound import MARGIN, ActionBound, least_action


def test_every_rise_and_fall_counts_half():
    energy = torch.tensor([[0.0, 5.0, 2.0, 3.0], [0.0, 1.0, torch.inf, 0.0]])
    bound = least_action(energy)
    assert bound[0] == (5 + 3 + 1) / 2
    assert bool(bound[1].isnan())


def test_a_path_that_follows_a_constant_force_at_its_own_speed_has_the_least_action():
    """With dx = D s dt both terms are D s^2 dt / 4, and their sum is s dx / 2 = |dU| / 2kT in every gap."""
    force, d, dt = 7.0, 0.3, 0.02
    score = AutogradScore(lambda x: torch.full_like(x, force) + 0 * x)
    action = TruncatedAction(score, Dynamics.uniform(dt_ps=dt, diffusion_nm2_per_ps=d, n_beads=1))
    path = (torch.arange(6) * force * d * dt).reshape(1, 6, 1, 1)
    bound = least_action(-force * path[..., 0, 0])
    torch.testing.assert_close(action.terms(path).total, bound, rtol=1e-12, atol=0)  # rounding
    slower = action.terms(path[:, ::2])  # images are now twice as far apart as the force carries them
    assert float(slower.total) > float(bound)


@pytest.mark.parametrize(("factor", "faulty"), [(1.0, False), (1 - MARGIN / 2, False), (1 - 2 * MARGIN, True)])
def test_an_action_below_its_bound_is_a_jump(factor, faulty):
    (fault,) = ActionBound(torch.tensor([10 * factor]), torch.tensor([10.0])).faults
    assert fault.startswith("jump: ") is faulty


def test_an_unknown_bound_is_no_fault():
    assert ActionBound(torch.tensor([1.0]), torch.tensor([torch.nan])).faults == ("",)
