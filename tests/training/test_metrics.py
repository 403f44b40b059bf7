"""Metrics against scipy and cases counted by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from tpsctl.training.metrics import (
    dihedral_histogram,
    handedness_agreement,
    jensen_shannon_distance,
    ramachandran_angles,
    torque_r2,
)
from tpsctl.training.targets import internal_rotations


def test_jensen_shannon_distance_is_scipys():
    p, q = (torch.rand(6, 7) * (torch.rand(6, 7) > 0.4) for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p.flatten(), q.flatten()), abs=1e-14)


def test_jensen_shannon_distance_at_its_ends():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert jensen_shannon_distance(a, a) == 0
    assert jensen_shannon_distance(a, b) == pytest.approx(math.log(2) ** 0.5, abs=1e-15)


def test_torque_r2_of_perfect_scores_no_scores_and_known_errors(peroxide):
    x, scores = peroxide.frames(2000)
    name = "A:PER1:O1-A:PER1:O2"
    assert torque_r2(peroxide.topology, x, scores, scores) == {name: 1.0}
    rotations = internal_rotations(peroxide.topology)(x)[:, 0]
    truth = (rotations * scores).sum((1, 2))
    none = torque_r2(peroxide.topology, x, torch.zeros_like(scores), scores)[name]
    assert none == pytest.approx(1 - float(truth.square().mean() / truth.var()), abs=1e-12)
    # an error of 0.3 in every torque
    off = 0.3 * rotations / rotations.square().sum((1, 2), keepdim=True)
    found = torque_r2(peroxide.topology, x, scores + off, scores)[name]
    assert found == pytest.approx(1 - 0.09 / float(truth.var()), abs=1e-12)


def test_handedness_of_the_structure_itself_and_of_its_mirror_image(alanine):
    topology, x = alanine
    same = handedness_agreement(topology, torch.stack((x, x + 3)), x)
    assert {name.split(":")[-1] for name in same} == {"CH3", "CA", "CB", "C"}, "three methyls and C-alpha"
    assert set(same.values()) == {1.0}
    mirrored = handedness_agreement(topology, torch.stack((x, -x, -x, -x)), x)
    assert set(mirrored.values()) == {0.25}
    assert set(handedness_agreement(topology, -x.unsqueeze(0), x).values()) == {0.0}


def test_a_methyl_with_two_hydrogens_exchanged_is_wound_wrongly(alanine):
    topology, x = alanine
    beta = next(i for i, atom in enumerate(topology.atoms) if atom.name == "CB")
    a, b = [i for i in topology.neighbors[beta] if topology.atoms[i].element == "H"][:2]
    swapped = x.clone()
    swapped[[a, b]] = x[[b, a]]
    found = handedness_agreement(topology, swapped.unsqueeze(0), x)
    assert [name for name, value in found.items() if value == 0] == [topology.atoms[beta].label]


def test_histograms_count_and_weigh():
    angles = torch.tensor([[-math.pi, 0.01], [math.pi, 0.01], [0.01, -0.01], [0.01, -0.01]])
    plain = dihedral_histogram(angles)
    assert plain.shape == (36, 36)
    assert plain[0, 18] == plain[35, 18] == 0.25
    assert plain[18, 17] == 0.5
    weighted = dihedral_histogram(angles, torch.tensor([1.0, 0.0, 2.0, 1.0]))
    assert weighted[0, 18] == 0.25
    assert weighted[35, 18] == 0
    assert float(weighted.sum()) == pytest.approx(1)


def test_histograms_agree_with_numpy(generator):
    angles = (torch.rand(5000, 2, generator=generator) - 0.5) * 2 * math.pi
    counts, _, _ = np.histogram2d(*angles.T.numpy(), bins=36, range=[[-math.pi, math.pi]] * 2)
    np.testing.assert_allclose(dihedral_histogram(angles) * 5000, counts, atol=1e-9)


def test_ramachandran_angles_are_mdtrajs(alanine):
    import mdtraj

    topology, x = alanine
    quadruples = [q for name, q in topology.backbone_dihedrals if name in ("phi ALA2", "psi ALA2")]
    frames = mdtraj.Trajectory(x.float().unsqueeze(0).numpy(), None)
    expected = mdtraj.compute_dihedrals(frames, np.array(quadruples))
    np.testing.assert_allclose(ramachandran_angles(x.unsqueeze(0), quadruples), expected, atol=1e-5)  # float32
