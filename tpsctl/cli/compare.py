"""The command that sets the paths of a run beside controls, baselines and a simulation: `compare`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special
from tpsctl.cli.options import DeviceOption, JsonOption, OverwriteOption, RunArgument, ThreadsOption, given_path
from tpsctl.errors import RecipeError

Baseline = Literal["idpp", "latent", "string"]
BASELINES: tuple[Baseline, ...] = ("idpp", "latent", "string")


def compare(
    run: RunArgument,
    reference: Annotated[
        list[Path] | None,
        typer.Option("--reference", parser=given_path, metavar="FILE", help="Trajectory of a simulation; repeatable."),
    ] = None,
    topology: Annotated[
        Path | None,
        typer.Option("--topology", parser=given_path, metavar="FILE", help="Structure file of the trajectories."),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option("--select", metavar="SELECTION", help="Beads of the trajectories.  [default: as in the run]"),
    ] = None,
    stride: Annotated[int, typer.Option("--stride", min=1, help="Use every n-th frame.")] = 1,
    lag: Annotated[
        int | None,
        typer.Option("--lag", min=1, help="Lag of the Markov model, in used frames.  [default: chosen]"),
    ] = None,
    clusters: Annotated[int, typer.Option("--clusters", min=4, help="Microstates of the Markov model.")] = 100,
    draws: Annotated[int, typer.Option("--draws", min=20, help="Bootstrap draws for error bars.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of clustering and draws.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature-k", metavar="K", min=1, help="Of the simulation.  [default: the run's]"),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="idpp|latent|string|all", help="Paths made in another way; repeatable."),
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare the paths of a run with controls, baselines and the transitions of a simulation."""
    refuse_special(run, "the directory of a finished run")
    for file in [*(reference or []), *([topology] if topology else [])]:
        refuse_special(file, "a trajectory or structure file")
    chosen = _baselines(baseline or [])
    from tpsctl import console

    progress = console.make_progress()
    with working():
        from tpsctl.cli import show_compare
        from tpsctl.workflows.compare.run import compare_run
        from tpsctl.workflows.compare.settings import CompareSettings

        settings = CompareSettings(
            references=tuple(reference or ()),
            topology=topology,
            select=select,
            stride=stride,
            lag=lag,
            clusters=clusters,
            draws=draws,
            seed=seed,
            temperature_k=temperature,
            baselines=chosen,
            overwrite=overwrite,
            device=device,
            threads=threads,
        )
        answer = compare_run(run.resolve(), settings, progress)
    if json_:
        say_json(answer)
    else:
        show_compare.show(answer)


def _baselines(words: list[str]) -> tuple[Baseline, ...]:
    """The baselines that were asked for, each once, in a fixed order."""
    unknown = [word for word in words if word not in (*BASELINES, "all")]
    if unknown:
        raise RecipeError(f"--baseline: got {unknown[0]!r}, expected one of {', '.join((*BASELINES, 'all'))}.")
    return tuple(name for name in BASELINES if name in words or "all" in words)
