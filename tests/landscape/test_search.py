"""Whole searches: routes that are known, for every seed, and independence of how the work is dealt out."""

import math
import pickle

import pytest
import torch

from tests.landscape.conftest import SCALE, barriers, route_search
from tpsctl.endpoints.load import load_structure
from tpsctl.landscape.attempts import SearchedMolecule, run_block
from tpsctl.landscape.coordinates import Cartesian
from tpsctl.landscape.equivalence import Equivalence, equivalence_of
from tpsctl.landscape.modes import normal_modes
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.network import Minimum, Network, Saddle
from tpsctl.landscape.round_plan import plan_round
from tpsctl.landscape.search import begin, is_complete, search
from tpsctl.landscape.search_state import RoundRecord, SearchSettings, SearchState
from tpsctl.molecule.topology import Topology

QUICK = SearchSettings(attempts=8, block=4, most_rounds=3)


def straight(ends, images, generator, style):
    s = torch.linspace(0, 1, images).reshape(-1, 1, 1)
    bend = 0 if style == 0 else 0.05 * torch.randn(1, *ends.shape[1:], generator=generator)
    return (1 - s) * ends[0] + s * ends[1] + bend * torch.sin(math.pi * s)


@pytest.fixture
def mueller_brown(mueller_brown_surface):
    no_bonds = Bonds(Topology((), ()))
    return SearchedMolecule(mueller_brown_surface, Cartesian(), Equivalence(None), no_bonds, straight)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_mueller_brown_route_goes_over_both_saddles(mueller_brown, seed):
    ends = torch.tensor([[[23.073, 31.072]], [[41.897, 8.463]]]) / SCALE
    result = route_search(mueller_brown, ends, seed, SearchSettings(attempts=8, most_rounds=12))
    assert barriers(result)[0] == [pytest.approx(12.686 - 3.539, abs=0.01), pytest.approx(12.686 - 6.250, abs=0.01)]
    assert len(result.routes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_butane_turns_over_the_anti_form_and_cis_is_the_second_route(butane, seed):
    """Reference saddles of the project: 10.472 and 18.391 kJ/mol above gauche."""
    ends = torch.stack((butane.x["gauche"], butane.x["gauche_minus"]))
    result = route_search(butane.molecule, ends, seed)
    assert result.complete
    assert barriers(result)[:2] == [[pytest.approx(10.47, abs=0.02)] * 2, [pytest.approx(18.39, abs=0.02)]]
    between = result.network.minima[result.routes[0].minima[1]]
    assert between.energy - result.network.minima[result.start].energy == pytest.approx(-3.28, abs=0.02)


def test_butane_from_anti(butane):
    result = route_search(butane.molecule, torch.stack((butane.x["anti"], butane.x["gauche"])), 1, QUICK)
    assert barriers(result)[0] == [pytest.approx(13.755, abs=0.02)]
    minima = result.network.minima
    above_a, above_b = (result.routes[0].top - minima[i].energy for i in (result.start, result.end))
    assert above_a - above_b == pytest.approx(3.28, abs=0.02)


def test_every_saddle_is_what_it_is_called(butane):
    """Index by the Hessian's modes, gradient, and both sides below it."""
    result = route_search(butane.molecule, torch.stack((butane.x["anti"], butane.x["gauche"])), 2, QUICK)
    surface, network = butane.molecule.surface, result.network
    for saddle in network.saddles:
        _, gradient = surface.energy_gradient(saddle.x[None])
        assert float(gradient.norm()) <= 1e-3
        modes = normal_modes(saddle.x, surface.hessian(saddle.x[None])[0], surface.masses_amu, rigid_motions=True)
        assert modes.index == saddle.index == 1
        assert saddle.wavenumbers[0] < 0
        assert all(network.minima[i].energy < saddle.energy for i in saddle.ends)


@pytest.mark.slow
def test_a_ring_flips_over_the_twist_boat(cyclohexane):
    ends = torch.stack((cyclohexane.x["chair"], cyclohexane.x["chair_flipped"]))
    result = route_search(cyclohexane.molecule, ends, 1, SearchSettings(most_rounds=3))
    route = barriers(result)[0]
    assert route[0] == route[-1] == pytest.approx(46.96, abs=0.02)
    assert max(route) == pytest.approx(46.96, abs=0.02)
    passed = [result.network.minima[i].energy - result.network.minima[0].energy for i in result.routes[0].minima[1:-1]]
    assert passed == [pytest.approx(29.24, abs=0.02)] * len(passed)
    assert passed


def test_the_result_does_not_depend_on_where_and_in_which_order_blocks_are_done(butane):
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))

    def backwards(blocks):
        done = {k: run_block(butane.molecule, blocks[k]) for k in reversed(range(len(blocks)))}
        return [done[k] for k in range(len(blocks))]

    first = route_search(butane.molecule, ends, 3, QUICK)
    second = route_search(butane.molecule, ends, 3, QUICK, backwards)
    assert same_networks(first.network, second.network)
    assert [r.minima for r in first.routes] == [r.minima for r in second.routes]


