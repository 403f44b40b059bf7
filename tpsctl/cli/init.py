"""The command that writes a recipe: `init`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_file
from tpsctl.cli.options import JsonOption
from tpsctl.errors import EndpointError, PriorError


def init(
    start: Annotated[Path, typer.Argument(metavar="A", help="Structure file of one end.", show_default=False)],
    end: Annotated[Path, typer.Argument(metavar="B", help="Structure file of the other end.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="RECIPE", help="Recipe to write; it must not exist yet.")],
    force_field: Annotated[
        list[str] | None,
        typer.Option("--force-field", metavar="X", help="Force-field file, or one that OpenMM ships; repeatable."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="F", help="Trained model; a force field then judges paths.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the run.  [default: that of the recipe]", show_default=False)
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write a recipe for two structures of a molecule, in which no number needs to be changed."""
    for file in (start, end):
        refuse_special(file, "a structure file", EndpointError)
    if checkpoint is not None:
        refuse_special(checkpoint, "a checkpoint file, or a folder with one", PriorError)
    require_place_for_file(out)
    with working():
        from tpsctl import console
        from tpsctl.workflows.init.run import InitOptions, init_recipe

        options = InitOptions(out, checkpoint, tuple(force_field or ()), name)
        facts = init_recipe(start, end, options, console.make_progress())
    if json_:
        say_json(facts)
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    from tpsctl.console import print_table

    rows = [
        ["molecule", f"{facts['atoms']} atoms; the ends are {facts['distance_nm']:.4g} nm apart"],
        ["method", f"{facts['method']}: {facts['reason']}"],
        *([finding["verdict"], finding["text"]] for finding in facts["findings"]),
    ]
    notes = ["next:", *(f"  {_quoted(command)}" for command in facts["next"])]
    print_table(f"wrote {facts['recipe']}", ["what", "found"], rows, notes=notes)


def _quoted(command: str) -> str:
    """A command for the shell; only the last word, the recipe, may need quotes."""
    program, verb, recipe = command.split(" ", 2)
    return shlex.join((program, verb, recipe))
