"""The tables of a report, from the files of a run: routes, saddles, paths, gate, provenance."""

from collections.abc import Iterator, Mapping
from typing import Any

from tpsctl.output.report import ReportTable
from tpsctl.workflows.report.numbers import number
from tpsctl.workflows.stored_run import StoredRun

_CHECKS = {
    "ok_finite": "all coordinates are finite",
    "ok_bonds": "bond lengths",
    "ok_clashes": "contacts of atoms that are not bonded",
    "ok_chirality": "handedness of stereo centers",
    "ok_winding": "order of equivalent atoms around a center",
    "ok_omega": "peptide bonds cis or trans as in the ends",
    "ok_jump": "gaps between neighboring images",
}


def tables_of(run: StoredRun) -> Iterator[ReportTable]:
    """All tables that the run has something for, in the order of the page."""
    manifest = run.manifest
    if manifest.get("routes"):
        yield _routes(manifest)
        yield _saddles(manifest)
    if run.entries:
        if "routes" not in manifest and len({entry.get("channel") for entry in run.entries} - {None}) > 0:
            yield _channels(run)
        yield _paths(run)
        if any(entry.get("tops") for entry in run.entries):
            yield _tops(run)
    if run.images.columns:
        yield _gate(run)
    yield _provenance(manifest)
    yield _inputs(manifest)


def _routes(manifest: dict[str, Any]) -> ReportTable:
    columns = (
        "route",
        "barrier A→B (kJ/mol)",
        "barrier B→A (kJ/mol)",
        "free-energy barrier A→B (kJ/mol)",
        "saddles",
        "highest saddle found",
        "share of the flux",
        "action",
        "least action",
        "gate",
    )
    rows = [
        (
            str(route["number"]),
            number(route["forward"], 2),
            number(route["backward"], 2),
            number(route["free_energy_forward"]),
            " ".join(map(str, route["saddles"])),
            f"{route['times_found']}x",
            _percent(route["flux_share"]),
            number(route["action"], 2),
            number(route["bound"], 2),
            route["valid"],
        )
        for route in manifest["routes"]
    ]
    rates = manifest.get("kinetics")
    note = "Ranked by the highest saddle, the lowest first; numbers of saddles as in saddles.csv."
    if rates:
        note += (
            f" Rate at {rates['temperature_k']:g} K: {rates['rate_forward_per_s']:.2g} per s from A to B, "
            f"{rates['rate_backward_per_s']:.2g} per s back."
        )
    return ReportTable("Routes", columns, rows, note, path_column=0)


