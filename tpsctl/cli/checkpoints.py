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
    json_: JsonOption = False,
) -> None:
    """Describe a checkpoint: is it safe, sound and fit for paths?"""
    refuse_special(checkpoint, "a checkpoint file, or a folder with one", PriorError)
    with working():
        from tpsctl.cli.show_checkpoint import show
        from tpsctl.workflows import checkpoints

        report = checkpoints.inspect(checkpoint)
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
