"""Findings of `check` on a search for routes: whether both ends are states of their own, and how long it may take."""

import time
from collections.abc import Callable, Iterator

from tpsctl.landscape.search import begin
from tpsctl.workflows.sample.estimate import Estimate, duration, resident_bytes
from tpsctl.workflows.sample.plausible import Finding
from tpsctl.workflows.sample.routes.molecule import make_landscape
from tpsctl.workflows.sample.routes.rounds import same_minimum
from tpsctl.workflows.sample.tools import Tools

TYPICAL_ROUNDS = 10
"""Rounds of most searches of molecules with 14 to 32 atoms."""

BATCH = 4
"""Structures whose forces are computed together, as in a block of attempts."""

FORCES_PER_ATTEMPT, HESSIANS_PER_ATTEMPT = 400, 12
"""Forces and Hessians of an attempt, by searches of ACE-PRO-NME and of alanine dipeptide."""


def check_routes(tools: Tools) -> Iterator[tuple[Finding, Estimate | None]]:
    """Findings, the last one with the estimate of what the search needs."""
    landscape = make_landscape(tools)
    surface = landscape.molecule.surface
    state = begin(landscape.molecule, landscape.ends)
    if state.start == state.end:
        yield Finding("routes", "FAIL", same_minimum(tools)), None
        return
    a, b = (state.network.minima[i].energy for i in (state.start, state.end))
    yield Finding("routes", "ok", f"both ends reach minima of their own, B {b - a:+.2f} kJ/mol above A"), None
    x = landscape.ends[:1].repeat(BATCH, 1, 1)
    forces = _seconds(lambda: surface.energy_gradient(x)) / BATCH
    hessian = _seconds(lambda: surface.hessian(x)) / BATCH
    recipe = tools.recipe
    assert recipe.route is not None
    each = FORCES_PER_ATTEMPT * forces + HESSIANS_PER_ATTEMPT * hessian
    of_round = recipe.path.paths * each
    text = f"search: {1e3 * forces:.2g} ms for forces, {1e3 * hessian:.2g} ms for a Hessian, so typically "
    text += f"{duration(min(TYPICAL_ROUNDS, recipe.route.max_rounds) * of_round)} of work, and at most "
    text += f"{duration(recipe.route.max_rounds * of_round)} ({recipe.route.max_rounds} rounds); all cores share it"
    yield Finding("cost", "ok", text), Estimate(recipe.route.max_rounds * each, resident_bytes(), 0.0)


def _seconds(work: Callable[[], object]) -> float:
    """The shorter time of two calls, because the first one may still set things up."""
    times = []
    for _ in range(2):
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return min(times)
