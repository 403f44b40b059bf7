"""The commands that find paths: `sample`, `gather`, `check`."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_folder
from tpsctl.cli.given_recipe import load, words_again
from tpsctl.cli.options import (
    DeviceOption,
    JsonOption,
    MaxHoursOption,
    OutOption,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    SaveOption,
    ScratchOption,
    SetOption,
    ThreadsOption,
    given_path,
)
from tpsctl.errors import ExitCode
from tpsctl.jobs.shard import Shard


def sample(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="i/N", help="Only part i of N; `tpsctl gather` joins them.")
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    maxh: MaxHoursOption = None,
    save_every: SaveOption = 300.0,
    scratch: ScratchOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Find transition paths: recipe in, validated paths out; run it again to go on after a kill."""
    require_place_for_folder(out)
    part = None if shard is None else Shard.parse(shard)
    loaded, progress = load(recipe, "sample", set_)
    with working():
        from tpsctl.cli import show_run
        from tpsctl.workflows.sample.run import run_recipe
        from tpsctl.workflows.sample.settings import RunSettings

        origin = words_again(recipe, set_, device=device, threads=threads, maxh=maxh, scratch=scratch)
        settings = RunSettings(out, overwrite, resume, part, device, threads, maxh, save_every, scratch, origin)
        done = run_recipe(loaded, settings, progress)
    if json_:
        say_json(show_run.as_json(done))
    else:
        show_run.show(done)
    raise typer.Exit(show_run.exit_code(done))


def gather(
    place: Annotated[
        Path,
        typer.Argument(parser=given_path, metavar="DIR|RECIPE", help="Run directory, or the recipe that names it."),
    ],
    set_: SetOption = None,
    scratch: ScratchOption = None,
    json_: JsonOption = False,
) -> None:
    """Join the shards of a run into its result; say what is missing. May be run again at any time."""
    refuse_special(place, "a run directory, or the recipe that names it")
    from tpsctl import console

    if place.is_file():
        loaded, progress = load(place, "gather", set_)
    else:
        loaded, progress = None, console.make_progress()
    with working():
        from tpsctl.cli import show_run
        from tpsctl.workflows.sample import gather as flow
        from tpsctl.workflows.sample.planning import run_directory
        from tpsctl.workflows.sample.settings import RunSettings, scratch_folder

        directory = place.resolve() if loaded is None else run_directory(loaded, RunSettings())
        with scratch_folder(scratch) as folder:
            manifest = flow.gather(directory, progress, scratch=folder)
    if json_:
        say_json(show_run.as_json(manifest))
    else:
        show_run.show(manifest)
    raise typer.Exit(show_run.exit_code(manifest))


def check(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Check a recipe and its inputs before any optimization."""
    require_place_for_folder(out)
    loaded, progress = load(recipe, "check", set_)
    with working():
        from tpsctl.cli.show_check import show
        from tpsctl.workflows.sample import check as checks
        from tpsctl.workflows.sample.settings import RunSettings

        report = checks.check_recipe(loaded, RunSettings(out=out, device=device, threads=threads), progress)
    if json_:
        say_json(report.as_json())
    else:
        show(report)
    raise typer.Exit(ExitCode.COMPLETE if report.passed else ExitCode.FAILED)
