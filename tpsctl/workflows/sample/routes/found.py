"""What is kept of a finished search: its network with all vibrations, and the path of every route with its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tpsctl.jobs.batches import StoredBatch
from tpsctl.landscape.equivalence import Equivalence
from tpsctl.landscape.kinetics import NetworkKinetics, network_kinetics
from tpsctl.landscape.modes import Modes
from tpsctl.landscape.pinned_path import PinnedPath
from tpsctl.landscape.search_state import SearchResult
from tpsctl.optimize.state import named, within
from tpsctl.workflows.sample.judge import PathVerdicts
from tpsctl.workflows.sample.routes.stored import load_search, store_search

_NUMBERS = ("pinned", "action", "bound", "largest_jump")
"""Attributes of a `PinnedPath` that are kept as JSON facts."""


@dataclass(frozen=True)
class FoundRoutes:
    """A finished search with its routes.

    Attributes:
        search: Network, routes and the record of every round.
        paths: The path of every route.
        verdict: What validation says of the paths; None if there are no routes.
        modes: Vibrations of all minima, and of all saddles, without their directions.
        seconds: Wall time spent on the path of each route, s.
        facts: Wall time of the parts, and the machine; no part of the result.
    """

    search: SearchResult
    paths: tuple[PinnedPath, ...]
    verdict: PathVerdicts | None
    modes: tuple[list[Modes], list[Modes]]
    seconds: tuple[float, ...]
    facts: dict[str, Any]

    @property
    def zero(self) -> float:
        """Energy of A's minimum on the landscape that was searched, kJ/mol."""
        return self.search.network.minima[self.search.start].energy

    @property
    def is_good(self) -> bool:
        """Whether the search is complete, and the path of its lowest route passes the gate."""
        return self.search.complete and self.verdict is not None and bool(self.verdict.gate.path_passes[0])

    def kinetics(self, temperature_k: float) -> NetworkKinetics:
        """Free energies, rates and the flux from A to B at a temperature, K."""
        search = self.search
        return network_kinetics(
            search.network, search.start, search.end, search.routes, *self.modes, temperature_k=temperature_k
        )

    @classmethod
    def from_stored(cls, stored: StoredBatch, equivalence: Equivalence) -> "FoundRoutes":
        """The routes that `store_found` stored."""
        tensors, facts = stored
        paths = tuple(_path(within(tensors, f"path_{k}."), about) for k, about in enumerate(facts["paths"]))
        verdict = PathVerdicts.from_stored(within(tensors, "verdict."), facts["verdict"]) if paths else None
        search = load_search((within(tensors, "search."), facts["search"]), equivalence)
        modes = _modes(within(tensors, "modes.minima.")), _modes(within(tensors, "modes.saddles."))
        return cls(search, paths, verdict, modes, tuple(facts["seconds"]), facts["facts"])


def _path(curves: dict[str, Tensor], about: dict[str, Any]) -> PinnedPath:
    return PinnedPath(
        x=curves["x"],
        energy=curves["energy"],
        arc_length=curves["arc_length"],
        pinned=tuple(about["pinned"]),
        action=about["action"],
        bound=about["bound"],
        largest_jump=about["largest_jump"],
    )


def store_modes(minima: Sequence[Modes], saddles: Sequence[Modes]) -> StoredBatch:
    """The vibrations of all minima and saddles, without their directions."""
    tensors = {}
    for name, modes in (("minima", minima), ("saddles", saddles)):
        if modes:
            tensors[f"{name}.wavenumbers"] = torch.stack([each.wavenumbers for each in modes])
            tensors[f"{name}.log_inertia"] = torch.tensor([each.log_inertia for each in modes], dtype=torch.float64)
    return tensors, {}


def _modes(tensors: dict[str, Tensor]) -> list[Modes]:
    if not tensors:
        return []
    pairs = zip(tensors["wavenumbers"], tensors["log_inertia"].tolist(), strict=True)
    return [Modes(wavenumbers, torch.empty(0, len(wavenumbers)), log_inertia) for wavenumbers, log_inertia in pairs]


def store_path(path: PinnedPath, verdict: PathVerdicts, seconds: float) -> StoredBatch:
    """The path of one route with its verdict."""
    tensors, about = verdict.store()
    facts = {"path": {name: getattr(path, name) for name in _NUMBERS}, "verdict": about, "seconds": seconds}
    curves = {"x": path.x, "energy": path.energy, "arc_length": path.arc_length}
    return named("path", curves) | named("verdict", tensors), facts


def store_found(
    search: SearchResult, paths: Sequence[StoredBatch], modes: StoredBatch, facts: dict[str, Any]
) -> StoredBatch:
    """A search, the paths of its routes (each as `store_path` stored it) and all vibrations as one."""
    tensors, about = store_search(search)
    whole = named("search", tensors) | named("modes", modes[0])
    for k, (of_path, _) in enumerate(paths):
        whole |= named(f"path_{k}", within(of_path, "path."))
    kept: dict[str, Any] = {"search": about, "paths": [f["path"] for _, f in paths], "verdict": None, "facts": facts}
    if paths:
        parts = [PathVerdicts.from_stored(within(t, "verdict."), f["verdict"]) for t, f in paths]
        judged, said = PathVerdicts.joined(parts).store()
        whole |= named("verdict", judged)
        kept["verdict"] = said
    return whole, kept | {"seconds": [f["seconds"] for _, f in paths]}
