"""The command that turns C-alpha paths into all-atom structures: `reconstruct`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special
from tpsctl.cli.options import JsonOption, OverwriteOption, given_path
from tpsctl.errors import ExitCode


class Backend(StrEnum):
    """The back-ends; they are repeated here because importing them slows `--help`."""

    cgback = "cgback"
    pulchra = "pulchra"


def reconstruct(
    run: Annotated[
        Path, typer.Argument(parser=given_path, metavar="RUN", help="Run directory with paths of C-alpha beads.")
    ],
    backend: Annotated[
        Backend, typer.Option("--backend", help="cgback draws better side chains, pulchra is faster.")
    ] = Backend.cgback,
    path: Annotated[
        list[int] | None, typer.Option("--path", metavar="K", min=0, help="Number of a path; repeatable.  [default: 0]")
    ] = None,
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Only every N-th image, and the last.")] = 1,
    force_field: Annotated[
        list[str] | None,
        typer.Option(
            "--force-field",
            metavar="X",
            help="OpenMM XML file; repeatable.  [default: amber14-all.xml implicit/gbn2.xml]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of random numbers.")] = 2026,
    smooth: Annotated[
        bool, typer.Option("--smooth/--independent", help="Carry side chains along the path, or not.")
    ] = True,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Make all-atom structures of C-alpha paths, judge them, and write RUN/all_atom."""
    refuse_special(run, "the directory of a finished run")
    with working():
        from tpsctl import console
        from tpsctl.workflows.reconstruct import FORCE_FIELD, ReconstructionSettings, reconstruct_run

        settings = ReconstructionSettings(
            backend=backend.value,
            paths=tuple(dict.fromkeys(path or [0])),
            every=every,
            force_field=tuple(force_field or FORCE_FIELD),
            seed=seed,
            smooth=smooth,
            overwrite=overwrite,
        )
        manifest = reconstruct_run(run, settings, console.make_progress())
    if json_:
        say_json({name: manifest[name] for name in ("outcome", "directory", "backend", "energies", "paths")})
    else:
        _show(manifest)
    raise typer.Exit(ExitCode.COMPLETE if manifest["outcome"] == "complete" else ExitCode.NOT_VALID)


def _show(manifest: dict[str, Any]) -> None:
    from tpsctl.console import print_table

    columns = ["path", "structures", "images", "not L", "cis", "clashes", "flicker\nnm", "chi\njumps", "lowest\nkJ/mol"]
    columns += ["highest\nkJ/mol", "seconds"]
    rows = [
        row
        for entry in manifest["paths"]
        for row in (
            _row(entry, "reconstructed", "raw", "reconstruction"),
            _row(entry, "written", "minimized", "minimization"),
        )
    ]
    made, energies = manifest["backend"], manifest["energies"]
    smooth = "carried along the path" if manifest["settings"]["smooth"] else "of every image on its own"
    notes = [
        f"path {entry['path']}: gate {entry['gate']}; C-alpha atoms at most {entry['ca_rmsd_nm']:.4f} nm from the beads"
        for entry in manifest["paths"]
    ]
    notes += [
        f"back-end: {made['package']} {made['version']}; side chains {smooth}, then minimized with the beads held",
        f"energies: {' + '.join(energies['force_field'])} ({energies['solvent'] or 'vacuum'}; "
        f"{energies['platform']} platform, {energies['precision']} precision); raw is before the minimization",
        f"outcome: {'complete' if manifest['outcome'] == 'complete' else 'NOT VALID: the files are there'}",
        f"files: {manifest['directory']}",
    ]
    title = f"{manifest['name']}: {manifest['residues']} residues, {manifest['atoms']} atoms"
    print_table(title, columns, rows, notes=notes)


def _row(entry: dict[str, Any], structures: str, energy: str, seconds: str) -> list[str]:
    counts, shaking, energies = entry[structures], entry["flicker"][structures], entry["energy_kj_per_mol"][energy]
    return [
        str(entry["path"]),
        structures,
        str(entry["images"]),
        *(str(counts[name]) for name in ("inverted_centers", "cis_bonds", "clashes")),
        f"{shaking['mean_nm']:.4f}",
        str(shaking["jumps"]),
        *(f"{energies[name]:.4g}" for name in ("lowest", "highest")),
        f"{entry['seconds'][seconds]:.1f}",
    ]
