"""What to believe of a run and why, in sentences, from its manifest."""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpsctl.output.report import Evidence, ReportVerdict
from tpsctl.workflows.report.numbers import count


def verdict_of(manifest: dict[str, Any], dynamics: Sequence[Evidence] = (), *, replaced: bool = False) -> ReportVerdict:
    """The verdict of a run: its outcome, what speaks for it and against it, and what to do.

    Args:
        manifest: The manifest of a finished run.
        dynamics: What shooting and comparison say of its paths.
        replaced: Whether there are shots that began at paths which are no longer those of the run.
    """
    routes = "routes" in manifest
    headline = _route_headline(manifest) if routes else _path_headline(manifest)
    if any(part.speaks_for is False for part in dynamics):
        headline += " Dynamics speaks against it: see the first doubts."
    reasons = [*(_route_reasons(manifest) if routes else _path_reasons(manifest)), *_tops(manifest)]
    doubts = [*(_route_doubts(manifest) if routes else _path_doubts(manifest)), *_common_doubts(manifest)]
    reasons = [part.verdict for part in dynamics if part.speaks_for] + reasons
    doubts = [part.verdict for part in sorted(dynamics, key=_open) if not part.speaks_for] + doubts
    if replaced:
        doubts.append("There are shots from earlier paths, which are not shown. Repeat them with --overwrite.")
    if not any(part.title.startswith("Committor") for part in dynamics):
        doubts.append("No committor was computed: no dynamics has tested whether the tops divide A from B.")
    return ReportVerdict(manifest["outcome"], headline, reasons, doubts, remedies(manifest))


def _open(part: Evidence) -> bool:
    """Whether a section decides nothing; such ones come after those that speak against the paths."""
    return part.speaks_for is None


def remedies(manifest: dict[str, Any]) -> list[str]:
    """Every remedy once, with the paths that it is for."""
    found: dict[str, list[int]] = {}
    for entry in manifest["paths"]:
        if entry.get("remedy"):
            tops = tuple(top["words"] for top in entry.get("tops", {}).values())
            kind = (entry["status"], entry["gate"].partition(" ")[0], *tops)
            found.setdefault("|".join(kind), []).append(entry["path"])
    texts = {entry["path"]: entry.get("remedy", "") for entry in manifest["paths"]}
    return [f"{_named(of)}: {texts[of[0]]}" for of in found.values()]


def _named(paths: list[int]) -> str:
    """E.g. "Path 3 and 2 paths more"."""
    return f"Path {paths[0]}" + (f" and {count(len(paths) - 1, 'path')} more" if paths[1:] else "")


def _path_headline(manifest: dict[str, Any]) -> str:
    produced, valid, converged = (manifest[name] for name in ("produced", "valid", "converged"))
    match manifest["outcome"]:
        case "complete":
            judged = any(entry.get("tops") for entry in manifest["paths"])
            unjudged = "; the top was not judged." if produced == 1 else "; their tops were not judged."
            end = ", and every top that was judged is a saddle." if judged else unjudged
            return f"{_all(produced)} converged and passed the geometry gate{end}"
        case "not_saddle":
            return f"{_all(produced)} converged and passed the geometry gate, but a top is no saddle: see below."
        case "not_converged":
            return f"{produced - converged} of {count(produced, 'path')} stopped before the action was a minimum."
    return f"{produced - valid} of {count(produced, 'path')} contain an image that the geometry gate refuses."


def _all(number: int) -> str:
    return "The path" if number == 1 else f"All {number} paths"


def _route_headline(manifest: dict[str, Any]) -> str:
    routes = manifest["routes"]
    if not routes:
        return "No route connects A and B."
    lowest = routes[0]
    barrier = f"the lowest of {count(len(routes), 'route')} climbs {lowest['forward']:.1f} kJ/mol from A to B"
    match manifest["outcome"]:
        case "complete":
            return f"The search found its routes and nothing new any more: {barrier}."
        case "not_converged":
            return f"The search was not over, and a lower route may exist: so far {barrier}."
    return f"The path of the lowest route fails the geometry gate: {lowest['valid']}."


def _path_reasons(manifest: dict[str, Any]) -> list[str]:
    found = []
    if manifest["converged"]:
        found.append(
            f"{_of(manifest, 'converged')} converged: the gradient of the action vanishes within the tolerances."
        )
    if manifest["valid"]:
        found.append(f"{_of(manifest, 'valid')} passed every check of the geometry gate against the two ends.")
    channels = Counter(entry["channel"] for entry in manifest["paths"] if entry.get("channel") is not None)
    if channels and manifest["produced"] > 1:
        found.append(
            f"From different guesses, {channels[0]} of {count(manifest['produced'], 'path')} take the channel with the "
            f"lowest top; {_others(len(channels) - 1)}."
        )
    barriers = [_energy(entry) for entry in manifest["paths"] if entry["gate"] == "valid"]
    known = [value for value in barriers if value is not None]
    if known and manifest["outcome"] in ("complete", "not_saddle"):
        spread = f" in the median (from {min(known):.1f} to {max(known):.1f})" if len(known) > 1 else ""
        found.append(f"The barrier from A to B is {statistics.median(known):.1f} kJ/mol{spread}.")
    return found


