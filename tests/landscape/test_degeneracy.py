"""Degeneracies of molecules whose symmetry is known."""

import math

import pytest
import torch

from tests.landscape.conftest import route_search
from tpsctl.landscape.degeneracy import distinct_copies
from tpsctl.landscape.equivalence import Equivalence, equivalence_of
from tpsctl.landscape.kinetics import network_kinetics, network_modes
from tpsctl.landscape.modes import eyring_rate
from tpsctl.landscape.search_state import SearchSettings


def test_butane_has_nine_copies_of_each_form(butane):
    """Turns of both methyls and the exchange of the ends make 3 x 3 x 2 labelings, and a twofold axis halves them."""
    equivalence = equivalence_of(butane.topology, butane.x["anti"])
    assert equivalence.copies == 18
    assert {form: distinct_copies(equivalence, x) for form, x in butane.x.items()} == {
        "anti": 9,
        "gauche": 9,
        "gauche_minus": 9,
    }


def test_a_form_without_the_axis_has_all_copies(butane):
    """One methyl turned by 20 degrees is no longer the other's image."""
    moved = butane.molecule.bonds.turned(butane.x["anti"], _methyl(butane), math.radians(20.0))
    assert distinct_copies(equivalence_of(butane.topology, moved), moved) == 18


def test_rotations_of_a_chair_are_not_counted_as_copies(cyclohexane):
    """The rotations of D3 (six of them) carry the chair into itself, those of D2 (four) the twist-boat."""
    equivalence = equivalence_of(cyclohexane.topology, cyclohexane.x["chair"])
    chair, boat = (distinct_copies(equivalence, cyclohexane.x[form]) for form in ("chair", "twist_boat"))
    assert chair * 6 == boat * 4 == equivalence.copies


def test_kept_labels_and_model_systems_have_one_copy(butane):
    x = butane.x["anti"]
    assert distinct_copies(equivalence_of(butane.topology, x, keep_labels=True), x) == 1
    assert distinct_copies(Equivalence(None), torch.zeros(1, 2)) == 1


def test_rates_of_butane_follow_from_its_modes(butane):
    """The degeneracies cancel, because minima and saddles all have a twofold axis."""
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))
    result = route_search(butane.molecule, ends, 1, SearchSettings(attempts=8, block=4, most_rounds=2))
    network, route = result.network, result.routes[0]
    minima, saddles = network_modes(butane.molecule.surface, network)
    found = network_kinetics(network, result.start, result.end, result.routes, minima, saddles, 300.0)
    (over,) = route.saddles
    assert found.copies_of_saddles[over] == found.copies_of_minima[result.start] == 9
    top = saddles[over].free_energy(network.saddles[over].energy, 300.0)
    for side, minimum in enumerate(network.saddles[over].ends):
        bottom = minima[minimum].free_energy(network.minima[minimum].energy, 300.0)
        expected = 1e12 * eyring_rate(top - bottom, 300.0)
        # Superposition and eigenvalues of matrices with norms of 1e6 leave 1e-9 of kT.
        assert float(found.rates_per_s[over, side]) == pytest.approx(expected, rel=1e-8)
    assert found.routes[0].share + found.other_share + sum(r.share for r in found.routes[1:]) == pytest.approx(1.0)
    assert found.routes[0].barrier_forward == pytest.approx(13.755, abs=2.0)
    assert 1e9 < found.rate_forward_per_s < 1e11


def _methyl(butane):
    """Number of a bond whose smaller part consists of hydrogens only."""
    bonds, atoms = butane.molecule.bonds, butane.topology.atoms
    return next(k for k, part in enumerate(bonds.moving) if all(atoms[i].element == "H" for i in part))
