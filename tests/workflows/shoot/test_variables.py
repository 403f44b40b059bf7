"""The collective variables of an ensemble, and a verdict that controls make empty."""

import math

import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.workflows.shoot.ensemble_results import PATH, _verdict
from tpsctl.workflows.shoot.states import torsions_along, turning_torsions


def turned(x, topology, bond, degrees):
    """The molecule with the part behind a bond turned about it."""
    j, k = bond
    axis = (x[k] - x[j]) / (x[k] - x[j]).norm()
    moving = sorted(topology.branch(k, without=j) - {k})
    arm, angle = x[moving] - x[k], math.radians(degrees)
    along = (arm @ axis).unsqueeze(-1) * axis
    across = torch.linalg.cross(axis.expand_as(arm), arm)
    y = x.clone()
    y[moving] = x[k] + along + math.cos(angle) * (arm - along) + math.sin(angle) * across
    return y


@pytest.mark.parametrize(("degrees", "counts"), [(80.0, True), (40.0, False)])
def test_a_torsion_that_turns_and_turns_back_belongs_to_the_tube(root, degrees, counts):
    """phi differs between the ends and counts in any case; psi only returns."""
    structure = load_structure(root / "recipes" / "alanine_dipeptide" / "c7eq.pdb")
    topology, x = structure.topology, structure.x
    n, ca, c = (
        next(i for i, atom in enumerate(topology.atoms) if atom.name == name and atom.residue_name == "ALA")
        for name in ("N", "CA", "C")
    )
    path = torch.stack([x, turned(x, topology, (ca, c), degrees), turned(x, topology, (n, ca), 60.0)])
    turning = turning_torsions(topology, path[[0, -1]])
    assert [torsion.name.split()[0] for torsion in turning] == ["phi"]
    found = [torsion.name.split()[0] for torsion in torsions_along(topology, path, turning)]
    assert found == (["phi", "psi"] if counts else ["phi"])


def test_a_verdict_says_when_the_controls_lie_in_the_tube_too():
    def result(line):
        return {
            "accepted": 50,
            "members": {"low": 0.3, "high": 1.6},
            "distances": {PATH: {"mean": 0.4}, "straight line": {"mean": line}},
        }

    assert "cannot tell this path" not in _verdict(result(2.5), inside=True)
    assert "So do all controls" in _verdict(result(0.9), inside=True)
    assert "So do all controls" not in _verdict(result(0.9), inside=False)
