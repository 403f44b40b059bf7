"""The command line: parse, call, print. No physics here, and nothing heavy at import.

Exit codes: 0 complete; 1 failed; 2 usage or recipe; 3 ran, but not converged or not valid (the
files are there); 75 stopped early, resumable; 130 or 143 interrupted.
"""

import gc
import json
import os
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tpsctl.errors import Interrupted, RecipeError, TpsctlError

if TYPE_CHECKING:
    from tpsctl.progress import Progress

FAILED, USAGE, NOT_VALID, RESUMABLE, INTERRUPTED, TERMINATED = 1, 2, 3, 75, 130, 143


class _Commands(TyperGroup):
    """Turns the errors a user can mend into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as stop:
            typer.echo(str(stop), err=True)
            raise typer.Exit(stop.exit_code) from None
        except TpsctlError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(USAGE if isinstance(error, RecipeError) else FAILED) from None
        except KeyboardInterrupt:
            typer.echo("interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    name="tpsctl",
    help="Molecular transition paths from two structures and a generative prior.",
    epilog="Example: tpsctl sample recipes/alanine_dipeptide.yaml",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)


class RecipeKind(StrEnum):
    sample = "sample"
    simulate = "simulate"
    train = "train"
    train_potential = "train_potential"


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key, e.g. path.paths=4.")
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run directory instead of the recipe's.")]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where the prior is evaluated.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.  [default: all cores]")]
SlurmOption = Annotated[str | None, typer.Option(metavar="VALUE", help="As in sbatch.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout; all else goes to stderr.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the same place.")]
ScratchOption = Annotated[
    Path | None,
    typer.Option("--scratch", metavar="DIR", help="Local disk for files under way.  [default: $SLURM_TMPDIR, $TMPDIR]"),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with unfinished work; refuse to begin anew.")]
MaxHoursOption = Annotated[
    float | None, typer.Option("--maxh", metavar="H", min=0, help="Stop in time for H hours, resumable (exit 75).")
]
SaveOption = Annotated[
    float, typer.Option("--save-every", metavar="SECONDS", min=0, help="Time between snapshots: what a kill can cost.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from tpsctl import __version__

        typer.echo(f"tpsctl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: tpsctl sample recipes/alanine_dipeptide.yaml --set path.paths=4 --out runs/four")
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
    loaded, progress = _load(recipe, "sample", set_)
    from tpsctl.cli import show as summary
    from tpsctl.jobs.shard import Shard
    from tpsctl.workflows.sample.run import run_recipe
    from tpsctl.workflows.sample.settings import RunSettings

    part = None if shard is None else Shard.parse(shard)
    origin = _words_again(recipe, set_, device=device, threads=threads, maxh=maxh, scratch=scratch)
    settings = RunSettings(out, overwrite, resume, part, device, threads, maxh, save_every, scratch, origin)
    done = run_recipe(loaded, settings, progress)
    if json_:
        typer.echo(json.dumps(summary.as_json(done), indent=2))
    else:
        summary.show(done)
    raise typer.Exit(0 if done["outcome"] == "complete" else NOT_VALID)


@app.command(epilog="Example: tpsctl gather runs/alanine-dipeptide")
def gather(
    place: Annotated[Path, typer.Argument(metavar="DIR|RECIPE", help="Run directory, or the recipe that names it.")],
    set_: SetOption = None,
    scratch: ScratchOption = None,
    json_: JsonOption = False,
) -> None:
    """Join the shards of a run into its result; say what is missing. May be run again at any time."""
    from tpsctl import console
    from tpsctl.cli import show as summary
    from tpsctl.workflows.sample import gather as flow
    from tpsctl.workflows.sample.planning import run_directory
    from tpsctl.workflows.sample.settings import RunSettings, scratch_folder

    if place.is_file():
        loaded, progress = _load(place, "gather", set_)
        place = run_directory(loaded, RunSettings())
    else:
        progress = console.make_progress()
    with scratch_folder(scratch) as folder:
        manifest = flow.gather(place.resolve(), progress, scratch=folder)
    if json_:
        typer.echo(json.dumps(summary.as_json(manifest), indent=2))
    else:
        summary.show(manifest)
    raise typer.Exit(0 if manifest["outcome"] == "complete" else NOT_VALID)


@app.command(epilog="Example: tpsctl check recipes/alanine_dipeptide.yaml")
def check(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Find everything that can be wrong, before any optimization."""
    loaded, _ = _load(recipe, "check", set_)
    from tpsctl.cli import show as summary
    from tpsctl.workflows.sample import check as checks
    from tpsctl.workflows.sample.settings import RunSettings

    report = checks.check_recipe(loaded, RunSettings(out=out, device=device, threads=threads))
    if json_:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        summary.show_report(report)
    raise typer.Exit(0 if report.passed else FAILED)


