"""Both ends after a minimization, for `endpoints.minimize`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from tpsctl.errors import EndpointError
from tpsctl.molecule.geometry import superpose
from tpsctl.recipe.prior import OpenMMPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.validation.ends import report_ends
from tpsctl.validation.remedies import LANDSCAPES
from tpsctl.validation.saddle import TopJudge
from tpsctl.workflows.sample.assemble.landscapes import LARGEST
from tpsctl.workflows.sample.assemble.system import System


def end_landscape(recipe: SampleRecipe, landscapes: Mapping[str, TopJudge]) -> str | None:
    """The landscape to whose minima the ends should belong: a force field if there is one, else the prior's energy."""
    order = ("prior", "force_field") if isinstance(recipe.prior, OpenMMPriorSection) else ("force_field", "prior")
    return next((name for name in order if name in landscapes), None)


def minimize_ends(
    recipe: SampleRecipe, system: System, make_landscapes: Callable[[], Mapping[str, TopJudge]]
) -> System:
    """The system with its ends minimized, and notes that say how far they moved.

    Args:
        recipe: The recipe.
        system: The ends as given.
        make_landscapes: Makes the landscapes with these ends.

    Raises:
        EndpointError: Nothing can minimize the ends, no minimum is found, or both ends fall into the same one.
    """
    if system.topology.n_atoms > LARGEST:
        raise EndpointError(
            f"endpoints.minimize: got {system.topology.n_atoms} atoms, expected at most {LARGEST}. Minimize the "
            "structures with an MD program before."
        )
    landscapes = make_landscapes()
    name = end_landscape(recipe, landscapes)
    if name is None:
        raise EndpointError(
            "endpoints.minimize: nothing can minimize the ends: the prior's score is no gradient of a known energy, "
            "and there is no validation.energy. Name a force field there, or set endpoints.minimize: false."
        )
    judge = landscapes[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the last digits of the ends are the same in all processes of a run
    try:
        reports, minima = report_ends(judge, system.ends), judge.minima_of_ends
    finally:
        torch.set_num_threads(threads)
    lost = [report.words for report in reports if not report.found]
    if lost:
        raise EndpointError(f"endpoints.minimize: {'; '.join(lost)}.")
    if judge.same_state(minima.x, (float(minima.energy[0]), float(minima.energy[1]))):
        raise EndpointError(
            f"endpoints.minimize: both ends fall into the same minimum of {LANDSCAPES[name]} "
            f"(A moves by {reports[0].distance_nm:.4f} nm, B by {reports[1].distance_nm:.4f} nm), so that there is no "
            "transition between them. Give another end, or set endpoints.minimize: false."
        )
    masses = torch.tensor(system.topology.masses_amu, dtype=torch.float64)
    first = superpose(minima.x[0], system.ends[0], masses)
    ends = torch.stack((first, superpose(minima.x[1], first, masses)))
    moved = ", ".join(
        f"{report.name} moved by {report.distance_nm:.4f} nm (rms per atom) and {-report.energy_kj_per_mol:+.2f} kJ/mol"
        for report in reports
    )
    return replace(system, ends=ends, notes=(*system.notes, f"minimized on {LANDSCAPES[name]}: {moved}"))
