"""Which linear solver Levenberg-Marquardt takes: the same for any number of paths in a batch."""

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.optimize import LevenbergMarquardt
from tpsctl.optimize.gauss_newton import BlockSystem, ProductSystem
from tpsctl.optimize.newton import NewtonSystem
from tpsctl.score.base import AutogradScore


@pytest.mark.parametrize("paths", [1, 2, 32, 1000])
@pytest.mark.parametrize(
    ("beads", "expected"), [(10, BlockSystem), (35, BlockSystem), (56, BlockSystem), (150, ProductSystem)]
)
def test_the_solver_does_not_depend_on_the_batch(paths, beads, expected, monkeypatch):
    """200 images of 56 beads take 0.23 GB of blocks a path: 32 of them were over a limit that counted the batch."""
    for system in (NewtonSystem, BlockSystem, ProductSystem):
        monkeypatch.setattr(system, "__init__", lambda self, *_: None)  # gigabytes otherwise
    action = TruncatedAction(AutogradScore(lambda x: -x), Dynamics(0.1, torch.ones(beads)))
    where = torch.empty(paths, 200, beads, 3, device="meta")
    assert type(LevenbergMarquardt(max_steps=1).system(action, where)) is expected


def test_points_of_a_model_potential_take_second_derivatives():
    action = TruncatedAction(AutogradScore(lambda x: -x), Dynamics(0.1, torch.ones(1)))
    system = LevenbergMarquardt(max_steps=1).system(action, torch.zeros(2, 50, 1, 2))
    assert isinstance(system, NewtonSystem)
