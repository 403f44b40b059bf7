"""The commands for published checkpoints: `inspect` and `convert`."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_facts, say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_file
from tpsctl.cli.options import JsonOption, OverwriteOption, given_path
from tpsctl.errors import ExitCode, PriorError


def inspect(
    checkpoint: Annotated[
        Path, typer.Argument(parser=given_path, metavar="FILE", help="Checkpoint, or a folder with one.")
    ],
    logp: Annotated[
        list[str] | None,
        typer.Option("--logp", metavar="STRUCTURE", help="Log-density of a structure file, or of a point x,y in nm."),
    ] = None,
    time: Annotated[
        float | None,
        typer.Option("--diffusion-time", metavar="T", min=0, max=1, help="Diffusion time of --logp."),
    ] = None,
    select: Annotated[
        str, typer.Option("--select", metavar="SELECTION", help="Beads of the files of --logp.  [default: all]")
    ] = "all",
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            parser=given_path,
            metavar="RECIPE",
            help="Judge it on the data of this recipe of `tpsctl train`, and store the verdict in it.",
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Describe a checkpoint: is it safe, sound and fit for paths?"""
    refuse_special(checkpoint, "a checkpoint file, or a folder with one", PriorError)
    for structure in logp or []:
        refuse_special(Path(structure), "a structure file, or a point x,y in nm", PriorError)
    if judge:
        refuse_special(judge, "a recipe file (YAML)")
    with working():
        from tpsctl.cli.show_checkpoint import show
        from tpsctl.workflows import checkpoints

        report = checkpoints.inspect(checkpoint)
        if judge and report["safe"]:
            from tpsctl.workflows.train.judge_stored import judge_stored

            judge_stored(checkpoint, judge)
            report = checkpoints.inspect(checkpoint)
        if logp and report["safe"]:
            from tpsctl.workflows.log_density import log_density_report

            report["log_density"] = log_density_report(checkpoint, logp, time, select=select)
    if json_:
        say_json(report)
    else:
        show(report)
    if report["sound"] and report["fit_for_paths"] is not False:
        raise typer.Exit(ExitCode.COMPLETE)
    raise typer.Exit(ExitCode.NOT_VALID if report["safe"] else ExitCode.FAILED)


def convert(
    source: Annotated[
        Path, typer.Argument(parser=given_path, metavar="IN", help="Published checkpoint, folder, or YAML description.")
    ],
    target: Annotated[
        Path, typer.Argument(parser=given_path, metavar="OUT.safetensors", help="Native checkpoint to write.")
    ],
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Turn a published checkpoint into a native file, and show that both give the same scores."""
    refuse_special(source, "a checkpoint file, a folder with one, or its YAML description", PriorError)
    require_place_for_file(target, PriorError)
    with working():
        from tpsctl.workflows import checkpoints

        facts = checkpoints.convert(source, target, overwrite=overwrite)
    say_facts(facts, as_json=json_, title="Converted")
