"""The commands about this installation and for other programs: `schema`, `doctor`, `completion`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.options import JsonOption
from tpsctl.errors import ExitCode


class RecipeKind(StrEnum):
    """The kinds of recipe that `schema` accepts; they are repeated here because importing recipes slows `--help`."""

    sample = "sample"
    simulate = "simulate"
    train = "train"
    train_potential = "train_potential"
    train_snapshots = "train_snapshots"
    guide = "guide"
    refine = "refine"


class Shell(StrEnum):
    """The shells that `completion` can write for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def schema(
    kind: Annotated[RecipeKind, typer.Argument(help="Kind of recipe.")] = RecipeKind.sample,
) -> None:
    """Print the JSON schema of recipes, for editors and scripts."""
    from tpsctl.recipe import kinds
    from tpsctl.recipe.schema import schema_text

    typer.echo(schema_text(kinds.MODELS[kind.value]), nl=False)


def doctor(json_: JsonOption = False) -> None:
    """Show versions, devices and platforms of this installation."""
    with working():
        from tpsctl.console import print_table
        from tpsctl.workflows.doctor import examine

        found = examine()
    if json_:
        say_json(found)
    else:
        rows = [[name, _as_cell(value)] for name, value in found.items() if name != "problems"]
        print_table("This installation", ["what", "found"], rows, notes=found["problems"])
    raise typer.Exit(ExitCode.FAILED if found["problems"] else ExitCode.COMPLETE)


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)]) -> None:
    """Print the script that completes tpsctl's commands and options."""
    from typer.completion import get_completion_script

    typer.echo(get_completion_script(prog_name="tpsctl", complete_var="_TPSCTL_COMPLETE", shell=shell.value))


def _as_cell(value: Any) -> str:
    """A fact as the text of a table's cell."""
    if isinstance(value, dict):
        return "\n".join(f"{name} {version}" for name, version in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
