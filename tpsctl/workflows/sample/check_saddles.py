"""Findings of `check` on ends as minima, and on whether the tops of paths will be judged."""

from collections.abc import Iterator

from tpsctl.validation.remedies import LANDSCAPES
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.plausible import Finding
from tpsctl.workflows.sample.tools import Tools


def check_ends(tools: Tools) -> Iterator[Finding]:
    """Whether both ends are minima, where something can tell."""
    for report in tools.end_reports:
        yield Finding("ends", "ok" if report.is_minimum else "warn", report.words)


def check_saddles(tools: Tools) -> Iterator[Finding]:
    """Whether tops will be judged, and on which landscapes, or why not."""
    if not tools.system.is_molecule:
        assemble.judges_saddles(tools.recipe, tools.system)  # raises if the recipe wants them
        return
    if tools.recipe.route:
        yield Finding("saddles", "ok", "routes pass saddles, each verified when it is found")
        return
    if tools.judges_saddles:
        names = ["force_field"] if assemble.prior_is_force_field(tools.recipe) else list(tools.landscapes)
        where = " and ".join(LANDSCAPES[name] for name in names)
        yield Finding("saddles", "ok", f"the top of every path will be judged: whether it is a saddle of {where}")
        return
    yield Finding("saddles", "note", f"tops of paths will not be judged: {_why_not(tools)}")


def _why_not(tools: Tools) -> str:
    if tools.recipe.validation.saddle is False:
        return "validation.saddle is false"
    fault = assemble.why_no_saddles(tools.system)
    if fault:
        return fault
    if tools.system.topology.n_atoms > assemble.MOST_ATOMS:
        count = tools.system.topology.n_atoms
        return f"{count} atoms, by default at most {assemble.MOST_ATOMS}. Set validation.saddle: true to judge them"
    return "the prior's score is no gradient of a known energy, and there is no validation.energy"
