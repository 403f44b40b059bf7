"""The recipe on the command line: loaded before anything heavy is imported, and the words that run it again."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpsctl.cli.given_files import refuse_special

if TYPE_CHECKING:
    from tpsctl.progress import Progress


def load(path: Path, command: str, assignments: list[str] | None) -> tuple[Any, "Progress"]:
    """A valid recipe and the progress to report to; called before torch is imported, so mistakes show at once.

    Raises:
        RecipeError: With one line per mistake.
    """
    refuse_special(path, "a recipe file (YAML)")
    from tpsctl import __version__, console
    from tpsctl.recipe import kinds
    from tpsctl.recipe.loader import load_recipe

    loaded, progress = load_recipe(path, kinds.of_command(command, path), assignments or []), console.make_progress()
    progress.say(f"tpsctl {__version__}: {command} {path}")
    return loaded, progress


def words_again(recipe: Path, assignments: list[str] | None, **options: Any) -> tuple[str, ...]:
    """The words after `tpsctl COMMAND` that run a recipe again, without the options that say where."""
    words = [str(recipe), *(word for each in assignments or [] for word in ("--set", each))]
    given = {name: value for name, value in options.items() if value not in (None, "auto")}
    return tuple(words + [word for name, value in given.items() for word in (f"--{name}", str(value))])


def command_line(command: str, words: tuple[str, ...]) -> str:
    """A line for the shell that runs a command of tpsctl."""
    return shlex.join(("tpsctl", command, *words))
