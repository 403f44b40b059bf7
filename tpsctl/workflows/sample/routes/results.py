"""Writes what a search for routes leaves: paths, tables, structures of saddles and minima, the manifest."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tpsctl.action.base import ActionTerms
from tpsctl.environment import versions
from tpsctl.landscape.kinetics import NetworkKinetics
from tpsctl.optimize.outcome import Status
from tpsctl.output import route_tables, tables
from tpsctl.output.trajectory import write_frames, write_path, write_topology
from tpsctl.workflows.sample.assemble import path_seed
from tpsctl.workflows.sample.beyond_data import beyond_data
from tpsctl.workflows.sample.routes.found import FoundRoutes
from tpsctl.workflows.sample.routes.molecule import Landscape
from tpsctl.workflows.sample.routes.rows import Numbering, Rows
from tpsctl.workflows.sample.saddle_columns import verdict_columns
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.sample.verdict_files import image_columns, profile_entry, protocol_entry


def write_routes(folder: Path, tools: Tools, landscape: Landscape, found: FoundRoutes) -> dict[str, Any]:
    """Write all files of a search but its manifest into a new folder; the manifest without the run's identity."""
    recipe, topology, numbers = tools.recipe, tools.system.topology, Numbering(found)
    network, kinetics = found.search.network, found.kinetics(landscape.temperature_k)
    write_topology(folder, topology, network.minima[found.search.start].x, name=recipe.name)
    for k, path in enumerate(found.paths):
        write_path(folder, k, path.x, topology, dt_ps=None, formats=recipe.output.trajectories)
    rows = Rows.of(found, numbers, kinetics)
    _write_tables(folder, found, rows)
    if network.saddles:
        x = torch.stack([network.saddles[k].x for k in numbers.saddles])
        write_frames(folder / "saddles.dcd", x, title=f"{recipe.name}: saddles in the order of saddles.csv")
    x = torch.stack([network.minima[i].x for i in numbers.minima])
    write_frames(folder / "minima.dcd", x, title=f"{recipe.name}: minima in the order of minima.csv")
    return _manifest(tools, landscape, found, rows) | {"kinetics": _kinetics_entry(numbers, kinetics)}


def _write_tables(folder: Path, found: FoundRoutes, rows: Rows) -> None:
    tables.write_table(folder / "routes.csv", route_tables.route_columns(rows.routes))
    tables.write_table(folder / "saddles.csv", route_tables.saddle_columns(rows.saddles))
    tables.write_table(folder / "minima.csv", route_tables.minimum_columns(rows.minima))
    verdict = found.verdict
    if verdict is None:
        return
    columns = tables.path_columns(
        status=_statuses(found),
        terms=action_terms(found),
        steps=[len(found.search.rounds)] * len(found.paths),
        gradient_max=torch.full((len(found.paths),), math.nan, dtype=torch.float64),
        profiles=verdict.profiles,
        dihedrals=verdict.dihedrals,
        valid=verdict.gate.verdicts,
        seconds=torch.tensor(found.seconds, dtype=torch.float64),
    )
    tables.write_table(folder / "paths.csv", columns | verdict_columns(verdict))
    columns = image_columns(verdict)
    length = torch.stack([path.arc_length for path in found.paths])
    level = torch.stack([path.energy for path in found.paths]) - found.zero
    columns |= {"arc_length_sqrt_amu_nm": length.flatten(), "landscape_energy_kj_per_mol": level.flatten()}
    columns |= {"stationary": [_kind(path.pinned, i) for path in found.paths for i in range(len(path.x))]}
    tables.write_table(folder / "images.csv", columns)


def action_terms(found: FoundRoutes) -> ActionTerms:
    """The terms of the geometric action, in which the steps in time are such that both are equal."""
    half = torch.tensor([path.action / 2 for path in found.paths], dtype=torch.float64)
    nothing = torch.zeros_like(half)
    return ActionTerms(half, half.clone(), nothing, nothing.clone(), nothing.clone())


def _kind(pinned: tuple[int, ...], image: int) -> str:
    """Minima and saddles alternate among the pinned images."""
    return "" if image not in pinned else ("saddle" if pinned.index(image) % 2 else "minimum")


def _statuses(found: FoundRoutes) -> list[str]:
    return [Status.CONVERGED if found.search.complete else Status.MAX_STEPS] * len(found.paths)