def _percent(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _saddles(manifest: dict[str, Any]) -> ReportTable:
    columns = (
        "saddle",
        "energy above A (kJ/mol)",
        "index",
        "|∇U| (kJ/mol/nm)",
        "lowest modes (1/cm)",
        "joins minima",
        "found",
        "on routes",
    )
    rows = [
        (
            str(saddle["saddle"]),
            number(saddle["energy"], 2),
            str(saddle["index"]),
            f"{saddle['gradient']:.1g}",
            ", ".join(f"{wavenumber:.0f}" for wavenumber in saddle["wavenumbers"]),
            " and ".join(map(str, saddle["minima"])),
            f"{saddle['times_found']}x",
            " ".join(map(str, saddle["routes"])),
        )
        for saddle in manifest["saddles"]
    ]
    note = "Index: number of negative curvatures, 1 at a saddle. Negative wavenumbers are those of unstable modes."
    return ReportTable("Saddles of these routes", columns, rows, note)


def _channels(run: StoredRun) -> ReportTable:
    rows = []
    for channel in sorted({entry["channel"] for entry in run.entries if entry.get("channel") is not None}):
        members = [entry for entry in run.entries if entry.get("channel") == channel]
        tops = sorted(b for b in (_barrier(entry, "forward") for entry in members) if b is not None and b == b)
        known = (number(tops[0]), number(tops[len(tops) // 2]), number(tops[-1])) if tops else ("-", "-", "-")
        valid = sum(entry["gate"] == "valid" for entry in members)
        rows.append((str(channel), str(len(members)), str(valid), *known))
    columns = ("channel", "paths", "valid", "lowest barrier (kJ/mol)", "median", "highest")
    note = "Paths whose backbone dihedrals agree at their highest images share a channel; channel 0 has the lowest top."
    return ReportTable("Channels", columns, rows, note)


def _barrier(entry: dict[str, Any], way: str) -> float | None:
    profile = entry.get("minimized") or entry.get("raw")
    return None if profile is None else profile[f"barrier_{way}_kj_per_mol"]


def _paths(run: StoredRun) -> ReportTable:
    kinds = [kind for kind in ("raw", "minimized") if kind in run.entries[0]]
    columns = ["path", "status", "gate", "steps", "action"]
    columns += [f"{kind} {way} (kJ/mol)" for kind in kinds for way in ("A→B", "B→A")]
    known = run.entries[0]["raw"]["dihedrals_deg"] if kinds else {}
    angles = [name for name in known if not name.startswith("omega")]
    columns += [f"{name} at top (°)" for name in angles[:4]]
    has_channels = any(entry.get("channel") is not None for entry in run.entries)
    columns += ["channel"] * has_channels
    rows = []
    for entry in run.entries:
        cells = [str(entry["path"]), entry["status"], entry["gate"], str(entry["steps"])]
        cells.append(number(entry["action"]["total"], 2))
        for kind in kinds:
            cells += [number(entry[kind][f"barrier_{way}_kj_per_mol"]) for way in ("forward", "backward")]
        cells += [number(entry["raw"]["dihedrals_deg"][name], 0) for name in angles[:4]]
        rows.append(cells + [_text(entry, "channel")] * has_channels)
    return ReportTable("Paths", columns, rows, closed="routes" in run.manifest, path_column=0)


def _tops(run: StoredRun) -> ReportTable:
    columns = (
        "path",
        "landscape",
        "highest peak",
        "image",
        "index",
        "|∇U| at the image (kJ/mol/nm)",
        "|∇U| at the stationary point",
        "distance (nm)",
        "lowest modes (1/cm)",
        "saddle (kJ/mol above A)",
        "joins",
    )
    names = {"prior": "prior", "force_field": "force field"}
    rows = []
    for entry in run.entries:
        for name, top in entry.get("tops", {}).items():
            peak = top["peaks"][0] if top["peaks"] else {}
            saddle = top["saddle"] or {}
            modes = ", ".join(number(wavenumber, 0) for wavenumber in peak.get("wavenumbers_per_cm") or [])
            index = peak.get("index")
            rows.append(
                (
                    str(entry["path"]),
                    names.get(name, name),
                    top["words"],
                    _text(peak, "image"),
                    "-" if index is None or index < 0 else str(index),
                    number(peak.get("gradient_kj_per_mol_per_nm"), 2),
                    _short(peak.get("stationary_gradient_kj_per_mol_per_nm")),
                    number(peak.get("distance_nm"), 4),
                    modes or "-",
                    number(saddle.get("energy_kj_per_mol"), 2),
                    " and ".join(map(str, saddle.get("joins") or [])) or "-",
                )
            )
    note = "The stationary point nearest to the highest peak of every path, on each landscape."
    return ReportTable("Tops of the paths", columns, rows, note, closed=len(rows) > 8, path_column=0)


def _text(values: Mapping[str, Any], key: str) -> str:
    """A value of the manifest as text, "-" if it is unknown."""
    value = values.get(key)
    return "-" if value is None else str(value)


def _short(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1g}"


def _gate(run: StoredRun) -> ReportTable:
    """How many images pass every check, and where the first fault is."""
    rows = []
    columns = run.images.columns
    place = list(zip(*(run.images.table.cells(name) for name in ("path", "image")), strict=True))
    for column, words in _CHECKS.items():
        if column not in columns:
            continue
        faults = [where for where, ok in zip(place, columns[column], strict=True) if ok != "true"]
        paths = len({path for path, _ in faults})
        first = f"path {faults[0][0]}, image {faults[0][1]}" if faults else "-"
        rows.append((words, str(len(place) - len(faults)), str(len(faults)), str(paths), first))
    head = ("check", "images that pass", "images that fail", "paths concerned", "first fault")
    return ReportTable("Geometry gate", head, rows, "Checked before any minimization, against the two ends.")


def _provenance(manifest: dict[str, Any]) -> ReportTable:
    versions, machines = manifest["versions"], manifest["machines"]
    rows = [
        ("digest of recipe and inputs", manifest["digest"]),
        ("seed", str(manifest["recipe"]["seed"])),
        ("started", manifest["started"]),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in manifest["seconds"].items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    for machine in machines:
        device = machine["device"] + (f" ({machine['gpu']})" if machine.get("gpu") else "")
        rows.append(("device", f"{device}; {machine['threads']} threads; {machine['system']}"))
    rows += [("energies", _protocol(manifest["energies"]))] if manifest["energies"] else []
    rows += [("prior", _protocol(forces)) for forces in manifest["prior_force_fields"]]
    rows += [
        (key, f"{_value(choice['value'])} ({choice['reason']})") for key, choice in manifest.get("chosen", {}).items()
    ]
    rows += [("note", note) for note in manifest["notes"]]
    return ReportTable("Provenance", ("what", "value"), rows, closed=True)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _protocol(values: dict[str, Any]) -> str:
    how = f" ({values.get('solvent') or 'vacuum'}; {values['platform']} platform, {values['precision']} precision)"
    return " + ".join(map(str, values["force_field"])) + (how if values["platform"] else "")


def _inputs(manifest: dict[str, Any]) -> ReportTable:
    rows = [(key, str(entry["file"]), entry["sha256"]) for key, entry in manifest["inputs"].items()]
    return ReportTable("Input files", ("key", "file", "SHA-256"), rows, closed=True)
