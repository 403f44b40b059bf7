"""`tpsctl validate`: the finished paths of a run, judged again with a force field that the user names.

Everything is read from the run directory and written into its folder `validation/<name>`; the run's own files stay as
they are. The gate compares with the ends of the paths, then come raw and minimized energies of every image, and what
the tops are on this force field.
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tpsctl.environment import versions
from tpsctl.errors import RecipeError
from tpsctl.files import require_free, whole_folder
from tpsctl.output import tables
from tpsctl.output.manifest import NAME, file_sha256, write_manifest
from tpsctl.progress import Progress
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.validation.energy import EnergyModel, Restraint, path_energies
from tpsctl.validation.geometry import GeometryGate
from tpsctl.validation.remedies import gate_remedy
from tpsctl.validation.tops import PathTops, TopVerdict
from tpsctl.workflows.force_field import force_field_files, system_source
from tpsctl.workflows.init.force_field import force_field_value
from tpsctl.workflows.sample.assemble import judges_saddles
from tpsctl.workflows.sample.assemble.landscapes import force_field_surface, make_judge
from tpsctl.workflows.sample.judge import PathVerdicts, verdict_of, with_tops
from tpsctl.workflows.sample.saddle_columns import verdict_columns
from tpsctl.workflows.sample.verdict_files import image_columns, profile_entry, protocol_entry
from tpsctl.workflows.stored_run import StoredRun

FOLDER = "validation"
"""Folder of a run directory that holds later validations."""

_KEYS = "validation."
"""The keys that `--set` may change here."""


@dataclass(frozen=True)
class ValidateOptions:
    """What the command line says.

    Attributes:
        force_field: Names of files; empty for the force field of the recipe.
        assignments: Changes of keys of the section `validation`, as given to `--set`.
        name: Name of the folder to write; None for one made of the names of the force field's files.
        overwrite: Whether an earlier validation of this name is replaced.
        threads: CPU threads.
    """

    force_field: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    name: str | None = None
    overwrite: bool = False
    threads: int = 1


def validate_run(directory: Path, options: ValidateOptions, progress: Progress) -> dict[str, Any]:
    """Judge the paths of a run again, write `RUN/validation/<name>/`, and return its manifest.

    Raises:
        RecipeError: There is no finished run of a molecule, or the options are wrong.
        OutputError: The folder to write exists.
        ValidationError: The force field does not fit the molecule.
    """
    started = time.monotonic()
    run = StoredRun.read(directory)
    system, recipe = run.system, _recipe(run, options)
    section = recipe.validation.energy
    assert section is not None
    source = system_source(section.force_field)
    model = EnergyModel(system.topology, source, system.ends[0], platform=section.platform, threads=options.threads)
    folder = directory / FOLDER / _name(options.name, model.made.parts)
    remedy = "Choose another with --name, or replace it with --overwrite."
    require_free(folder, overwrite=options.overwrite, remedy=remedy)
    progress.say(f"validating {len(run.paths)} x {run.paths.shape[1]} images with {model.protocol} ...")
    verdict = verdict_of(
        system,
        GeometryGate(system.topology, system.all_ends).check(run.paths),
        path_energies(model, run.paths, Restraint() if section.minimize else None),
        run.paths,
    )
    if judges_saddles(recipe, system):
        progress.say(f"validating saddles: the tops of {len(run.paths)} paths ...")
        judge = make_judge(recipe, system, force_field_surface(model.made, options.threads))
        verdict = with_tops({"force_field": judge}, recipe.seed, verdict, run.paths, range(len(run.paths)))
    manifest = {
        "name": folder.name,
        "run": {
            "directory": str(directory.resolve()),
            "name": run.name,
            "digest": run.manifest.get("digest"),
            "manifest_sha256": file_sha256(directory / NAME),
        },
        "directory": str(folder),
        **_results(verdict),
        "validation": recipe.validation.model_dump(mode="json"),
        "inputs": _inputs(recipe),
        "notes": list(model.made.notes),
        "seconds": round(time.monotonic() - started, 3),
        "threads": options.threads,
        "versions": versions(),
    }
    _write(folder, verdict, manifest, overwrite=options.overwrite, remedy=remedy)
    return manifest


def _recipe(run: StoredRun, options: ValidateOptions) -> SampleRecipe:
    """The recipe of the run with the force field and the keys that the command line gives."""
    wrong = [text for text in options.assignments if not text.startswith(_KEYS)]
    if wrong:
        raise RecipeError(f"--set {wrong[0]}: only keys of the section validation can be set here.")
    changes = {}
    if options.force_field:
        energy = run.manifest["recipe"]["validation"]["energy"] or {}
        changes = {"validation.energy": energy | {"force_field": _absolute(options.force_field)}}
    recipe = run.recipe(changes, options.assignments)
    if recipe.validation.energy is None:
        raise RecipeError(
            f"{run.directory}: its recipe names no force field in validation.energy. Give one with --force-field."
        )
    return recipe


def _absolute(names: Sequence[str]) -> list[str] | dict[str, str]:
    """The value of the key `force_field`, in which files that exist have absolute names."""
    value = force_field_value(names, Path.cwd())
    if isinstance(value, list):
        return [os.path.realpath(name) if Path(name).is_file() else name for name in value]
    return {key: text if key == "kind" else os.path.realpath(text) for key, text in value.items()}


def _name(given: str | None, parts: Sequence[str]) -> str:
    """The name of the folder: the given one, or the names of the force field's files, e.g. amber14-all+gbn2."""
    if given is None:
        return "+".join(re.sub(r"[^\w.-]+", "-", Path(part).stem) for part in parts)
    if not re.fullmatch(r"[\w][\w.+-]*", given):
        raise RecipeError(f"--name {given}: expected letters, digits and the marks . _ + -, as in amber14+gbn2.")
    return given


