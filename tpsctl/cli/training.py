"""The commands that make a prior: `simulate` makes data, and `train` makes a checkpoint from data."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_facts, say_json, working
from tpsctl.cli.given_files import require_place_for_file
from tpsctl.cli.given_recipe import command_line, load, words_again
from tpsctl.cli.options import (
    JsonOption,
    MaxHoursOption,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    SaveOption,
    SetOption,
    ThreadsOption,
    TrainDeviceOption,
    given_path,
)
from tpsctl.errors import ExitCode


def simulate(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="FILE", help="Data set file instead of the recipe's."),
    ] = None,
    set_: SetOption = None,
    maxh: MaxHoursOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of processes.  [default: all cores]")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Make a data set by molecular dynamics; run it again to go on after a kill."""
    require_place_for_file(out)
    loaded, progress = load(recipe, "simulate", set_)
    with working():
        from tpsctl.workflows import simulate as flow

        again = command_line("simulate", words_again(recipe, set_, out=out, workers=workers, maxh=maxh))
        facts = flow.simulate_recipe(loaded, out=out, workers=workers, progress=progress, max_hours=maxh, command=again)
    say_facts(facts, as_json=json_, title="Data set")


def train(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="FILE", help="Checkpoint instead of the recipe's."),
    ] = None,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    maxh: MaxHoursOption = None,
    save_every: SaveOption = 60.0,
    device: TrainDeviceOption = "auto",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a prior on dynamics, simulated or your own, or on a model potential; run it again after a kill."""
    require_place_for_file(out)
    loaded, progress = load(recipe, "train", set_)
    with working():
        from tpsctl.cli.show_training import show_training
        from tpsctl.workflows.train import run as flow

        again = command_line("train", words_again(recipe, set_, out=out, device=device, threads=threads, maxh=maxh))
        options = flow.TrainOptions(overwrite, resume, maxh, save_every, again, out, threads, device)
        card = flow.train_recipe(loaded, options, progress)
    if card is None:  # a process of a team; the first one says the result
        return
    if json_:
        say_json(card)
    else:
        show_training(card)
    if card.get("verdict", {}).get("fit_for_paths") is False:
        raise typer.Exit(ExitCode.NOT_VALID)
