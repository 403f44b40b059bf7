"""Native contacts: which pairs there are, and the fraction of them that is formed."""

import math

import pytest
import torch

from tpsctl.molecule.contacts import NativeContacts, distant_pairs, find_contacts
from tpsctl.molecule.topology import Atom, Topology


def chain(*lengths: int) -> Topology:
    """Chains of beads of these lengths."""
    total = sum(lengths)
    cuts = {sum(lengths[: k + 1]) - 1 for k in range(len(lengths))}
    atoms = tuple(Atom("CA", "C", "ALA", i + 1, "A", 12.0) for i in range(total))
    return Topology(atoms, tuple((i, i + 1) for i in range(total - 1) if i not in cuts))


def test_pairs_of_one_chain_are_counted_by_their_distance_in_sequence():
    assert distant_pairs(chain(7), 4) == [(0, 4), (0, 5), (0, 6), (1, 5), (1, 6), (2, 6)]
    assert len(distant_pairs(chain(20), 3)) == 17 * 18 / 2


def test_beads_of_different_chains_are_always_distant():
    assert set(distant_pairs(chain(2, 2), 4)) == {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_contacts_are_the_distant_pairs_within_the_cutoff():
    x = torch.zeros(6, 3)
    x[:, 0] = torch.tensor([0.0, 0.3, 0.6, 0.6, 0.3, 0.0])
    x[3:, 1] = 0.5
    found = find_contacts(chain(6), x, cutoff_nm=0.55, separation=4)
    assert found.pairs == ((0, 5),)
    assert found.distances_nm == pytest.approx((0.5,))


def test_a_contact_is_half_formed_where_the_step_is_centered():
    contacts = NativeContacts(((0, 1),), (0.5,))
    r = torch.tensor([0.5, 1.2 * 0.5 + 0.05, 1.5])
    x = torch.zeros(3, 2, 3)
    x[:, 1, 2] = r
    expected = [1 / (1 + math.exp(40 * (d - 0.65))) for d in r.tolist()]
    # in double precision the logistic function is exact to rounding
    torch.testing.assert_close(contacts.formed(x)[:, 0], torch.tensor(expected), rtol=1e-13, atol=0)
    assert contacts.fraction(x)[1] == pytest.approx(0.5)


def test_the_fraction_is_the_mean_over_contacts():
    contacts = NativeContacts(((0, 1), (0, 2)), (0.5, 0.5))
    x = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [5.0, 0, 0]])
    assert contacts.fraction(x) == pytest.approx(0.5 / (1 + math.exp(-6.0)))
