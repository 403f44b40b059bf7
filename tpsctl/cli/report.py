"""The commands that show a finished run: `report`, `plot`."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_facts, working
from tpsctl.cli.given_files import refuse_special, require_place_for_file, require_place_for_folder
from tpsctl.cli.options import JsonOption, OverwriteOption, RunArgument, given_path

DensityOption = Annotated[
    Path | None,
    typer.Option(
        "--density",
        parser=given_path,
        metavar="FILE",
        help="MD of the same atoms (trajectory, or data set of `tpsctl simulate`) to draw behind paths.",
    ),
]


def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="FILE", help="The page.  [default: report.html in RUN]"),
    ] = None,
    density: DensityOption = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Write the report of a finished run: one HTML file that works without a network."""
    refuse_special(run, "the directory of a finished run")
    require_place_for_file(out)
    if density is not None:
        refuse_special(density, "a simulation")
    with working():
        from tpsctl.workflows.report.run import report_run

        place = None if out is None else out.resolve()
        done = report_run(run.resolve(), out=place, density=density, overwrite=overwrite)
    say_facts(done, as_json=json_, title="report")


def plot(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="DIR", help="Folder for them.  [default: figures in RUN]"),
    ] = None,
    density: DensityOption = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Draw the figures of a finished run again, as PNG, SVG and PDF."""
    refuse_special(run, "the directory of a finished run")
    require_place_for_folder(out)
    if density is not None:
        refuse_special(density, "a simulation")
    with working():
        from tpsctl.workflows.plot import plot_run

        place = None if out is None else out.resolve()
        done = plot_run(run.resolve(), out=place, density=density, overwrite=overwrite)
    say_facts(done, as_json=json_, title="figures")
