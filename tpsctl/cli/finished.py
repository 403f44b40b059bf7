"""The commands for finished runs: `validate`, `diff` and `export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special
from tpsctl.cli.options import JsonOption, OverwriteOption, RunArgument, SetOption, ThreadsOption, given_path
from tpsctl.errors import ExitCode


def validate(
    run: RunArgument,
    force_field: Annotated[
        list[str] | None,
        typer.Option(
            "--force-field",
            metavar="X",
            help="Force-field XML, or one that OpenMM ships (repeatable); or a prmtop, GROMACS top or System XML.  "
            "[default: the recipe's]",
        ),
    ] = None,
    set_: SetOption = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Folder to write below RUN/validation.  [default: the force field's name]"),
    ] = None,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Judge the paths of a finished run again, with another force field; the run stays as it is."""
    refuse_special(run, "the directory of a finished run")
    with working():
        from tpsctl import console
        from tpsctl.environment import default_threads
        from tpsctl.workflows.validate import ValidateOptions, validate_run

        options = ValidateOptions(
            tuple(force_field or ()), tuple(set_ or ()), name, overwrite, threads or default_threads()
        )
        manifest = validate_run(run, options, console.make_progress())
    if json_:
        say_json(manifest)
    else:
        from tpsctl.cli.show_validation import show

        show(manifest)
    raise typer.Exit(ExitCode.COMPLETE if manifest["outcome"] == "complete" else ExitCode.NOT_VALID)


def diff(
    first: RunArgument,
    second: Annotated[
        Path, typer.Argument(parser=given_path, metavar="RUN", help="Directory of another one.", show_default=False)
    ],
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", metavar="R", min=0, help="Relative difference of two numbers of the results that is none."
        ),
    ] = 0.0,
    json_: JsonOption = False,
) -> None:
    """Show what differs between two finished runs: recipe, inputs, versions, results. Exit code 3 if anything does."""
    for run in (first, second):
        refuse_special(run, "the directory of a finished run")
    with working():
        from tpsctl.cli.show_diff import as_json, show
        from tpsctl.workflows.diff import compare_runs

        found = compare_runs(first, second, tolerance=tolerance)
    if json_:
        say_json(as_json((first, second), found))
    else:
        show((first, second), found)
    raise typer.Exit(ExitCode.NOT_VALID if found else ExitCode.COMPLETE)


class ExportFormat(StrEnum):
    """The formats of `export`."""

    ase = "ase"
    gromacs = "gromacs"
    infretis = "infretis"
    openpathsampling = "openpathsampling"
    pdb = "pdb"
    plumed = "plumed"
    xtc = "xtc"


class ReferenceAtoms(StrEnum):
    """The atoms of PLUMED's reference structures."""

    heavy = "heavy"
    backbone = "backbone"
    ca = "ca"
    all = "all"


def export(
    run: RunArgument,
    format_: Annotated[
        list[ExportFormat], typer.Option("--format", help="Format to write; repeatable, each gets a folder.")
    ],
    out: Annotated[
        Path, typer.Option("--out", parser=given_path, metavar="DIR", help="Folder to write; it must not exist yet.")
    ],
    path: Annotated[
        list[int] | None,
        typer.Option("--path", metavar="N", min=0, help="Number of a path; repeatable.  [default: all]"),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=2, help="plumed: most reference structures.")] = 20,
    atoms: Annotated[
        ReferenceAtoms, typer.Option("--atoms", help="plumed: atoms that are superposed and compared.")
    ] = ReferenceAtoms.heavy,
    order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="DIHEDRAL",
            help='infretis: the order parameter, e.g. "phi ALA2".  [default: distance covered along the path]',
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", metavar="K", min=1, help="Temperature of velocities.  [default: the run's]"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write the paths of a finished run in the formats of other programs."""
    refuse_special(run, "the directory of a finished run")
    with working():
        from tpsctl.workflows.export import ExportOptions, export_run

        names = tuple(dict.fromkeys(each.value for each in format_))
        options = ExportOptions(names, tuple(path or ()), images, atoms.value, order, temperature)
        facts = export_run(run, out, options)
    if json_:
        say_json(facts)
    else:
        from tpsctl.console import print_table

        notes = [*(f"note: {note}" for note in facts["notes"]), f"how to use them: {facts['directory']}/README.md"]
        print_table(f"wrote {facts['directory']}", ["file"], [[file] for file in facts["files"]], notes=notes)