def _results(verdict: PathVerdicts) -> dict[str, Any]:
    """The part of the manifest about the paths."""
    paths = [_path_entry(verdict, k) for k in range(len(verdict.verdicts))]
    return {
        "outcome": _outcome(verdict, paths),
        "produced": len(paths),
        "valid": sum(entry["gate"] == "valid" for entry in paths),
        "paths": paths,
        "energies": protocol_entry(verdict.energies),
    }


def _outcome(verdict: PathVerdicts, paths: Sequence[dict[str, Any]]) -> str:
    """The same words as the outcome of a run; an unknown energy counts as not valid."""
    known = all(bool(profile.energy.isfinite().all()) for profile in verdict.profiles.values())
    if not known or any(entry["gate"] != "valid" for entry in paths):
        return "not_valid"
    return "complete" if verdict.all_saddles else "not_saddle"


def _path_entry(verdict: PathVerdicts, k: int) -> dict[str, Any]:
    tops, gate = verdict.tops_of(k), verdict.verdicts[k]
    advice = (gate_remedy(gate), _saddle_remedy(tops))
    entry = {
        "path": k,
        "gate": gate,
        "is_saddle": all(top.is_saddle for top in tops.values()) if tops and gate == "valid" else None,
        "tops": {name: {"words": top.words} | asdict(top) for name, top in tops.items()},
        "remedy": " ".join(text[0].upper() + text[1:] for text in advice if text),
    }
    return entry | {kind: profile_entry(profile, verdict.dihedrals, k) for kind, profile in verdict.profiles.items()}


def _saddle_remedy(tops: Mapping[str, PathTops]) -> str:
    """What to do if the top is no saddle of the force field; "" if it is one, or was not judged."""
    for top in tops.values():
        if top.verdict not in (TopVerdict.SADDLE, TopVerdict.NOT_JUDGED):
            return (
                f"the top is no saddle of this force field: {top.words}. The barriers of this path are upper bounds; "
                f"for the passes of this force field, make it the prior (prior.kind: openmm) of a run of its own."
                f"{_next_saddle(top)}"
            )
    return ""


def _next_saddle(top: PathTops) -> str:
    near = top.saddle
    if near is None:
        return ""
    return f" The saddle found from there: {near.energy_kj_per_mol:.2f} kJ/mol, between {' and '.join(near.joins)}."


def _inputs(recipe: SampleRecipe) -> dict[str, dict[str, str]]:
    """Every file of the force field with its SHA-256."""
    assert recipe.validation.energy is not None
    files = force_field_files("force_field", recipe.validation.energy.force_field, ())
    return {key: {"file": str(file), "sha256": file_sha256(file)} for key, file in files.items()}


def _write(folder: Path, verdict: PathVerdicts, manifest: dict[str, Any], *, overwrite: bool, remedy: str) -> None:
    with whole_folder(folder, overwrite=overwrite, remedy=remedy) as place:
        columns: dict[str, tables.Column] = {
            "path": [str(k) for k in range(len(verdict.verdicts))],
            "gate": verdict.verdicts,
        }
        columns |= tables.energy_columns(verdict.profiles, verdict.dihedrals) | verdict_columns(verdict)
        tables.write_table(place / "paths.csv", columns)
        tables.write_table(place / "images.csv", image_columns(verdict))
        write_manifest(place, manifest)
