"""The command that goes from paths to guided samples and back in rounds: `refine`."""

from typing import Annotated

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import require_place_for_folder
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
)
from tpsctl.errors import ExitCode
from tpsctl.jobs.shard import Shard


def refine(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="i/N", help="One of N processes that share the work.")
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
    """Improve paths in rounds: paths, shots from their tops, guided samples of the transition state, new guesses."""
    require_place_for_folder(out)
    part = None if shard is None else Shard.parse(shard)
    loaded, progress = load(recipe, "refine", set_)
    with working():
        from tpsctl.cli import show_refine
        from tpsctl.workflows.refine.run import refine as refine_recipe
        from tpsctl.workflows.sample.settings import RunSettings

        origin = words_again(recipe, set_, device=device, threads=threads, maxh=maxh, scratch=scratch)
        settings = RunSettings(out, overwrite, resume, part, device, threads, maxh, save_every, scratch, origin)
        done = refine_recipe(loaded, settings, progress)
    if json_:
        say_json(show_refine.as_json(done))
    else:
        show_refine.show(done)
    raise typer.Exit(ExitCode.COMPLETE if done["outcome"] == "complete" else ExitCode.NOT_VALID)
