"""The commands for runs on a Slurm cluster: `submit` and `status`."""

import difflib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_facts, say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_folder
from tpsctl.cli.given_recipe import load
from tpsctl.cli.options import JsonOption, OutOption, RecipeArgument, SetOption, given_path
from tpsctl.errors import RecipeError

_ALIKE = 0.85
"""An option this similar (difflib) to one of tpsctl's counts as misspelt; no option of sbatch is so similar."""


def submit(
    context: typer.Context,
    recipe: RecipeArgument,
    sbatch: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- SBATCH_OPTION",
            help="Options of sbatch, e.g. --time=02:00:00 --mem=4G --cpus-per-task=2 --gres=gpu:1 --partition=main; "
            "also without the --, after RECIPE.",
            show_default=False,
        ),
    ] = None,
    shards: Annotated[int, typer.Option("--shards", metavar="N", min=1, help="Tasks of the job array.")] = 1,
    out: OutOption = None,
    set_: SetOption = None,
    max_parallel: Annotated[int | None, typer.Option(metavar="K", min=1, help="Most tasks at a time.")] = None,
    requeues: Annotated[int, typer.Option(min=0, help="How often an unfinished task may go on in a new job.")] = 20,
    setup: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="Shell line before tpsctl, e.g. 'module load x'.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="How to start tpsctl on a node.  [default: this installation]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts; write and submit nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Run the shards of a recipe as a Slurm job array, and gather them."""
    recipe, words = _recipe_among([str(recipe), *(sbatch or [])])
    _refuse_misspelt(words, context)
    require_place_for_folder(out)
    loaded, progress = load(recipe, "submit", set_)
    with working():
        from tpsctl.jobs.slurm.options import read_options
        from tpsctl.workflows.sample import submit as flow

        changes, lines = tuple(set_ or ()), tuple(setup or ())
        options = read_options(words)
        settings = flow.SubmitSettings(shards, out, changes, options, lines, command, max_parallel, requeues)
        if dry_run:
            scripts = flow.scripts_of(recipe, loaded, settings, progress)
        else:
            facts = flow.submit_recipe(recipe, loaded, settings, progress)
    if dry_run:
        for name, text in scripts.items():
            typer.echo(f"# {name}\n{text}")
    else:
        say_facts(facts, as_json=json_, title="Submitted")


def status(
    directory: Annotated[
        Path, typer.Argument(parser=given_path, metavar="DIR", help="Run directory.", show_default=False)
    ],
    json_: JsonOption = False,
) -> None:
    """Show what has become of the shards of a run, and how to go on."""
    refuse_special(directory, "a run directory")
    if directory.is_file():
        raise RecipeError(f"{directory}: this is a file. Expected a run directory.")
    with working():
        from tpsctl.cli.show_status import show
        from tpsctl.jobs.overview import look

        overview = look(directory)
    if json_:
        say_json(overview.as_json())
    else:
        show(overview)
    raise typer.Exit(overview.exit_code)


def _recipe_among(words: list[str]) -> tuple[Path, list[str]]:
    """Separate the recipe from the options of sbatch.

    The recipe is the first word, or the only YAML file if options come before it.

    Raises:
        RecipeError: The recipe cannot be distinguished from the values of options.
    """
    if not words[0].startswith("-"):
        return Path(words[0]), words[1:]
    files = [word for word in words if not word.startswith("-") and Path(word).suffix in (".yaml", ".yml")]
    if len(files) == 1:
        return Path(files[0]), [word for word in words if word != files[0]]
    line = shlex.join(["tpsctl", "submit", "RECIPE", *words])
    raise RecipeError(f"{words[0]}: give the recipe before the options of sbatch, as in: {line}")


def _refuse_misspelt(words: Sequence[str], context: typer.Context) -> None:
    """Refuse options for sbatch that look like options of tpsctl.

    Raises:
        RecipeError: An option is one of tpsctl's in the wrong place, or is probably a misspelt one.
    """
    own = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
    for word in words:
        name = word.partition("=")[0]
        meant = difflib.get_close_matches(name, own, n=1, cutoff=_ALIKE) if name.startswith("--") else []
        if name in own:
            raise RecipeError(
                f"{name}: this is an option of tpsctl. Give it before the -- that sets options of sbatch apart."
            )
        if meant:
            raise RecipeError(f"{name}: unknown option. Did you mean {meant[0]}?")