@app.command(epilog="Example: tpsctl simulate recipes/alanine_dipeptide/simulate.yaml")
def simulate(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Data set file instead of the recipe's.")
    ] = None,
    set_: SetOption = None,
    maxh: MaxHoursOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes at once.  [default: all cores]")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Make a data set by molecular dynamics; run it again to go on after a kill."""
    loaded, progress = _load(recipe, "simulate", set_)
    from tpsctl.workflows import simulate as flow

    again = _command("simulate", _words_again(recipe, set_, out=out, workers=workers, maxh=maxh))
    facts = flow.simulate_recipe(loaded, out=out, workers=workers, progress=progress, max_hours=maxh, command=again)
    _answer(facts, as_json=json_, title="Data set")


@app.command(epilog="Example: tpsctl train recipes/alanine_dipeptide/train_diffusion.yaml")
def train(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Checkpoint instead of the recipe's.")
    ] = None,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    maxh: MaxHoursOption = None,
    save_every: SaveOption = 60.0,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a prior on dynamics, simulated or your own, or on a model potential; run it again after a kill."""
    loaded, progress = _load(recipe, "train", set_)
    from tpsctl.workflows.train import molecule as flow

    again = _words_again(recipe, set_, out=out, threads=threads, maxh=maxh)
    settings = flow.Settings(overwrite, resume, maxh, save_every, _command("train", again), out, threads)
    card = flow.train_recipe(loaded, settings, progress)
    if json_:
        typer.echo(json.dumps(card, indent=2))
    else:
        flow.show(card)


@app.command(
    epilog="Example: tpsctl submit recipes/alanine_dipeptide.yaml --shards 4 --time 01:00:00 --partition main --dry-run"
)
def submit(
    recipe: RecipeArgument,
    shards: Annotated[int, typer.Option("--shards", metavar="N", min=1, help="Tasks of the job array.")] = 1,
    out: OutOption = None,
    set_: SetOption = None,
    time: SlurmOption = None,
    mem: SlurmOption = None,
    cpus_per_task: Annotated[int | None, typer.Option(min=1, help="As in sbatch.  [default: 1]")] = None,
    gres: SlurmOption = None,
    partition: SlurmOption = None,
    account: SlurmOption = None,
    qos: SlurmOption = None,
    constraint: SlurmOption = None,
    sbatch: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any other option of sbatch.")] = None,
    max_parallel: Annotated[int | None, typer.Option(metavar="K", min=1, help="Tasks at once.")] = None,
    requeues: Annotated[int, typer.Option(min=0, help="How often an unfinished task may go on in a new job.")] = 20,
    setup: Annotated[list[str] | None, typer.Option(metavar="LINE", help="Shell line, e.g. 'module load x'.")] = None,
    command: Annotated[
        str | None, typer.Option(help="How to start tpsctl on a node.  [default: this installation]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts; write and submit nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Run the shards of a recipe as a Slurm job array, and gather them."""
    loaded, progress = _load(recipe, "submit", set_)
    from tpsctl.workflows.sample import submit as flow

    given = {"time": time, "mem": mem, "cpus-per-task": cpus_per_task, "gres": gres, "partition": partition}
    given |= {"account": account, "qos": qos, "constraint": constraint}
    options = flow.site_options(given, sbatch or [])
    changes, lines = tuple(set_ or ()), tuple(setup or ())
    settings = flow.Settings(shards, out, changes, options, lines, command, max_parallel, requeues)
    if dry_run:
        for name, text in flow.scripts_of(recipe, loaded, settings, progress).items():
            typer.echo(f"# {name}\n{text}")
        return
    facts = flow.submit_recipe(recipe, loaded, settings, progress)
    _answer(facts, as_json=json_, title="Submitted")


@app.command(epilog="Example: tpsctl status runs/alanine-dipeptide")
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.", show_default=False)],
    json_: JsonOption = False,
) -> None:
    """Show what has become of the shards of a run, and how to go on."""
    from tpsctl.cli.show_status import show
    from tpsctl.jobs.overview import look

    overview = look(directory)
    if json_:
        typer.echo(json.dumps(overview.as_json(), indent=2))
    else:
        show(overview)
    raise typer.Exit(overview.exit_code)