def test_a_stopped_search_goes_on_to_the_same_result(butane):
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))

    def run(blocks):
        return [run_block(butane.molecule, block) for block in blocks]

    whole = search(begin(butane.molecule, ends), run, 4, QUICK)
    state = begin(butane.molecule, ends)
    search(state, run, 4, SearchSettings(attempts=8, block=4, most_rounds=1))
    state = pickle.loads(pickle.dumps(state))
    resumed = search(state, run, 4, QUICK)
    assert same_networks(whole.network, resumed.network)
    assert whole.rounds == resumed.rounds


def test_blocks_of_a_round_know_one_another_s_seeds_only_by_number(butane):
    state = begin(butane.molecule, torch.stack((butane.x["anti"], butane.x["gauche"])))
    blocks = plan_round(state, 7, QUICK)
    numbers = [attempt.number for block in blocks for attempt in block.attempts]
    assert numbers == list(range(8))
    assert {block.round for block in blocks} == {0}
    assert all(len(block.attempts) <= 4 for block in blocks)


def test_a_search_without_rounds_is_not_complete(butane):
    state = begin(butane.molecule, torch.stack((butane.x["anti"], butane.x["gauche"])))
    assert not is_complete(state, SearchSettings())
    result = search(state, lambda blocks: [], 1, SearchSettings(most_rounds=0))
    assert result.routes == ()
    assert not result.complete


@pytest.mark.parametrize(("times", "complete"), [(1, False), (2, True)])
def test_a_search_goes_on_until_its_pass_is_found_again(butane, times, complete):
    x = torch.stack((butane.x["anti"], butane.x["gauche"]))
    network = Network(butane.molecule.equivalence, [Minimum(x[0], 0.0, 9, 9), Minimum(x[1], 1.0, 9, 9)])
    network.saddles.append(Saddle(x.mean(0), 20.0, 0.0, 1, (-100.0,), (0, 1), x, times_found=times))
    record = RoundRecord(20.0, math.inf, 2, 1, 0.0, 0.0, 1000)
    assert is_complete(SearchState(network, 0, 1, [record] * 9), SearchSettings()) is complete


@pytest.mark.parametrize(
    ("varied", "complete"),
    [
        ((7,), False),
        ((8,), True),
        ((8, 3), False),  # of an alternative half as many are due
        ((8, 4), True),
        ((8, 4, 3), False),
        ((8, 4, 4), True),
        ((8, 0, 8), True),  # so many were sought of all alternatives together
        ((8, 4, 4, 0), True),  # a fourth route has no variants of its own
    ],
)
def test_a_search_goes_on_until_variants_of_its_passes_were_sought(root, varied, complete):
    """Alanine dipeptide has other bonds that turn; butane, above, has none but those of its methyls."""
    ends = [load_structure(root / "recipes" / "alanine_dipeptide" / f"{name}.pdb") for name in ("c7eq", "c7ax")]
    x = torch.stack([end.x for end in ends])
    network = Network(equivalence_of(ends[0].topology, x[0]), [Minimum(x[0], 0.0, 9, 9), Minimum(x[1], 1.0, 9, 9)])
    for k, count in enumerate(varied):
        network.saddles.append(
            Saddle(x.mean(0), 20.0 + k, 0.0, 1, (-100.0,), (0, 1), x, times_found=3, varied=count),
        )
    record = RoundRecord(20.0, 21.0, 2, len(varied), 0.0, 0.0, 1000)
    assert is_complete(SearchState(network, 0, 1, [record] * 9), SearchSettings(attempts=8)) is complete


def test_a_round_seeks_the_variants_that_are_due(root):
    """Of three passes, with 16 attempts in a round: 16, 8 and 8 are due, and at most 8 a round."""
    ends = [load_structure(root / "recipes" / "alanine_dipeptide" / f"{name}.pdb") for name in ("c7eq", "c7ax")]
    x = torch.stack([end.x for end in ends])
    network = Network(equivalence_of(ends[0].topology, x[0]), [Minimum(x[0], 0.0), Minimum(x[1], 1.0)])
    for k in range(3):
        network.saddles.append(Saddle(x.mean(0), 20.0 + k, 0.0, 1, (-100.0,), (0, 1), x, times_found=3))
    state = SearchState(network, 0, 1, [RoundRecord(20.0, 21.0, 2, 3, 0.0, 0.0, 1000)])
    sought = []
    for _ in range(5):
        blocks = plan_round(state, 1, SearchSettings(attempts=16, block=5))
        attempts = [attempt for block in blocks for attempt in block.attempts]
        assert [attempt.number for attempt in attempts] == list(range(16))
        assert all(len(block.attempts) <= (2 if block.attempts[0].kind == "connection" else 5) for block in blocks)
        sought.append(sum(attempt.kind == "variant" for attempt in attempts))
    assert sought == [8, 8, 8, 8, 0]
    assert [saddle.varied for saddle in network.saddles] == [16, 8, 8]


def same_networks(first, second):
    """Bit for bit."""
    return (
        len(first.minima) == len(second.minima)
        and len(first.saddles) == len(second.saddles)
        and all(
            torch.equal(a.x, b.x) and a.times_found == b.times_found
            for a, b in zip(first.minima, second.minima, strict=True)
        )
        and all(torch.equal(a.x, b.x) and a.ends == b.ends for a, b in zip(first.saddles, second.saddles, strict=True))
    )
