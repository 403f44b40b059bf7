"""When two structures count as one state."""

import math

import torch

from tpsctl.landscape.equivalence import Equivalence, equivalence_of
from tpsctl.molecule.geometry import superpose


def moved(x):
    """The same structure elsewhere."""
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    turn = turn * torch.sign(torch.linalg.det(turn))
    return x @ turn + torch.randn(3)


def methyl_turn(topology, x):
    """Labels of one methyl group's hydrogens passed on."""
    center = next(i for i, around in enumerate(topology.neighbors) if hydrogens(topology, around) == 3)
    h = [j for j in topology.neighbors[center] if topology.atoms[j].element == "H"]
    order = list(range(len(x)))
    order[h[0]], order[h[1]], order[h[2]] = h[1], h[2], h[0]
    return order, h


def hydrogens(topology, around):
    return sum(topology.atoms[j].element == "H" for j in around)


def test_methyl_hydrogens_passed_on_are_the_same_state_and_the_order_is_found(alanine):
    topology, x = alanine
    equivalence = equivalence_of(topology, x)
    order, _ = methyl_turn(topology, x)
    y = moved(x[order])
    found = equivalence.same(y, x, (0.0, 0.0))
    assert found is not None
    assert float((superpose(y[list(found)], x) - x).abs().max()) < 1e-6


def test_methyl_hydrogens_of_opposite_winding_are_another_molecule(alanine):
    topology, x = alanine
    equivalence = equivalence_of(topology, x)
    _, h = methyl_turn(topology, x)
    y = x.clone()
    y[h[0]], y[h[1]] = x[h[1]], x[h[0]]
    assert equivalence.same(y, x, (0.0, 0.0)) is None
    assert equivalence.handedness(y) != equivalence.reference_handedness
    assert equivalence.handedness(x) == equivalence.reference_handedness


def test_kept_labels_tell_turned_methyls_apart(alanine):
    topology, x = alanine
    order, _ = methyl_turn(topology, x)
    kept = equivalence_of(topology, x, keep_labels=True)
    assert kept.same(x[order], x, (0.0, 0.0)) is None
    assert kept.copies == 1
    assert equivalence_of(topology, x).copies == 27  # three methyl groups


def test_energies_tell_states_apart(alanine):
    topology, x = alanine
    assert equivalence_of(topology, x).same(x, x, (0.0, 0.01)) is None


def test_gauche_forms_of_butane_are_mirror_images_and_not_the_same(butane):
    equivalence, x = butane.molecule.equivalence, butane.x
    assert equivalence.same(x["gauche"], x["gauche_minus"], (0.0, 0.0)) is None
    assert equivalence.copies == 18  # ends exchanged, and both methyls turned


def test_exchanged_ends_of_butane_are_the_same(butane):
    equivalence, x = butane.molecule.equivalence, butane.x["gauche"]
    (unit,) = equivalence.units
    for option in unit.options:
        assert equivalence.same(moved(x[list(option)]), x, (0.0, 0.0)) is not None


def test_flipped_chair_is_another_state_only_where_labels_are_kept(cyclohexane):
    x, flipped = cyclohexane.x["chair"], cyclohexane.x["chair_flipped"]
    assert cyclohexane.molecule.equivalence.same(flipped, x, (0.0, 0.0)) is None
    free = equivalence_of(cyclohexane.topology, x)
    assert free.turning(flipped, x) < 1e-3


def test_turning_of_one_bond_is_its_chord(butane):
    """Three of nine torsions about the central bond's axis turn alike, so the mean is 2 (1 - cos angle)."""
    molecule, x = butane.molecule, butane.x["anti"]
    kept = equivalence_of(butane.topology, x, keep_labels=True)
    y = molecule.bonds.turned(x, 0, 0.4)
    assert math.isclose(kept.turning(y, x), 2 * (1 - math.cos(0.4)), rel_tol=1e-9)
    both = kept.turnings(torch.stack((x, y)), x[None])
    assert torch.allclose(both, torch.tensor([[0.0], [2 * (1 - math.cos(0.4))]]), atol=1e-9)


def test_turnings_take_the_best_labels(alanine):
    topology, x = alanine
    order, _ = methyl_turn(topology, x)
    assert float(equivalence_of(topology, x).turnings(x[order][None], x[None])) < 1e-9


def test_points_of_a_model_are_compared_as_they_are():
    plain = Equivalence(None)
    x = torch.zeros(1, 2)
    assert plain.same(x, x + 1e-4, (0.0, 0.0)) is not None
    assert plain.same(x, x + 0.1, (0.0, 0.0)) is None
    assert plain.turning(x, x + 0.3) > 0