def _of(manifest: dict[str, Any], what: str) -> str:
    """E.g. "15 of 16 paths"; of one path, "The path"."""
    produced = manifest["produced"]
    return "The path" if produced == 1 else f"{manifest[what]} of {produced} paths"


def _others(number: int) -> str:
    if number == 0:
        return "no other channel was found"
    return "1 other channel was found" if number == 1 else f"{number} other channels were found"


def _energy(entry: dict[str, Any]) -> float | None:
    """The forward barrier of a path, of minimized energies if there are any, kJ/mol."""
    profile = entry.get("minimized") or entry.get("raw")
    return None if profile is None else profile["barrier_forward_kj_per_mol"]


def _tops(manifest: dict[str, Any]) -> list[str]:
    """On which landscapes how many tops are saddles."""
    names = {"prior": "the prior's own energy", "force_field": "the force field"}
    sentences = []
    for name, words in names.items():
        judged = [entry["tops"][name] for entry in manifest["paths"] if name in entry.get("tops", {})]
        saddles = [top for top in judged if top["words"] == "saddle"]
        if not saddles:
            continue
        energies = [top["saddle"]["energy_kj_per_mol"] for top in saddles if top["saddle"] is not None]
        lowest = f", the lowest at {min(energies):.1f} kJ/mol above A" if energies else ""
        sentences.append(f"{len(saddles)} of {count(len(judged), 'top')} are saddles of {words}{lowest}.")
    return sentences


def _route_reasons(manifest: dict[str, Any]) -> list[str]:
    search = manifest["search"]
    found = [
        f"{count(search['attempts'], 'attempt')} in {count(search['rounds'], 'round')} found "
        f"{count(search['minima'], 'minimum').replace('minimums', 'minima')} and {count(search['saddles'], 'saddle')}, "
        "each with its gradient and its number of unstable modes verified."
    ]
    if manifest["routes"]:
        lowest = manifest["routes"][0]
        found.append(
            f"The highest saddle of the lowest route was found {count(lowest['times_found'], 'time')}; the route "
            f"carries {100 * lowest['flux_share']:.1f} % of the flux from A to B."
        )
        found.append(
            f"Its action {lowest['action']:.2f} is close to the least one for its energies, {lowest['bound']:.2f}."
        )
    if search["complete"]:
        found.append(f"Of further finds about {100 * search['missing']:.0f} % would be new (Good-Turing estimate).")
    return found


def _path_doubts(manifest: dict[str, Any]) -> list[str]:
    found = []
    faults = Counter(
        fault.split(maxsplit=1)[0].rstrip(":")
        for entry in manifest["paths"]
        if entry["gate"] != "valid"
        for fault in entry["gate"].split("; ")
    )
    if faults:
        found.append(
            "The gate refused: " + ", ".join(f"{name} in {count(n, 'path')}" for name, n in faults.items()) + "."
        )
    stopped = manifest["produced"] - manifest["converged"]
    if stopped and manifest["outcome"] != "not_converged":
        found.append(f"{count(stopped, 'path')} stopped before the action was a minimum.")
    if not any(entry.get("tops") for entry in manifest["paths"]):
        found.append(
            "Whether the highest images are near saddles was not judged, so barriers are upper bounds at best."
        )
    found += _other_tops(manifest)
    found.append("What paths are found depends on their guesses: a lower channel may exist that no guess was near.")
    return found


def _other_tops(manifest: dict[str, Any]) -> list[str]:
    names = {"prior": "the prior's own energy", "force_field": "the force field"}
    found = []
    for name, words in names.items():
        judged = [entry["tops"][name]["words"] for entry in manifest["paths"] if name in entry.get("tops", {})]
        others = Counter(word for word in judged if word not in ("saddle", "not judged"))
        found += [f"On {words}, {count(n, 'top')}: {word}." for word, n in others.items()]
    return found


def _route_doubts(manifest: dict[str, Any]) -> list[str]:
    found = []
    search = manifest["search"]
    if not search["complete"]:
        found.append(
            f"Of further finds below the highest saddle about {100 * search['missing']:.0f} % would be new "
            "(Good-Turing estimate)."
        )
    if "kinetics" in manifest and manifest["routes"]:
        found.append(f"Rates and shares of the flux assume: {manifest['kinetics']['assumptions']}.")
    invalid = sum(entry["gate"] != "valid" for entry in manifest["paths"])
    if invalid:
        found.append(f"{count(invalid, 'route')} of {len(manifest['paths'])} fail the geometry gate.")
    return found + _other_tops(manifest)


def _common_doubts(manifest: dict[str, Any]) -> list[str]:
    found = [f"Note of the run: {_without_folders(note, manifest)}" for note in manifest["notes"]]
    energies = manifest["energies"]
    if energies is not None and not energies.get("solvent") and energies["platform"]:
        found.append("Energies are potential energies without a solvent; they are not free energies.")
    elif energies is None:
        found.append("No energies were computed, so nothing is said of barriers.")
    return found


def _without_folders(note: str, manifest: dict[str, Any]) -> str:
    """A note in which input files have their names only; the provenance has their places."""
    for entry in manifest.get("inputs", {}).values():
        note = note.replace(str(entry["file"]), Path(str(entry["file"])).name)
    return note
