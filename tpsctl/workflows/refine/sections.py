"""The recipes of the stages of a round, made from the recipe of the whole."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.recipe.guide import GuidedMoleculeSection, GuideOutputSection, GuideRecipe, PathGuidanceSection
from tpsctl.recipe.guide_success import (
    AnyStructuresSection,
    CommittorSuccessSection,
    ForceFieldShotsSection,
    GuideFilesSection,
    GuidePointsSection,
    PriorShotsSection,
)
from tpsctl.recipe.path import TrajectoryGuessSection
from tpsctl.recipe.prior import CheckpointPriorSection, GaussianPriorSection
from tpsctl.recipe.refine import RefineRecipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.states import StatesSection
from tpsctl.workflows.shoot.examined import ExaminedRun


def require_guided(paths: SampleRecipe, recipe: RefineRecipe) -> None:
    """Refuse paths whose prior cannot be sampled with guidance, or which do not take guesses for a second round.

    Raises:
        RecipeError: It is one.
    """
    where = recipe.sample
    if not isinstance(paths.prior, CheckpointPriorSection | GaussianPriorSection):
        raise RecipeError(
            f"{where}: prior.kind: {paths.prior.kind}: samples of this prior cannot be guided. Train a checkpoint on "
            "it (tpsctl train), and use that."
        )
    if not paths.stages and recipe.rounds > 1:
        raise RecipeError(
            f"{where}: optimize: a search for routes makes its own guesses, so that later rounds would repeat the "
            "first one. Name a minimizer, e.g. optimize: {method: levenberg_marquardt}, or set rounds: 1."
        )


def sample_recipe(
    base: SampleRecipe, number: int, folder: Path, guesses: Sequence[Path], topology: Path | None
) -> SampleRecipe:
    """The recipe of the paths of a round, whose result goes to a folder; without guesses, those of the recipe.

    Every round has a seed of its own. With the same one, a path that comes back would have the same samples again.
    """
    formats = tuple(dict.fromkeys(("dcd", *base.output.trajectories)))
    changes: dict[str, Any] = {
        "seed": base.seed + number - 1,
        "output": base.output.model_copy(update={"directory": folder, "trajectories": formats}),
    }
    if guesses:
        assert topology is not None
        guess = TrajectoryGuessSection(kind="trajectory", trajectories=tuple(guesses), topology=topology)
        changes["path"] = base.path.model_copy(update={"guess": guess})
    return base.model_copy(update=changes)


def guide_recipe_of(
    recipe: RefineRecipe,
    run: ExaminedRun,
    shots: dict[str, Any],
    *,
    guides: AnyStructuresSection,
    ends: AnyStructuresSection,
    folder: Path,
) -> GuideRecipe:
    """The recipe of the guided samples of a round; `shots` says what dynamics and states the shots from images had."""
    section, of_run, dynamics = recipe.guide, run.tools.given, shots["dynamics"]
    prior = of_run.prior
    assert isinstance(prior, CheckpointPriorSection | GaussianPriorSection)
    given: ForceFieldShotsSection | PriorShotsSection
    if dynamics["dynamics"] == "overdamped":
        prior = prior.model_copy(update={"diffusion_time": dynamics["diffusion_time"]})
        given = PriorShotsSection(kind="prior", dt_ps=dynamics["dt_ps"], longest_ps=dynamics["longest_ps"])
    else:
        assert of_run.validation.energy is not None
        numbers = {name: dynamics[name] for name in ("temperature_k", "friction_per_ps", "dt_ps", "longest_ps")}
        given = ForceFieldShotsSection(kind="force_field", force_field=of_run.validation.energy.force_field, **numbers)
    success = CommittorSuccessSection(
        kind="committor",
        ends=ends,
        states=StatesSection.model_validate_json(json.dumps(shots["states"])),
        dynamics=given,
        low=section.low,
        high=section.high,
        shots=section.shots,
    )
    guide = PathGuidanceSection(
        kind="path",
        guides=guides,
        success=success,
        strength=section.strength,
        bandwidth=section.bandwidth,
        tune=section.tune,
        sensitivity=False,
    )
    molecule = GuidedMoleculeSection(structure=run.stored.topology_file) if run.tools.given_system.is_molecule else None
    return GuideRecipe(
        version=1,
        name=f"{recipe.name}: guided samples",
        seed=of_run.seed,
        molecule=molecule,
        prior=prior,
        guide=guide,
        sampling=section.sampling,
        output=GuideOutputSection(directory=folder),
    )


def structures_section(x: Tensor, file: Path | None) -> AnyStructuresSection:
    """Structures as a section: their file, or the points themselves where there is none, nm."""
    if file is not None:
        return GuideFilesSection(structures=(file,))
    return GuidePointsSection(points_nm=tuple(tuple(point) for point in x[:, 0].tolist()))
