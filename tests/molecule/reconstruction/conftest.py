"""A short helix of C-alpha beads, the first residues of Trp-cage, and paths on which it bends."""

import math
from pathlib import Path

import pytest
import torch

from tpsctl.endpoints.load import load_structure

NATIVE = Path(__file__).parents[3] / "recipes" / "trp_cage" / "native.pdb"


def bent(x, degrees, at):
    """The beads with all behind number `at` turned about an axis through it, so that bonds keep their lengths."""
    angle = math.radians(degrees)
    rows = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    moved = x.clone()
    moved[at:] = (x[at:] - x[at]) @ torch.tensor(rows).to(x).T + x[at]
    return moved


@pytest.fixture(scope="session")
def helix():
    """Topology of eight beads (NLYIQWLK) and their positions, nm."""
    native = load_structure(NATIVE)
    return native.topology.select(range(8)), native.x[:8].double()


@pytest.fixture(scope="session")
def bending(helix):
    """Topology and four images of a path on which the helix bends by 8 degrees from image to image."""
    beads, x = helix
    return beads, torch.stack([bent(x, 8.0 * k, at=4) for k in range(4)])