def _outcome(found: FoundRoutes) -> str:
    if found.verdict is not None and not bool(found.verdict.gate.path_passes[0]):
        return "not_valid"
    return "complete" if found.is_good else "not_converged"


def _manifest(tools: Tools, landscape: Landscape, found: FoundRoutes, rows: Rows) -> dict[str, Any]:
    """The manifest without the run's identity."""
    search, recipe = found.search, tools.recipe
    valid = 0 if found.verdict is None else int(found.verdict.gate.path_passes.sum())
    seconds = found.facts["seconds"]
    force_field = found.facts["prior_force_field"]
    return {
        "name": recipe.name,
        "outcome": _outcome(found),
        "requested": recipe.path.paths * len(search.rounds),
        "produced": len(found.paths),
        "valid": valid,
        "converged": len(found.paths) if search.complete else 0,
        "paths": [_path_entry(tools, found, k) for k in range(len(found.paths))],
        "routes": [vars(row) for row in rows.routes],
        "saddles": [{"saddle": k} | vars(row) for k, row in enumerate(rows.saddles) if row.routes],
        "search": {
            "complete": search.complete,
            "rounds": len(search.rounds),
            "attempts": recipe.path.paths * len(search.rounds),
            "minima": len(search.network.minima),
            "saddles": len(search.network.saddles),
            "missing": search.missing,
            "force_evaluations": search.rounds[-1].evaluations if search.rounds else 0,
            "temperature_k": landscape.temperature_k,
            "copies_alike_within_kj_per_mol": landscape.molecule.equivalence.relabeled.energy,
        },
        "chosen": _chosen(tools, found),
        "energies": protocol_entry(None if found.verdict is None else found.verdict.energies),
        "prior_force_fields": [] if force_field is None else [force_field],
        "notes": (*tools.notes, *beyond_data(tools, [path.x for path in found.paths])),
        "batches": 1,
        "started": found.facts["started"],
        "seconds": seconds | {"total": round(sum(seconds.values()), 3)},
        "versions": versions(),
        "machines": [found.facts["machine"]],
    }


def _chosen(tools: Tools, found: FoundRoutes) -> dict[str, Any]:
    """The numbers of a search that the recipe may leave open, with the reasons."""
    kept = {key: found.facts["chosen"][key] for key in ("prior.diffusion_time", "action.temperature_k")}
    images = len(found.paths[0].x) if found.paths else None
    why = "given in the recipe, or more where the halves of a route need it"
    if tools.recipe.path.images == "auto":
        why = "as many for every saddle of the longest route, but not fewer than for two"
    return kept | {"path.images": {"value": images, "reason": why}}


def _kinetics_entry(numbers: Numbering, kinetics: NetworkKinetics) -> dict[str, Any]:
    """Rates from A to B and back by the flux through the network, with the assumptions behind them."""
    dominant = kinetics.dominant_saddle
    return {
        "temperature_k": kinetics.temperature_k,
        "rate_forward_per_s": kinetics.rate_forward_per_s,
        "rate_backward_per_s": kinetics.rate_backward_per_s,
        "apparent_barrier_kj_per_mol": kinetics.apparent_barrier,
        "dominant_saddle": None if dominant is None else numbers.saddle(dominant),
        "share_of_other_routes": kinetics.other_share,
        "assumptions": "classical harmonic vibrations, rigid rotation, no recrossing (Eyring), and no saddle missed",
    }


def _path_entry(tools: Tools, found: FoundRoutes, k: int) -> dict[str, Any]:
    verdict, terms = found.verdict, action_terms(found)
    assert verdict is not None
    return {
        "path": k,
        "seed": path_seed(tools.recipe.seed, k),
        "status": str(_statuses(found)[k]),
        "remedy": "" if found.search.complete else REMEDY,
        "gate": verdict.gate.verdicts[k],
        "steps": len(found.search.rounds),
        "action": {"total": terms.total[k].item(), "bound": found.paths[k].bound},
        "largest_over_mean_gap": found.paths[k].largest_jump,
        "tops": {name: {"words": top.words} | asdict(top) for name, top in verdict.tops_of(k).items()},
    } | {kind: profile_entry(profile, verdict.dihedrals, k) for kind, profile in verdict.profiles.items()}


REMEDY = (
    "the search was not complete after optimize.max_rounds rounds: a lower route may exist. Raise "
    "optimize.max_rounds, and run again with --overwrite or another --out."
)
