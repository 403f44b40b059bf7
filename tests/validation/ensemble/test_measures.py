"""The measures: closed forms, agreement with scipy and with the plain estimators, and what their error bars cover."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from tpsctl.units import thermal_energy
from tpsctl.validation.ensemble import measures
from tpsctl.validation.ensemble.bootstrap import BootstrapEstimate, Yardstick, pieces_of, resampled
from tpsctl.validation.ensemble.free_energy_map import free_energy_map
from tpsctl.validation.ensemble.measures import MEASURES, PathFacts
from tpsctl.validation.ensemble.profiles import PathContacts, compare, contact_profile, forms_first

EDGES = (0.1, 0.4, 0.7, 0.95)


def facts_of(paths, generator=None):
    """Facts of paths that are given by the progress of three events; their highest free energies are random."""
    read = [measures.in_bins(path, EDGES) for path in paths]
    visits = torch.stack([torch.bincount((path.mean(1) * 9.99).long(), minlength=10).clamp_max(1) for path in paths])
    height = torch.rand(len(paths), generator=generator)
    return PathFacts(
        visits=visits.double(),
        progress_sum=torch.stack([sums for sums, _ in read]),
        bin_count=torch.stack([count for _, count in read]),
        before=torch.stack([measures.happens_before(path) for path in paths]),
        highest=height,
        outside=torch.zeros(len(paths)),
        crosses=torch.ones(len(paths)),
    )


def random_paths(count, generator, *, shift=0.0):
    """Three events that happen at random places of 40 images, the first one `shift` later."""
    s = torch.linspace(0, 1, 40).unsqueeze(1)
    places = 0.2 + 0.5 * torch.rand(count, 3, generator=generator) + torch.tensor([shift, 0.0, 0.0])
    return [torch.sigmoid(30 * (s - place)) for place in places]


def one(paths):
    return torch.ones(1, len(paths))


def test_js_distance_of_equal_and_of_disjoint_distributions():
    p = torch.tensor([1.0, 3.0, 0.0, 0.0])
    assert measures.js_distance(p, 2 * p) == 0
    assert measures.js_distance(p, torch.tensor([0.0, 0.0, 1.0, 2.0])) == pytest.approx(math.sqrt(math.log(2)))


def test_js_distance_is_that_of_scipy(generator):
    p, q = torch.rand(2, 7, generator=generator)
    q[2] = 0
    assert float(measures.js_distance(p, q)) == pytest.approx(jensenshannon(p.numpy(), q.numpy()), rel=1e-12)


def test_profiles_are_those_of_the_plain_estimator(generator):
    ours, theirs = (random_paths(5, generator, shift=shift) for shift in (0.1, 0.0))
    a, b = facts_of(ours), facts_of(theirs)
    plain = [contact_profile([PathContacts(path, path.mean(1)) for path in some], EDGES) for some in (ours, theirs)]
    torch.testing.assert_close(measures.profile(a, one(a))[0], plain[0], equal_nan=True)
    expected = compare(*plain)
    found = [measure(a, one(a), b, one(b)) for measure in (measures.profile_difference, measures.profile_correlation)]
    assert [float(value) for value in found] == pytest.approx([expected.mean, expected.correlation], rel=1e-12)


def test_the_order_of_events_is_that_of_the_plain_estimator(generator):
    for path in random_paths(6, generator):
        masks = torch.eye(3, dtype=torch.bool)
        expected = [
            forms_first(PathContacts(path, path.mean(1)), masks[i], masks[j]) for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        assert measures.happens_before(path).tolist() == expected


def test_weights_stand_for_repeated_paths(generator):
    paths, others = random_paths(4, generator), facts_of(random_paths(6, generator))
    facts = facts_of(paths)
    weights = torch.tensor([[2.0, 0.0, 1.0, 1.0]])
    repeated = facts.take(torch.tensor([0, 0, 2, 3]))
    for name, measure in MEASURES.items():
        found = measure(facts, weights, others, one(others))
        torch.testing.assert_close(found, measure(repeated, one(repeated), others, one(others)), msg=name)


def test_the_highest_free_energy_is_a_median():
    facts = facts_of(random_paths(3, None))
    facts.highest[:] = torch.tensor([5.0, 1.0, 3.0])
    assert measures.highest_free_energy(facts, one(facts), facts, one(facts)) == 3.0


def test_free_energy_of_two_populations_is_their_log_ratio():
    slow = torch.cat((torch.zeros(90, 2), torch.ones(10, 2)))
    found = free_energy_map(slow, torch.ones(100), bins=4, temperature_k=300)
    height, known = found.at(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.4, 0.6], [9.0, 0.0]]))
    kt = thermal_energy(300)
    # the bins without frames have the free energy of a single one of the hundred frames
    expected = torch.tensor([0.0, kt * math.log(9), kt * math.log(90), kt * math.log(90)])
    torch.testing.assert_close(height, expected)
    assert known.tolist() == [True, True, False, False]


def test_few_trajectories_are_cut_into_pieces_and_many_are_left_whole():
    assert pieces_of([100] * 12) == [(number, 0, 100) for number in range(12)]
    found = pieces_of([100, 50, 7])
    assert len(found) == 12
    for number, length in enumerate((100, 50, 7)):
        mine = [(first, last) for which, first, last in found if which == number]
        assert mine[0][0] == 0
        assert mine[-1][1] == length
        assert all(a[1] == b[0] for a, b in zip(mine, mine[1:], strict=False))


def test_groups_are_drawn_as_a_whole(generator):
    weights = resampled(torch.tensor([0, 0, 1, 3]), 4, 500, generator)
    torch.testing.assert_close(weights[:, 0], weights[:, 1])
    # every group is drawn once on average; its mean over 500 draws has a standard deviation of 0.04
    torch.testing.assert_close(weights.mean(0), torch.ones(4), rtol=0, atol=0.15)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution(generator):
    values = torch.randn(400, generator=generator)
    weights = resampled(torch.arange(400), 400, 1000, generator)
    draws = weights @ values / weights.sum(1)
    found = BootstrapEstimate.of(float(values.mean()), draws)
    # 2.5 % quantiles of 1000 draws scatter by 5 % of the width; three times that
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * float(values.std()) / 20, rel=0.15)


def test_intervals_apart_and_overlapping():
    assert BootstrapEstimate(1, 0, 2).apart_from(BootstrapEstimate(5, 3, 6))
    assert not BootstrapEstimate(1, 0, 4).apart_from(BootstrapEstimate(5, 3, 6))
    assert not BootstrapEstimate(1, math.nan, math.nan).apart_from(BootstrapEstimate(5, 3, 6))


def test_paths_of_the_same_kind_are_not_told_apart_and_others_are(generator):
    facts = facts_of(random_paths(200, generator), generator)
    yardstick = Yardstick(facts, torch.arange(200) // 10, 20, draws=100, seed=1)
    own = yardstick.own_sets(20)
    alike = yardstick.row(facts_of(random_paths(20, generator), generator))
    late = yardstick.row(facts_of(random_paths(20, generator, shift=0.3), generator))
    assert not [name for name in MEASURES if alike[name].apart_from(own[name])]
    assert {name for name in MEASURES if late[name].apart_from(own[name])} >= {"profile_difference", "order_difference"}


def test_the_value_lies_within_its_interval(generator):
    facts = facts_of(random_paths(60, generator), generator)
    yardstick = Yardstick(facts, torch.arange(60), 60, draws=100, seed=1)
    for estimate in yardstick.row(facts_of(random_paths(10, generator), generator)).values():
        assert estimate.low <= estimate.value <= estimate.high
    assert yardstick.size_of_sets(40) == 30
