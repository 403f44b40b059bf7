"""`tpsctl simulate`: recipe -> molecular dynamics -> data set; a killed run goes on where it was."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tpsctl.errors import ExitCode, Interrupted, RecipeError
from tpsctl.jobs.interruption import TimeLimit, telling_how_to_go_on
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.snapshots import remove_leftovers
from tpsctl.molecule.openmm_system import StructureBasedModel
from tpsctl.progress import Progress, Update
from tpsctl.recipe import simulate as models
from tpsctl.recipe.loader import require_files
from tpsctl.simulation.dataset import Dataset
from tpsctl.simulation.molecule import Molecule, build_capped_alanine
from tpsctl.simulation.simulate import (
    MetadynamicsSampling,
    ParallelBiasSampling,
    PlainSampling,
    SimulationProgress,
    SimulationSettings,
    run_simulation,
)
from tpsctl.validation.ensemble.transitions import find_transitions
from tpsctl.workflows.force_field import system_source

UNFOLDED_BELOW, FOLDED_HALF, FOLDED_ABOVE = 0.25, 0.5, 0.8
"""Fractions of native contacts Q: a chain is unfolded up to the first and folded from the last on; a frame counts as
folded above the middle one."""


def simulate_recipe(
    recipe: models.SimulateRecipe,
    *,
    out: Path | None,
    workers: int | None,
    progress: Progress,
    max_hours: float | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Make the data set of a recipe; facts about it.

    Args:
        recipe: What is simulated.
        out: Data set file instead of the recipe's.
        workers: Processes at once; None for all cores.
        progress: Told about finished parts.
        max_hours: Time after which to stop, resumable; None for none.
        command: The command that goes on, for messages.

    Raises:
        Interrupted: Told to stop; the finished parts are kept.
    """
    require_files(recipe)
    file = (out or recipe.output.data).resolve()
    if file.suffix != ".npz":
        raise RecipeError(f"output.data: got {file.name}, expected a file that ends in .npz.")
    parts, limit = file.with_name(f"{file.name}.parts"), TimeLimit(max_hours)
    with ExitStack() as stack, telling_how_to_go_on(command), nullcontext() if file.exists() else _held(parts):
        tasks: dict[str, Update] = {}

        def on_progress(report: SimulationProgress) -> None:
            if report.stage not in tasks:
                stack.close()
                tasks[report.stage] = stack.enter_context(progress.task(report.stage, round(report.total_ps)))
            tasks[report.stage](round(report.done_ps), "ps")
            if limit.near() and report.done_ps < report.total_ps:
                what = f"stopped after {report.done_ps:g} ps of {report.stage}, all saved."
                raise Interrupted(what, ExitCode.RESUMABLE)

        progress.say(f"simulating {recipe.name} into {file}: reading the molecule, building the system ...")
        settings = simulation_settings(recipe)
        dataset = run_simulation(settings, load_molecule(recipe), file, workers=workers, on_progress=on_progress)
    field = settings.force_field
    return {
        "name": recipe.name,
        "file": str(file),
        "atoms": dataset.topology.n_atoms,
        "frames": len(dataset),
        "trajectories": recipe.production.trajectories,
        "temperature_k": dataset.temperature_k,
        "biased": dataset.bias is not None,
    } | (_folding(field, dataset) if isinstance(field, StructureBasedModel) else {})


def _folding(model: StructureBasedModel, dataset: Dataset) -> dict[str, Any]:
    """How much of a data set of a structure-based model is folded, and how often the chain folded and unfolded."""
    q = model.contacts.fraction(dataset.positions.double())
    transitions = find_transitions(q, dataset.trajectories, low=UNFOLDED_BELOW, high=FOLDED_ABOVE)
    count = sum(transition.forward for transition in transitions)
    return {
        "native_contacts": len(model.contacts.pairs),
        "mean_fraction_of_native_contacts": round(q.mean().item(), 4),
        "folded_fraction": round((q > FOLDED_HALF).double().mean().item(), 4),
        "folding_events": count,
        "unfolding_events": len(transitions) - count,
    }


@contextmanager
def _held(parts: Path) -> Iterator[None]:
    """Hold the folder of parts, so that no other process works on it."""
    with leased(Lease(parts / "lease.json")):
        remove_leftovers(parts)
        yield
    shutil.rmtree(parts, ignore_errors=True)  # not reached after an error, when the parts are needed


def load_molecule(recipe: models.SimulateRecipe) -> Molecule:
    """The built-in molecule, or the one of the structure file, read as the ends of a path are."""
    section = recipe.molecule
    if not isinstance(section, models.MoleculeFileSection):
        return build_capped_alanine()
    from tpsctl.endpoints.load import load_structure

    structure = load_structure(section.structure, select=section.select)
    return Molecule(structure.topology, structure.x.numpy())


def simulation_settings(recipe: models.SimulateRecipe) -> SimulationSettings:
    """The settings of `tpsctl.simulation` that a recipe asks for."""
    molecule, dynamics, production = recipe.molecule, recipe.dynamics, recipe.production
    return SimulationSettings(
        select=molecule.select if isinstance(molecule, models.MoleculeFileSection) else "all",
        structure=str(molecule.structure) if isinstance(molecule, models.MoleculeFileSection) else molecule.kind,
        force_field=system_source(dynamics.force_field),
        sampling=_sampling(recipe.sampling),
        trajectories=production.trajectories,
        duration_ps=production.duration_ps,
        equilibration_ps=production.equilibration_ps,
        frame_interval_ps=production.frame_interval_ps,
        chunk_ps=production.chunk_ps,
        dt_ps=dynamics.dt_ps,
        friction_per_ps=dynamics.friction_per_ps,
        temperature_k=dynamics.temperature_k,
        seed=recipe.seed,
        platform=dynamics.platform,
    )


def _sampling(section: models.SamplingSection) -> PlainSampling | MetadynamicsSampling | ParallelBiasSampling:
    if isinstance(section, models.PlainSamplingSection):
        return PlainSampling()
    settings = section.model_dump(exclude={"kind", "biases"})
    if isinstance(section, models.ParallelBiasSamplingSection):
        return ParallelBiasSampling(biases=tuple(bias.collective_variables for bias in section.biases), **settings)
    return MetadynamicsSampling(**settings)
