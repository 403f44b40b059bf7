"""Loads the recipe that the command line names, and writes the command line that runs it again."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpsctl.cli.given_files import refuse_special

if TYPE_CHECKING:
    from tpsctl.progress import Progress


def load(path: Path, command: str, assignments: list[str] | None) -> tuple[Any, "Progress"]:
    """Load a recipe, and make the progress to report to.

    It is called before torch is imported, so that mistakes are reported at once.

    Raises:
        RecipeError: The recipe is invalid; the message has one line per mistake.
    """
    refuse_special(path, "a recipe file (YAML)")
    from tpsctl import __version__, console
    from tpsctl.recipe import kinds
    from tpsctl.recipe.loader import load_recipe

    loaded, progress = load_recipe(path, kinds.of_command(command, path), assignments or []), console.make_progress()
    progress.say(f"tpsctl {__version__}: {command} {path}")
    return loaded, progress


def words_again(recipe: Path, assignments: list[str] | None, **options: Any) -> tuple[str, ...]:
    """The words after `tpsctl COMMAND` that run a recipe again.

    `options` are the options to repeat, by name; an option that is None or "auto" is left out.
    """
    words = [str(recipe), *(word for each in assignments or [] for word in ("--set", each))]
    given = {name: value for name, value in options.items() if value not in (None, "auto")}
    return tuple(words + [word for name, value in given.items() for word in (f"--{name}", str(value))])


def command_line(command: str, words: tuple[str, ...]) -> str:
    """A line for the shell that runs a command of tpsctl."""
    return shlex.join(("tpsctl", command, *words))
