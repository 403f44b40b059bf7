"""The flicker of side chains, against closed forms."""

import math

import pytest
import torch

from tpsctl.molecule.reconstruction.flicker import flicker
from tpsctl.molecule.topology import Atom, Topology

PHE = "N CA C O CB CG CD1 CD2 CE1 CE2 CZ".split()
BONDS = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (9, 10)]


@pytest.fixture
def phenylalanine():
    """One residue: a backbone, CB, and a flat ring in the plane x = 0 behind the bond CB-CG, which is the z axis."""
    topology = Topology(tuple(Atom(n, n[0], "PHE", 1, "A", 12.0) for n in PHE), tuple(BONDS))
    ring = [(0.0, 0.0), (0.12, 0.07), (-0.12, 0.07), (0.12, 0.21), (-0.12, 0.21), (0.0, 0.28)]
    x = [[-0.1, 0.02, -0.1], [0.0, 0.12, -0.2], [0.13, 0.2, -0.2], [0.2, 0.1, -0.3], [0.0, 0.0, -0.15]]
    return topology, torch.tensor([*x, *([0.0, y, z] for y, z in ring)])


def turned(x, degrees):
    """The ring turned about the bond CB-CG."""
    angle, moved = math.radians(degrees), x.clone()
    y = x[6:, 1]
    moved[6:, 0], moved[6:, 1] = -math.sin(angle) * y, math.cos(angle) * y
    return moved


def rms_distance(degrees, x):
    """Distance of turned from given ring atoms over all six side-chain atoms: 2 |y| sin(angle / 2) for each."""
    return math.sqrt(((2 * x[5:, 1] * math.sin(math.radians(degrees) / 2)) ** 2).sum().item() / 6)


def test_rigid_motion_is_no_flicker(phenylalanine):
    topology, x = phenylalanine
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    turn = turn * torch.linalg.det(turn)
    found = flicker(topology, torch.stack([x, x @ turn.T + 5]))
    assert found.mean_nm < 1e-9
    assert found.jumps.tolist() == [0]


@pytest.mark.parametrize("degrees", [10.0, 50.0, 80.0])
def test_a_turned_ring_flickers_by_its_chord(phenylalanine, degrees):
    topology, x = phenylalanine
    found = flicker(topology, torch.stack([x, turned(x, degrees), turned(x, degrees)]))
    assert found.step_nm.tolist() == pytest.approx([rms_distance(degrees, x), 0.0], abs=1e-9)
    assert found.jumps.tolist() == [int(degrees > 60), 0]
    assert found.mean_nm == pytest.approx(rms_distance(degrees, x) / math.sqrt(2))


def test_half_a_turn_of_a_ring_only_exchanges_names(phenylalanine):
    topology, x = phenylalanine
    found = flicker(topology, torch.stack([x, turned(x, 180.0)]))
    assert found.mean_nm < 1e-9
    assert found.jumps.tolist() == [0]


def test_a_residue_without_side_chain_does_not_flicker():
    atoms = tuple(Atom(n, n[0], "GLY", 1, "A", 12.0) for n in ("N", "CA", "C", "O"))
    found = flicker(Topology(atoms, ((0, 1), (1, 2), (2, 3))), torch.randn(3, 4, 3))
    assert found.step_nm.tolist() == [0, 0]
    assert found.torsions == 0


def test_one_image_has_no_flicker(phenylalanine):
    topology, x = phenylalanine
    assert flicker(topology, x[None]).mean_nm == 0
