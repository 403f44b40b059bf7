"""The command that makes a page of a finished run: `report`."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_facts, working
from tpsctl.cli.given_files import refuse_special, require_place_for_file
from tpsctl.cli.options import JsonOption, OverwriteOption, given_path

RunArgument = Annotated[
    Path, typer.Argument(parser=given_path, metavar="RUN", help="Directory of a finished run.", show_default=False)
]


def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="FILE", help="The page.  [default: report.html in RUN]"),
    ] = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Write the report of a finished run: one HTML file that works without a network."""
    refuse_special(run, "the directory of a finished run")
    require_place_for_file(out)
    with working():
        from tpsctl.workflows.report.run import report_run

        done = report_run(run.resolve(), out=None if out is None else out.resolve(), overwrite=overwrite)
    say_facts(done, as_json=json_, title="report")
