"""Contact profiles: closed forms for what they are, how two differ, and what sampling costs."""

import math

import pytest
import torch

from tpsctl.validation.ensemble.profiles import (
    PathContacts,
    compare,
    contact_profile,
    forms_first,
    lead,
    sampling_error,
)

EDGES = (0.0, 0.5, 1.0)


def path(q, *contacts):
    return PathContacts(torch.tensor(contacts).T, torch.tensor(q))


def test_a_profile_is_the_mean_over_the_frames_of_a_bin():
    one = path([0.1, 0.2, 0.7], [1.0, 0.0, 1.0], [0.0, 0.0, 0.5])
    other = path([0.3, 1.5, -0.1], [0.8, 0.0, 0.0], [0.3, 1.0, 1.0])  # two frames outside all bins
    expected = torch.tensor([[1.8 / 3, 0.3 / 3], [1.0, 0.5]])
    torch.testing.assert_close(contact_profile([one, other], EDGES), expected)


def test_a_frame_on_an_edge_belongs_to_the_upper_bin():
    torch.testing.assert_close(contact_profile([path([0.5, 0.0], [1.0, 0.2])], EDGES), torch.tensor([[0.2], [1.0]]))


def test_a_bin_without_frames_is_unknown_and_is_not_compared():
    some = contact_profile([path([0.1], [1.0], [0.0])], EDGES)
    assert some.isnan().any(1).tolist() == [False, True]
    found = compare(some, torch.tensor([[0.5, 0.25], [0.0, 0.0]]))
    assert (found.mean, found.bins) == (pytest.approx(0.375), 1)
    assert found.correlation == pytest.approx(1)
    with pytest.raises(ValueError, match="no bin in common"):
        compare(some, torch.full((2, 2), torch.nan))


def test_profiles_that_are_opposite_have_correlation_minus_one():
    p = torch.tensor([[0.0, 1.0], [0.25, 0.75]])
    assert compare(p, 1 - p).correlation == pytest.approx(-1)
    assert compare(p, 1 - p).mean == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)
    assert compare(p, p).mean == 0


def test_the_sampling_error_is_that_of_the_mean_of_coins(generator):
    """Contacts are fair coins, one frame a path: the difference of means of n and N - n coins is nearly normal.

    Its standard deviation is s = 1/2 sqrt(1/n + 1/(N - n)), and the mean of its absolute value s sqrt(2/pi).
    """
    coins = torch.randint(0, 2, (600, 1, 40), generator=generator).double()
    paths = [PathContacts(c, torch.tensor([0.2])) for c in coins]
    found = sampling_error(paths, (0.0, 1.0), count=50, draws=200, generator=generator)
    expected = 0.5 * math.sqrt(1 / 50 + 1 / 550) * math.sqrt(2 / math.pi)
    # 40 contacts x 200 draws, of which about 12 are independent for each contact: 3 % statistical error
    assert sum(d.mean for d in found) / len(found) == pytest.approx(expected, rel=0.1)


def test_too_few_paths_are_refused(generator):
    with pytest.raises(ValueError, match="got 4 paths, expected more than 4 to judge sets of 2"):
        sampling_error([path([0.1], [1.0])] * 4, EDGES, count=2, draws=1, generator=generator)


FIRST, SECOND = torch.tensor([True, True, False]), torch.tensor([False, False, True])


def test_the_lead_of_a_group_is_its_mean_advance():
    profile = torch.tensor([[0.5, 0.7, 0.1], [1.0, 1.0, 0.6], [torch.nan] * 3])
    assert lead(profile, FIRST, SECOND) == pytest.approx((0.5 + 0.4) / 2)
    assert lead(profile, SECOND, FIRST) == pytest.approx(-(0.5 + 0.4) / 2)


def test_the_group_that_is_half_formed_for_good_before_the_other_forms_first():
    q = [0.1, 0.3, 0.5, 0.9]
    helix_first = path(q, [0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    back_and_forth = path(q, [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    together = path(q, [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    assert forms_first(helix_first, FIRST, SECOND) == 1
    assert forms_first(back_and_forth, FIRST, SECOND) == 0
    assert forms_first(together, FIRST, SECOND) == 0.5
