"""Finds and networks as plain tensors and JSON facts, which is how they are kept in files."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from tpsctl.jobs.batches import StoredBatch
from tpsctl.landscape.attempts import BlockResult
from tpsctl.landscape.equivalence import Equivalence
from tpsctl.landscape.network import Find, Minimum, Network, Saddle
from tpsctl.landscape.routes import Route
from tpsctl.landscape.search_state import RoundRecord, SearchResult


def store_block(result: BlockResult) -> StoredBatch:
    """The finds of a block; `load_block` gives them back."""
    finds = [find for of_attempt in result.finds for find in of_attempt if isinstance(find, Find)]
    tensors = _stack_saddles([find.saddle for find in finds])
    numbers = iter(range(len(finds)))
    attempts = [
        [{"known": find} if isinstance(find, int) else {"new": next(numbers)} for find in of_attempt]
        for of_attempt in result.finds
    ]
    chained = [x for of_attempt in result.minima for x, _ in of_attempt]
    if chained:
        tensors |= {"chained": torch.stack(chained)}
    facts = {
        "attempts": attempts,
        "chained_energies": [[energy for _, energy in of_attempt] for of_attempt in result.minima],
        "saddles": [_saddle_facts(find.saddle) for find in finds],
        "side_energies": [list(find.side_energies) for find in finds],
        "evaluations": result.evaluations,
    }
    return tensors, facts


def load_block(stored: StoredBatch) -> BlockResult:
    """The finds that `store_block` stored."""
    tensors, facts = stored
    finds = [
        Find(_saddle(tensors, about, k), (energies[0], energies[1]))
        for k, (about, energies) in enumerate(zip(facts["saddles"], facts["side_energies"], strict=True))
    ]
    attempts = tuple(
        tuple(each["known"] if "known" in each else finds[each["new"]] for each in of_attempt)
        for of_attempt in facts["attempts"]
    )
    chained = iter(tensors.get("chained", ()))
    minima = tuple(tuple((next(chained), energy) for energy in energies) for energies in facts["chained_energies"])
    return BlockResult(attempts, facts["evaluations"], minima)


def store_search(result: SearchResult) -> StoredBatch:
    """The outcome of a search; `load_search` gives it back."""
    network = result.network
    tensors = _stack_saddles(network.saddles) | {"minima": network.positions}
    facts = {
        "start": result.start,
        "end": result.end,
        "minima": [{k: v for k, v in vars(minimum).items() if k != "x"} for minimum in network.minima],
        "saddles": [_saddle_facts(saddle) for saddle in network.saddles],
        "routes": [asdict(route) for route in result.routes],
        "rounds": [asdict(record) for record in result.rounds],
        "complete": result.complete,
        "missing": result.missing,
    }
    return tensors, facts


def load_search(stored: StoredBatch, equivalence: Equivalence) -> SearchResult:
    """The outcome that `store_search` stored."""
    tensors, facts = stored
    network = Network(equivalence)
    network.minima = [Minimum(x, **about) for x, about in zip(tensors["minima"], facts["minima"], strict=True)]
    network.saddles = [_saddle(tensors, about, k) for k, about in enumerate(facts["saddles"])]
    routes = tuple(Route(tuple(r["minima"]), tuple(r["saddles"]), r["top"]) for r in facts["routes"])
    rounds = tuple(RoundRecord(**record) for record in facts["rounds"])
    return SearchResult(network, facts["start"], facts["end"], routes, rounds, facts["complete"], facts["missing"])


def _stack_saddles(saddles: Sequence[Saddle]) -> dict[str, Tensor]:
    if not saddles:
        return {}
    return {"saddles": torch.stack([s.x for s in saddles]), "sides": torch.stack([s.sides for s in saddles])}


def _saddle_facts(saddle: Saddle) -> dict[str, Any]:
    return {name: value for name, value in vars(saddle).items() if name not in ("x", "sides")}


def _saddle(tensors: dict[str, Tensor], about: dict[str, Any], k: int) -> Saddle:
    pairs = {name: tuple(about[name]) for name in ("ends", "wavenumbers")}
    return Saddle(x=tensors["saddles"][k], sides=tensors["sides"][k], **(about | pairs))
