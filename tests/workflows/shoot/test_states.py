"""States by the fraction of native contacts, of a protein that folds."""

import pytest
import torch

from tpsctl.endpoints.load import load_frames, load_structure
from tpsctl.errors import RecipeError
from tpsctl.recipe.states import ContactsConditionSection, StatesSection
from tpsctl.simulation.shooting.states import IN_A, IN_B, NEITHER
from tpsctl.workflows.shoot.states import StateMaker


@pytest.fixture(scope="module")
def maker(root):
    folder = root / "recipes/trp_cage"
    native = load_structure(folder / "native.pdb")
    (unfolded,) = load_frames(folder / "unfolded.dcd", (0,), topology=folder / "native.pdb")
    return StateMaker(native.topology, torch.stack([unfolded.x, native.x]))


def section(**changes):
    unfolded = {"kind": "contacts", "to_q": 0.25, "cutoff_nm": 0.81} | changes
    folded = {"kind": "contacts", "from_q": 0.8, "cutoff_nm": 0.81} | changes
    return StatesSection(A=(ContactsConditionSection(**unfolded),), B=(ContactsConditionSection(**folded),))


def test_unfolded_and_native_structures_are_in_their_states(maker):
    states, _ = maker.make(section())
    native, unfolded = maker.ends[1], maker.ends[0]
    larger = 1.1 * native  # every native distance grows by a tenth: below the 1.2 of the smooth step, so still folded
    halfway = native.clone()
    halfway[10:] += torch.tensor([2.0, 0.0, 0.0])  # helix contacts hold, those with the other half are lost
    found = states.where(torch.stack([unfolded, native, larger]))
    assert found.tolist() == [IN_A, IN_B, IN_B]
    q = states.b[0].contacts.fraction(halfway)
    assert 0.25 < float(q) < 0.8
    # the second half was torn off, so that the chain is no longer intact either
    assert int(states.where(halfway[None])[0]) == NEITHER


def test_native_end_can_be_the_first(maker):
    turned = StateMaker(maker.topology, maker.ends.flip(0))
    folded = ContactsConditionSection(kind="contacts", native="A", from_q=0.8)
    unfolded = ContactsConditionSection(kind="contacts", native="A", to_q=0.25)
    states, _ = turned.make(StatesSection(A=(folded,), B=(unfolded,)))
    assert states.where(maker.ends).tolist() == [IN_B, IN_A]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff_nm": 0.2}, "are closer than 0.2 nm"),
        ({"from_q": 0.9, "to_q": 0.9}, "from_q is 0.9"),
        ({"native": "A"}, "is not in this state|is in this state|are closer than"),
    ],
)
def test_conditions_that_cannot_hold_are_refused(maker, changes, message):
    with pytest.raises(RecipeError, match=message):
        maker.make(section(**changes))