@app.command(epilog="Example: tpsctl inspect saved_models/chignolin/model-best.pt")
def inspect(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint, or a folder with one.")],
    json_: JsonOption = False,
) -> None:
    """Say what a checkpoint is, whether it is safe, and whether it behaves."""
    from tpsctl.cli import show as summary
    from tpsctl.workflows import checkpoints

    report = checkpoints.inspect(checkpoint)
    if json_:
        typer.echo(json.dumps(report, indent=2))
    else:
        summary.show_checkpoint(report)
    raise typer.Exit(0 if report["sound"] else NOT_VALID if report["safe"] else FAILED)


@app.command(epilog="Example: tpsctl convert saved_models/chignolin/model-best.pt chignolin.safetensors")
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Published checkpoint, folder, or YAML description.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="Native checkpoint to write.")],
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Turn a published checkpoint into a native file, and show that both give the same scores."""
    from tpsctl.workflows import checkpoints

    _answer(checkpoints.convert(source, target, overwrite=overwrite), as_json=json_, title="Converted")


@app.command(epilog="Example: tpsctl schema > recipes/schema.json")
def schema(
    kind: Annotated[RecipeKind, typer.Argument(help="For which command's recipe.")] = RecipeKind.sample,
) -> None:
    """Print the JSON schema of recipes, for editors and scripts."""
    from tpsctl.recipe import kinds
    from tpsctl.recipe.schema import schema_text

    typer.echo(schema_text(kinds.MODELS[kind.value]), nl=False)


@app.command(epilog="Example: tpsctl doctor --json")
def doctor(json_: JsonOption = False) -> None:
    """Show versions, devices and platforms of this installation."""
    from tpsctl import console
    from tpsctl.workflows import doctor as facts

    found = facts.examine()
    if json_:
        typer.echo(json.dumps(found, indent=2))
    else:
        rows = [[name, facts.shown(value)] for name, value in found.items() if name != "problems"]
        console.print_table("This installation", ["what", "found"], rows, notes=found["problems"])
    raise typer.Exit(FAILED if found["problems"] else 0)


@app.command(epilog="Example: tpsctl completion bash > ~/.local/share/bash-completion/completions/tpsctl")
def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)]) -> None:
    """Print the script that completes tpsctl's commands and options."""
    from typer.completion import get_completion_script

    typer.echo(get_completion_script(prog_name="tpsctl", complete_var="_TPSCTL_COMPLETE", shell=shell.value))


def _load(path: Path, command: str, assignments: list[str] | None) -> tuple[Any, "Progress"]:
    """A valid recipe and the progress to report to; called before torch is imported, so mistakes show at once."""
    from tpsctl import __version__, console
    from tpsctl.recipe import kinds
    from tpsctl.recipe.loader import load_recipe

    loaded, progress = load_recipe(path, kinds.of_command(command, path), assignments or []), console.make_progress()
    progress.say(f"tpsctl {__version__}: {command} {path}")
    return loaded, progress


def _answer(facts: dict[str, Any], *, as_json: bool, title: str) -> None:
    from tpsctl import console

    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        console.print_table(title, ["what", "value"], [[name, str(value)] for name, value in facts.items()])


def _words_again(recipe: Path, assignments: list[str] | None, **options: Any) -> tuple[str, ...]:
    """The words after `tpsctl COMMAND` that run a recipe again, without the options that say where."""
    words = [str(recipe), *(word for each in assignments or [] for word in ("--set", each))]
    given = {name: value for name, value in options.items() if value not in (None, "auto")}
    return tuple(words + [word for name, value in given.items() for word in (f"--{name}", str(value))])


def _command(name: str, words: tuple[str, ...]) -> str:
    return shlex.join(("tpsctl", name, *words))


def _terminated(number: int, frame: Any) -> NoReturn:
    """End as after an error, so that nothing unfinished is left behind."""
    raise SystemExit(RESUMABLE if number == signal.SIGUSR1 else TERMINATED)


def main() -> None:
    """The console script."""
    # Waiting threads sleep instead of spinning: with two threads on two busy cores, many small tensor operations
    # took 3 s instead of 122 s. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _terminated)
    if "_TPSCTL_COMPLETE" in os.environ:
        from typer.completion import completion_init

        completion_init()
    try:
        sys.exit(app(prog_name="tpsctl"))
    finally:
        gc.freeze()  # the process ends: a last search for garbage in all of torch's modules takes 0.3 s
