"""Finds and networks survive being written to a file, to the last bit."""

import pytest
import torch

from tests.landscape.conftest import route_search
from tpsctl.jobs.store import read_state, write_state
from tpsctl.landscape.attempts import run_block
from tpsctl.landscape.network import Find
from tpsctl.landscape.round_plan import plan_round
from tpsctl.landscape.search import begin
from tpsctl.landscape.search_state import SearchSettings
from tpsctl.workflows.sample.routes.stored import load_block, load_search, store_block, store_search


@pytest.fixture
def ends(butane):
    return torch.stack((butane.x["anti"], butane.x["gauche"]))


def through_a_file(stored, tmp_path):
    write_state(tmp_path / "state.safetensors", *stored)
    return read_state(tmp_path / "state.safetensors")


def same_saddle(a, b):
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.sides, b.sides)
    assert {k: v for k, v in vars(a).items() if k not in ("x", "sides")} == {
        k: v for k, v in vars(b).items() if k not in ("x", "sides")
    }


def test_the_finds_of_a_block(butane, ends, tmp_path):
    settings = SearchSettings(attempts=4, block=4)
    for block in plan_round(begin(butane.molecule, ends), 1, settings):
        result = run_block(butane.molecule, block)
        back = load_block(through_a_file(store_block(result), tmp_path))
        assert back.evaluations == result.evaluations
        assert [len(finds) for finds in back.finds] == [len(finds) for finds in result.finds]
        for mine, other in zip(sum(back.finds, ()), sum(result.finds, ()), strict=True):
            if isinstance(other, Find):
                same_saddle(mine.saddle, other.saddle)
                assert mine.side_energies == other.side_energies
            else:
                assert mine == other


def test_a_whole_search(butane, ends, tmp_path):
    result = route_search(butane.molecule, ends, 1, SearchSettings(attempts=8, block=4, most_rounds=2))
    back = load_search(through_a_file(store_search(result), tmp_path), butane.molecule.equivalence)
    assert back.routes == result.routes
    assert back.rounds == result.rounds
    assert (back.start, back.end, back.complete, back.missing) == (
        result.start,
        result.end,
        result.complete,
        result.missing,
    )
    for mine, other in zip(back.network.saddles, result.network.saddles, strict=True):
        same_saddle(mine, other)
    for mine, other in zip(back.network.minima, result.network.minima, strict=True):
        assert torch.equal(mine.x, other.x)
        assert (mine.energy, mine.times_found, mine.searched) == (other.energy, other.times_found, other.searched)
