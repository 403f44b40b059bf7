"""Molecules for optimizers."""

import math
from pathlib import Path

import pytest
import torch

from tpsctl.action import Dynamics, GeometricAction
from tpsctl.optimize import Convergence, String

BUTANE = Path(__file__).parents[1] / "landscape" / "molecules"


@pytest.fixture
def butane_string():
    """A relaxed string of butane from anti to gauche whose end was turned by some degrees: energies and outcome."""
    from tpsctl.endpoints.ends import align
    from tpsctl.endpoints.load import load_structure
    from tpsctl.guess.torsion import TorsionGuess
    from tpsctl.prior.openmm import OpenMMPrior

    ends = align(*(load_structure(BUTANE / f"butane_{name}.pdb") for name in ("anti", "gauche")))
    prior = OpenMMPrior(ends.topology, (str(BUTANE / "butane.xml"),), temperature_k=300.0, threads=1)

    def relax(degrees):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
        path = TorsionGuess(ends.topology, spread_deg=0.0).draw(ends.x, 24, [torch.Generator().manual_seed(0)])
        part = torch.linspace(0, 1, 24).view(1, -1, 1, 1) ** 8
        path = torch.where(part == 1, path @ turn.T, path)  # all of the rotation lies in the last step
        motion = Dynamics.langevin(dt_ps=1.0, masses_amu=prior.masses_amu, friction_per_ps=1.0, temperature_k=300.0)
        action = GeometricAction(prior.at(0.0), motion)
        found, outcome = String(max_steps=200, convergence=Convergence(1e-4, 0.5)).minimize(action, path)
        assert torch.equal(found[:, [0, -1]], path[:, [0, -1]])
        return prior.pool.energies(found[0]), outcome

    return relax
