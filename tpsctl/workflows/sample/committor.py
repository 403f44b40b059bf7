"""The committor of the best path, where the recipe asks for it (`validation.committor`): shots after the run is done.

It is what `tpsctl shoot RUN` does without options, with the same files, so that either goes on from the other.
"""

from pathlib import Path
from typing import Any

from tpsctl.errors import RecipeError
from tpsctl.progress import Progress
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.stored_run import StoredRun


def require_shootable(tools: Tools) -> None:
    """Refuse the wish for a committor, before any work, where there will be nothing to shoot from.

    Raises:
        RecipeError: The recipe asks for no files of the paths, or for no energies, without which no top is known.
    """
    recipe = tools.given
    if not recipe.validation.committor:
        return
    if not recipe.output.trajectories:
        raise RecipeError(
            "validation.committor: got no output.trajectories, but shots start from the files of the paths. "
            "Set output.trajectories: [dcd]."
        )
    if recipe.validation.energy is not None or tools.prior.potential is not None:
        return
    if tools.recipe.route is None or recipe.prior.kind != "openmm":
        raise RecipeError(
            "validation.committor: got no validation.energy, but shots start from the highest image of a path, which "
            "only energies tell. Name a force field in validation.energy."
        )


def with_committor(
    manifest: dict[str, Any], *, threads: int | None, max_hours: float | None, progress: Progress
) -> dict[str, Any]:
    """Shoot from the best path of a finished run, or find that it was done; then write its report again.

    Args:
        manifest: The manifest of the run.
        threads: CPU threads; None for all.
        max_hours: Time that is left; None for any time.
        progress: Told what is done.

    Returns:
        The manifest, and as `committor` that of the shots; or why there are none, if they cannot be judged.

    Raises:
        Interrupted: The job was told to stop; the finished blocks of shots are kept.
    """
    from tpsctl.workflows.shoot.run import shoot
    from tpsctl.workflows.shoot.settings import ShootSettings

    directory = Path(manifest["directory"])
    progress.say("committor of the best path by shooting ...")
    settings = ShootSettings(run=directory, threads=threads, max_hours=max_hours, origin=(str(directory),))
    try:
        committor = shoot(settings, progress)
    except RecipeError as error:
        return manifest | {"committor": {"outcome": "not_judged", "verdict": f"No committor was computed: {error}"}}
    if manifest["recipe"]["output"]["report"]:
        from tpsctl.workflows.report.run import write_report

        write_report(StoredRun.read(directory))
    return manifest | {"committor": committor}
