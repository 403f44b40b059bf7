"""The command that examines a path by dynamics: `shoot`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_folder
from tpsctl.cli.options import (
    JsonOption,
    MaxHoursOption,
    OverwriteOption,
    ResumeOption,
    RunArgument,
    ThreadsOption,
    given_path,
)
from tpsctl.errors import ExitCode, RecipeError
from tpsctl.jobs.shard import Shard


class DynamicsChoice(StrEnum):
    """What moves the shots."""

    auto = "auto"
    force_field = "force_field"
    prior = "prior"


def shoot(
    run: RunArgument,
    path: Annotated[int | None, typer.Option("--path", min=0, help="Which path.  [default: the best]")] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="I,J,...", help="Images to shoot from.  [default: the top, others around it]"),
    ] = None,
    dynamics: Annotated[
        DynamicsChoice, typer.Option("--dynamics", help="The force field's Langevin dynamics, or the prior's own.")
    ] = DynamicsChoice.auto,
    least: Annotated[int, typer.Option("--least", min=1, help="Shots from an image before any decision.")] = 100,
    most: Annotated[int, typer.Option("--most", min=1, help="Most shots from an image.")] = 400,
    width: Annotated[
        float, typer.Option("--width", min=0.001, max=1, help="Width of the interval of p_B that is narrow enough.")
    ] = 0.15,
    ensemble: Annotated[
        int, typer.Option("--ensemble", metavar="N", min=0, help="Instead, sample N transition paths from A to B.")
    ] = 0,
    longest_ps: Annotated[
        float | None, typer.Option("--longest-ps", min=0, help="Longest time of a shot.  [default: 20 ps]")
    ] = None,
    dt_ps: Annotated[float | None, typer.Option("--dt-ps", min=0, help="Time step.  [default: 0.001 ps]")] = None,
    friction_per_ps: Annotated[float, typer.Option("--friction-per-ps", min=0, help="Langevin friction.")] = 1.0,
    temperature_k: Annotated[
        float | None, typer.Option("--temperature-k", min=0, help="Temperature.  [default: the run's]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed.  [default: the run's]")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change validation.states or validation.energy of the run."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=given_path, metavar="DIR", help="Folder.  [default: RUN/shooting, RUN/ensemble]"),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="i/N", help="Only part i of N of every round of shots.")
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    maxh: MaxHoursOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Examine a path by dynamics: committors of images near its top by shooting, or an ensemble of transition paths."""
    refuse_special(run, "the directory of a finished run")
    require_place_for_folder(out)
    part = None if shard is None else Shard.parse(shard)
    chosen = None if images is None else _numbers(images)
    physics: dict[str, Any] = {
        "dynamics": str(dynamics),
        "temperature_k": temperature_k,
        "friction_per_ps": friction_per_ps,
        "dt_ps": dt_ps,
        "longest_ps": longest_ps,
    }
    _require_positive(physics)
    if least > most:
        raise RecipeError(f"--least {least}: more than --most {most}. Give at least as many for --most.")
    options = physics | {"path": path, "images": images, "least": least, "most": most, "width": width, "seed": seed}
    options |= {"ensemble": ensemble or None}
    from tpsctl import __version__, console

    progress = console.make_progress()
    progress.say(f"tpsctl {__version__}: shoot {run}")
    with working():
        from tpsctl.cli import show_shoot
        from tpsctl.workflows.shoot import run as flow
        from tpsctl.workflows.shoot.settings import PhysicsSettings, ShootSettings

        settings = ShootSettings(
            run=run,
            out=out,
            path=path,
            images=chosen,
            assignments=tuple(set_ or ()),
            physics=PhysicsSettings(**physics),
            least=least,
            most=most,
            width=width,
            ensemble=ensemble,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            shard=part,
            threads=threads,
            max_hours=maxh,
            origin=_words_again(run, set_, options),
        )
        done = flow.shoot(settings, progress)
    if json_:
        say_json(show_shoot.as_json(done))
    else:
        show_shoot.show(done)
    raise typer.Exit(ExitCode.COMPLETE if done["outcome"] == "complete" else ExitCode.NOT_VALID)


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise RecipeError(f"--images {text}: expected numbers of images with commas between them, e.g. 40,47,54.")
    return tuple(int(word) for word in words)


def _require_positive(numbers: dict[str, Any]) -> None:
    """Refuse a step, time or temperature of zero; a friction of zero would make the dynamics deterministic."""
    for name, value in numbers.items():
        if isinstance(value, float) and not value > 0:
            raise RecipeError(f"--{name.replace('_', '-')} {value:g}: expected a number above 0.")


def _words_again(run: Path, assignments: list[str] | None, options: dict[str, Any]) -> tuple[str, ...]:
    words = [str(run.resolve()), *(word for each in assignments or [] for word in ("--set", each))]
    given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    return tuple(words + [word for name, value in given.items() for word in (f"--{name}", str(value))])
