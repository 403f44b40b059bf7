"""Shows the result of a search for routes: one line per route, the lowest first, and what to know about the search."""

from typing import Any

from tpsctl.console import print_table

_MOST_SADDLES = 6
"""Saddles of a route that are listed; of longer routes the highest ones."""

EXACT_COPIES = 0.01
"""Energies of relabeled copies of a state that differ by less, kJ/mol, are not worth a word."""


def show_routes(manifest: dict[str, Any], notes: list[str]) -> None:
    """Print the routes and their saddles.

    Args:
        manifest: The manifest of a search for routes.
        notes: What to say below the tables.
    """
    if not manifest["routes"]:
        print_table(f"{manifest['name']}: no route found", ["outcome"], [[manifest["outcome"]]], notes=notes)
        return
    saddles = {saddle["saddle"]: saddle for saddle in manifest["saddles"]}
    columns = [
        "route",
        "A->B",
        "B->A",
        "saddles (kJ/mol above A)",
        "found",
        "dG A->B",
        "flux",
        "action\n(bound)",
        "path",
    ]
    rows = [_row(route, saddles) for route in manifest["routes"]]
    judged = [path["tops"].get("force_field") for path in manifest["paths"]]
    if any(judged):
        columns.append("top on the\nforce field")
        rows = [[*row, _on_force_field(top)] for row, top in zip(rows, judged, strict=True)]
    print_table(f"{manifest['name']}: barriers in kJ/mol", columns, rows)
    columns = ["saddle", "above A", "index", "|grad U|", "lowest modes (1/cm)", "joins minima", "found", "on routes"]
    rows = [_saddle_row(saddle) for saddle in manifest["saddles"]]
    print_table("saddles of these routes", columns, rows, notes=notes)


def search_notes(manifest: dict[str, Any]) -> list[str]:
    """What to know about the search, in sentences."""
    search, rates = manifest["search"], manifest["kinetics"]
    head = (
        f"search: {search['attempts']} attempts in {search['rounds']} rounds found {search['minima']} minima and "
        f"{search['saddles']} saddles ({search['force_evaluations']:,} force evaluations)"
    )
    copies = search["copies_alike_within_kj_per_mol"]
    if copies > EXACT_COPIES:
        head += (
            f"; this model tells equivalent atoms apart, so states that differ in their labels and by less than "
            f"{copies:.2f} kJ/mol count as one"
        )
    unseen = f"{100 * search['missing']:.0f} % of finds below the highest saddle would be new (Good-Turing estimate)"
    if not manifest["routes"]:
        return [head, "NOT COMPLETE: A and B are not connected. Raise optimize.max_rounds."]
    kinetics = (
        f"rates at {rates['temperature_k']:g} K: A->B {rates['rate_forward_per_s']:.2g}, "
        f"B->A {rates['rate_backward_per_s']:.2g} per s ({rates['assumptions']})"
    )
    if search["complete"]:
        return [head, f"complete: the routes did not change any more, and about {unseen}", kinetics]
    return [head, f"NOT COMPLETE: a lower route may exist: about {unseen}. Raise optimize.max_rounds.", kinetics]


def _row(route: dict[str, Any], saddles: dict[int, dict[str, Any]]) -> list[str]:
    energies = [saddles[k]["energy"] for k in route["saddles"]]
    listed = sorted(range(len(energies)), key=lambda k: -energies[k])[:_MOST_SADDLES]
    shown = ", ".join(f"{energies[k]:.2f}" for k in sorted(listed))
    more = f" and {len(energies) - len(listed)} lower" if len(energies) > len(listed) else ""
    return [
        str(route["number"]),
        f"{route['forward']:.2f}",
        f"{route['backward']:.2f}",
        shown + more,
        f"{route['times_found']}x",
        f"{route['free_energy_forward']:.1f}",
        _percent(route["flux_share"]),
        f"{route['action']:.1f}\n({route['bound']:.1f})",
        route["valid"].partition(" ")[0].rstrip(":"),
    ]


def _on_force_field(top: dict[str, Any] | None) -> str:
    """What the top of a path is on the force field of validation.energy, and that landscape's own saddle, kJ/mol."""
    if top is None:
        return "not judged"
    saddle = top["saddle"] if top["words"] == "saddle" else None
    return top["words"] if saddle is None else f"saddle {saddle['energy_kj_per_mol']:.2f}"


def _percent(share: float) -> str:
    """A share of the flux in percent, with as many digits as tell it from nothing."""
    return "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _saddle_row(saddle: dict[str, Any]) -> list[str]:
    return [
        str(saddle["saddle"]),
        f"{saddle['energy']:.2f}",
        str(saddle["index"]),
        f"{saddle['gradient']:.1g}",
        ", ".join(f"{w:.0f}" for w in saddle["wavenumbers"]),
        " - ".join(map(str, saddle["minima"])),
        f"{saddle['times_found']}x",
        " ".join(map(str, saddle["routes"])),
    ]
