"""The command that estimates committor and rate constant from equilibrium samples: `rate`."""

from pathlib import Path
from typing import Annotated

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special
from tpsctl.cli.given_recipe import load
from tpsctl.cli.options import JsonOption, RecipeArgument, SetOption, ThreadsOption, given_path


def rate(
    recipe: RecipeArgument,
    set_: SetOption = None,
    radius: Annotated[
        float | None,
        typer.Option("--radius", help="Radius of the states: nm for a point, degrees for torsions.  [default: chosen]"),
    ] = None,
    torsions: Annotated[
        list[str] | None,
        typer.Option("--cv", metavar="TORSION", help='Torsion of the committor, e.g. "phi ALA2"; repeatable.'),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", parser=given_path, metavar="FILE", help="Data set with samples of a molecule."),
    ] = None,
    diffusion: Annotated[
        float | None,
        typer.Option("--diffusion-nm2-per-ps", metavar="D", help="Of a point.  [default: the recipe's, or 1]"),
    ] = None,
    friction: Annotated[float, typer.Option("--friction-per-ps", metavar="G", help="Of a molecule.")] = 1.0,
    tempering: Annotated[
        float, typer.Option("--tempering", min=1, help="A point is sampled at so many times its temperature.")
    ] = 4.0,
    samples: Annotated[int, typer.Option("--samples", min=200, help="Number of samples for the fit.")] = 12_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of samples, fit and error bars.")] = 1,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Estimate the rate constant between the ends of a recipe from equilibrium samples."""
    for name, value in (("--radius", radius), ("--diffusion-nm2-per-ps", diffusion), ("--friction-per-ps", friction)):
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{name}: got {value:g}, expected a finite value above 0.")
    if data is not None:
        refuse_special(data, "a data set of `tpsctl simulate`")
    loaded, progress = load(recipe, "sample", set_)
    with working():
        import torch

        from tpsctl.cli.show_rate import show
        from tpsctl.environment import default_threads
        from tpsctl.workflows import rate as flow

        torch.set_num_threads(threads or default_threads())
        settings = flow.RateSettings(
            radius=radius,
            torsions=tuple(torsions or ()),
            data=data,
            diffusion_nm2_per_ps=diffusion,
            friction_per_ps=friction,
            tempering=tempering,
            samples=samples,
            seed=seed,
        )
        facts = flow.rate_of_recipe(loaded, settings, progress)
    if json_:
        say_json(facts)
    else:
        show(facts)
