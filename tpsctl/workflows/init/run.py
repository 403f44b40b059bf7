"""`tpsctl init`: a recipe for two structures and a prior, in which no number needs to be changed.

The recipe is written under a temporary name, loaded, and checked as `tpsctl check` does without trial steps. It gets
its name only if nothing fails, so that everything `check` refuses is refused here with the same words.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.files import atomic, write_text
from tpsctl.progress import Progress
from tpsctl.recipe.endpoints import MoleculeEndpointsSection, StructureEndSection
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.schema import schema_text
from tpsctl.workflows.checkpoints import open_prior
from tpsctl.workflows.init.force_field import force_field_value, relative
from tpsctl.workflows.init.template import SCHEMA_FILE, NewRecipe
from tpsctl.workflows.sample.assemble import System, make_system, why_no_routes
from tpsctl.workflows.sample.assemble.method import MOST_ROUTE_ATOMS
from tpsctl.workflows.sample.check import Finding, Report, check_recipe
from tpsctl.workflows.sample.settings import RunSettings


@dataclass(frozen=True)
class InitOptions:
    """What the user gives beside the two structures.

    Attributes:
        out: The recipe to write.
        checkpoint: A trained prior; None if the force field is the prior.
        force_fields: Force-field files; they are the prior, or with a checkpoint they judge the paths.
        name: Name of the run; None for the name of the recipe or of its folder.
    """

    out: Path
    checkpoint: Path | None = None
    force_fields: tuple[str, ...] = ()
    name: str | None = None


def init_recipe(start: Path, end: Path, options: InitOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Write a recipe for the paths between two structures.

    Args:
        start: Structure A.
        end: Structure B.
        options: The prior, and what to write.
        progress: Told what is checked; None for nobody.

    Returns:
        Facts for the user, as JSON values: recipe, schema, atoms, distance_nm, method, reason, findings, next.

    Raises:
        RecipeError: Neither checkpoint nor force field is given, or the recipe exists.
        TpsctlError: The structures or the prior are not fit for a run; the message is that of `tpsctl check`.
    """
    out = options.out
    _require_free(options)
    _require_prior(options)
    system = make_system(MoleculeEndpointsSection(start=_end(start), end=_end(end)))
    route, reason = _method(options, system)
    recipe = _recipe(start, end, options, system.topology.n_atoms, route)
    with atomic(out) as temporary:
        write_text(temporary, recipe.text)
        loaded = load_recipe(temporary, SampleRecipe)
        report = check_recipe(loaded, RunSettings(device="cpu"), progress, trial=False)
        _require_passed(report)
    schema = out.parent / SCHEMA_FILE
    if not schema.exists():
        write_text(schema, schema_text(SampleRecipe))
    distance = (system.ends[1] - system.ends[0]).square().sum(-1).mean().sqrt().item()
    return {
        "recipe": str(out),
        "schema": str(schema),
        "atoms": system.topology.n_atoms,
        "distance_nm": round(distance, 6),
        "method": _methods(loaded),
        "reason": reason,
        "findings": [{"what": f.what, "verdict": f.verdict, "text": f.text} for f in _remarks(report)],
        "next": [f"tpsctl check {out}", f"tpsctl sample {out}"],
    }


def _require_free(options: InitOptions) -> None:
    if options.out.exists():
        raise RecipeError(f"--out {options.out}: exists already, and init never overwrites. Choose another name.")


def _require_prior(options: InitOptions) -> None:
    if options.checkpoint is None and not options.force_fields:
        raise RecipeError(
            "init: got neither --force-field nor --checkpoint, expected what gives the forces. Give a force field that "
            "OpenMM ships (--force-field amber14-all.xml for peptides), your own for other molecules "
            "(--force-field ligand.xml, system.xml, mol.prmtop or mol.top), or a trained model (--checkpoint FILE)."
        )


def _end(file: Path) -> StructureEndSection:
    return StructureEndSection(structure=file.resolve())


def _method(options: InitOptions, system: System) -> tuple[bool, str]:
    """Whether routes are searched for, and why."""
    atoms = system.topology.n_atoms
    if atoms > MOST_ROUTE_ATOMS:
        return False, f"{atoms} atoms; routes are searched for up to {MOST_ROUTE_ATOMS}"
    if options.checkpoint is not None:
        prior = open_prior(options.checkpoint, system.topology).to(device="cpu", dtype=torch.float64)
        if fault := why_no_routes(system, prior, torch.float64):
            return False, fault
    return True, f"{atoms} atoms, and the prior is an energy landscape"


def _recipe(start: Path, end: Path, options: InitOptions, atoms: int, route: bool) -> NewRecipe:
    folder = options.out.parent
    name = options.name or _default_name(options.out)
    return NewRecipe(
        name=name,
        start=relative(start, folder),
        end=relative(end, folder),
        atoms=atoms,
        checkpoint=None if options.checkpoint is None else relative(options.checkpoint, folder),
        force_field=force_field_value(options.force_fields, folder) if options.force_fields else None,
        route=route,
        directory=_free_directory(folder, name),
    )


def _default_name(out: Path) -> str:
    """The name of the recipe file, or of its folder if the file is only called "recipe"."""
    return out.resolve().parent.name or "recipe" if out.stem == "recipe" else out.stem


def _free_directory(folder: Path, name: str) -> str:
    """A run directory beside the recipe that does not exist yet."""
    word = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    number, directory = 1, f"runs/{word}"
    while (folder / directory).exists():
        number += 1
        directory = f"runs/{word}-{number}"
    return directory


def _require_passed(report: Report) -> None:
    failures = [finding.text for finding in report.findings if finding.verdict == "FAIL"]
    if failures:
        raise TpsctlError("\n".join(failures))


def _methods(recipe: SampleRecipe) -> str:
    """The method of the recipe, or those of its stages."""
    stages = recipe.optimize if isinstance(recipe.optimize, tuple) else (recipe.optimize,)
    return ", ".join(stage.method for stage in stages)


def _remarks(report: Report) -> list[Finding]:
    """What a user should know of the structures and the prior although it does not stop a run."""
    return [f for f in report.findings if f.verdict == "warn" or (f.verdict == "note" and f.what in ("ends", "system"))]
