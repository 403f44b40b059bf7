"""The ensembles that stand beside the paths of a run: controls, and baselines that make paths in other ways.

    straight line      images on straight lines between the ends: the control without any knowledge
    no OM              the recipe's own guesses, of the same seeds, without optimization: the control without an action
    idpp               interpolated distances
    latent             straight interpolation in the noise of the prior, denoised, without an action
    string             the string method (a chain of states) on the force field, from an idpp guess

All have the ends, the number of paths and the number of images of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.base import straight_line
from tpsctl.progress import Progress
from tpsctl.workflows.compare.settings import Baseline, CompareSettings
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.hardware import use_hardware
from tpsctl.workflows.sample.optimization import optimize
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.stored_run import StoredRun

RUN, STRAIGHT, NO_OM = "run", "straight line", "no OM (guess only)"
_CHOSEN = ("path.images", "prior.diffusion_time", "action.dt_ps", "action.friction_per_ps", "action.temperature_k")
"""Numbers that a recipe may leave open and that other paths take over from a run, as far as their section has them."""

LATENT_LEVEL = 0.25
"""Diffusion time of the latent baseline if the recipe's own guess is not latent."""


@dataclass(frozen=True)
class PathEnsemble:
    """Paths made in one way.

    Attributes:
        name: The way, for tables.
        about: The way in words.
        paths: nm.
    """

    name: str
    about: str
    paths: Float[Tensor, "path image bead dim"]


def make_ensembles(run: StoredRun, settings: CompareSettings, progress: Progress) -> list[PathEnsemble]:
    """The run, both controls, and the baselines that were asked for.

    Raises:
        RecipeError: A baseline is impossible for this run.
    """
    found = [
        PathEnsemble(RUN, "the paths of the run", run.paths),
        PathEnsemble(STRAIGHT, "straight lines between the ends of the run's paths", _straight(run)),
        PathEnsemble(NO_OM, *_guesses(run, settings, progress)),
    ]
    for baseline in settings.baselines:
        progress.say(f"baseline {baseline} ...")
        found.append(PathEnsemble(baseline, *_BASELINES[baseline](run, settings, progress)))
    return found


def _straight(run: StoredRun) -> Tensor:
    return torch.stack([straight_line(path[[0, -1]], len(path)) for path in run.paths])


def _guesses(run: StoredRun, settings: CompareSettings, progress: Progress) -> tuple[str, Tensor]:
    method = run.manifest["recipe"]["optimize"]
    minimized = isinstance(method, list) or method["method"] not in ("auto", "route")
    tools = tools_like(run, settings, {} if minimized else {"optimize": {"method": "string"}})
    kind = tools.recipe.path.guess.kind
    return f"the guesses of the run ({kind}), without optimization", _draw(tools, run, progress)


def _idpp(run: StoredRun, settings: CompareSettings, progress: Progress) -> tuple[str, Tensor]:
    guess = {"kind": "idpp"}
    _require_molecule(run, "idpp")
    tools = tools_like(run, settings, {"path.guess": guess, "optimize": {"method": "string"}})
    return "interpolated distances (image dependent pair potential)", _draw(tools, run, progress)


def _latent(run: StoredRun, settings: CompareSettings, progress: Progress) -> tuple[str, Tensor]:
    own = run.manifest["recipe"]["path"]["guess"]
    level = own["level"] if own["kind"] == "latent" else LATENT_LEVEL
    guess = {"kind": "latent", "level": level, "interpolation": "linear"}
    tools = tools_like(run, settings, {"path.guess": guess, "optimize": {"method": "string"}})
    if not tools.prior.generative:
        raise RecipeError(
            f"--baseline latent: the prior of this run ({tools.prior.kind}) is not generative, so it has no noise. "
            "Leave this baseline out."
        )
    return f"straight interpolation in the prior's noise at diffusion time {level:g}", _draw(tools, run, progress)


def _string(run: StoredRun, settings: CompareSettings, progress: Progress) -> tuple[str, Tensor]:
    recipe = run.manifest["recipe"]
    changes: dict[str, Any] = {"optimize": {"method": "string"}, "path.guess": {"kind": "linear"}}
    energy = recipe["validation"]["energy"]
    if run.is_molecule:
        if energy is None and recipe["prior"]["kind"] != "openmm":
            raise RecipeError(
                "--baseline string: the string moves on a force field, and the recipe of this run names none "
                "(validation.energy). Leave this baseline out, or run again with a force field."
            )
        changes["path.guess"] = {"kind": "idpp"}
        if energy is not None:
            temperature = run.temperature_k
            changes["prior"] = {
                "kind": "openmm",
                "force_field": energy["force_field"],
                "temperature_k": temperature,
                "platform": energy["platform"],
            }
    tools = tools_like(run, settings, changes)
    paths, outcomes = optimize(tools, _draw(tools, run, progress), progress)
    converged = sum(status == "converged" for status in outcomes[-1].status)
    kind = changes["path.guess"]["kind"]
    words = f"string method on the force field from guesses of kind {kind}, {converged} of {len(paths)} converged"
    return words, paths


def tools_like(run: StoredRun, settings: CompareSettings, changes: dict[str, Any]) -> Tools:
    """The tools of a run's recipe with the numbers that it chose and some changes, by dotted key."""
    chosen, recipe = run.manifest["chosen"], run.manifest["recipe"]
    taken = {key: chosen[key]["value"] for key in _CHOSEN if key in chosen}
    taken |= {"path.images": run.paths.shape[1], "path.paths": len(run.paths)}
    known = {
        key: value
        for key, value in taken.items()
        for section, _, name in [key.partition(".")]
        if name in recipe[section]
    }
    wanted = run.recipe(known | changes)
    return Tools(wanted, *use_hardware(RunSettings(device=settings.device, threads=settings.threads), wanted))


def _draw(tools: Tools, run: StoredRun, progress: Progress) -> Tensor:
    return draw_guesses(tools, range(len(run.paths)), progress)[0].cpu().double()


def _require_molecule(run: StoredRun, baseline: Baseline) -> None:
    if not run.is_molecule:
        raise RecipeError(
            f"--baseline {baseline}: this run has a point in a model potential, and the baseline needs a molecule. "
            "Leave it out."
        )


_BASELINES: dict[Baseline, Callable[[StoredRun, CompareSettings, Progress], tuple[str, Tensor]]] = {
    "idpp": _idpp,
    "latent": _latent,
    "string": _string,
}
