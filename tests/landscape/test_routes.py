"""Routes on networks that are drawn by hand."""

import itertools
import math

import pytest
import torch

from tpsctl.landscape.equivalence import Equivalence
from tpsctl.landscape.network import Find, Minimum, Network, Saddle, missing_fraction
from tpsctl.landscape.routes import gaps, minimax_route, ranked_routes, reachable_below


def saddle(ends, energy, *, found=1, place=0.0):
    x = torch.tensor([[place, energy]])
    return Saddle(x, energy, 0.0, 1, (-100.0,), ends, torch.zeros(2, 1, 2), found)


def network(minima, saddles):
    """Minima at (place, 0) with an energy, saddles between them."""
    return Network(
        Equivalence(None), [Minimum(torch.tensor([[place, 0.0]]), energy) for place, energy in minima], saddles
    )


def square():
    return network(
        [(0.0, 0.0), (3.0, 5.0), (1.0, 1.0), (2.0, 2.0)],
        [saddle((0, 1), 30.0), saddle((0, 2), 10.0), saddle((2, 3), 26.0), saddle((3, 1), 13.0), saddle((2, 1), 40.0)],
    )


def test_minimax_route_takes_a_detour_over_lower_saddles():
    route = minimax_route(square(), 0, 1)
    assert route.minima == (0, 2, 3, 1)
    assert route.saddles == (1, 2, 3)
    assert route.top == 26.0
    assert [route.top - square().minima[i].energy for i in (0, 1)] == [26.0, 21.0]


def test_alternatives_come_in_order_and_differ_in_their_highest_saddle():
    routes = ranked_routes(square(), 0, 1)
    assert [route.top for route in routes] == [26.0, 30.0, 40.0]
    assert [route.minima for route in routes] == [(0, 2, 3, 1), (0, 1), (0, 2, 1)]


def test_minimax_agrees_with_all_paths_of_random_networks():
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        edges = [(i, j) for i, j in itertools.combinations(range(6), 2)]
        height = torch.rand(len(edges), generator=generator).tolist()
        kept = [(e, h) for e, h in zip(edges, height, strict=True) if h < 0.6]
        net = network([(float(i), 0.0) for i in range(6)], [saddle(e, h) for e, h in kept])
        table = dict(kept)
        tops = [math.inf]
        for count in range(5):
            for middle in itertools.permutations(range(2, 6), min(count, 4)):
                steps = list(itertools.pairwise((0, *middle, 1)))
                keys = [(min(s), max(s)) for s in steps]
                if all(k in table for k in keys):
                    tops.append(max(table[k] for k in keys))
        route = minimax_route(net, 0, 1)
        assert (math.inf if route is None else route.top) == min(tops)


def test_unconnected_ends_have_no_route():
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 0), 5.0)])
    assert minimax_route(net, 0, 1) is None
    assert ranked_routes(net, 0, 1) == []


def test_symmetry_images_of_a_route_are_listed_once():
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 1), 5.0), saddle((0, 1), 5.0), saddle((0, 1), 9.0)])
    assert [route.top for route in ranked_routes(net, 0, 1)] == [5.0, 9.0]


def test_minima_reached_below_an_energy():
    assert reachable_below(square(), 0, 26.0) == {0, 2}
    assert reachable_below(square(), 1, 26.0) == {1, 3}
    assert reachable_below(square(), 0, 100.0, without={1}) == {0, 1, 2, 3}
    assert reachable_below(square(), 0, 30.0, without={1}) == {0}


def test_gaps_are_short_steps_and_move_on_when_tried():
    """Points at 0, 1, 2, 3 on a line: three short steps cost less than one long one until they were tried often."""
    net = network([(0.0, 0.0), (3.0, 0.0), (1.0, 0.0), (2.0, 0.0)], [saddle((2, 3), 4.0)])
    assert gaps(net, 0, 1) == [(0, 2), (3, 1)]
    for _ in range(7):
        net.was_tried(2, 0)
    assert gaps(net, 0, 1)[0] == (0, 3)


def test_gaps_leave_out_minima_and_saddles_above_an_energy():
    net = network([(0.0, 0.0), (3.0, 0.0), (1.0, 50.0), (2.0, 0.0)], [saddle((3, 1), 60.0)])
    assert gaps(net, 0, 1, below=20.0) == [(0, 3), (3, 1)]


def test_missing_fraction_is_that_of_good_and_turing():
    """Two of four saddles below 20 found once, ten finds in all; a saddle from a minimum to itself does not count."""
    found = [1, 1, 3, 5]
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 1), 10.0 + k, found=n) for k, n in enumerate(found)])
    net.saddles += [saddle((0, 0), 10.0, found=90), saddle((0, 1), 50.0)]
    assert missing_fraction(net, 20.0) == pytest.approx(0.2)
    assert missing_fraction(net, 5.0) == 1.0


def test_finds_merge_into_states_that_are_known():
    net = Network(Equivalence(None))
    x = torch.tensor([[0.0, 0.0]])
    assert net.add_minimum(x, 0.0, count=0) == 0
    sides = torch.stack((x, x + 1.0))
    find = Find(Saddle(x + 0.5, 7.0, 0.0, 1, (-50.0,), (-1, -1), sides), (0.0, 2.0))
    assert net.add(find) == 0
    assert net.add(find) == 0
    assert net.saddles[0].ends == (0, 1)
    assert net.saddles[0].times_found == 2
    assert [m.times_found for m in net.minima] == [1, 1]
