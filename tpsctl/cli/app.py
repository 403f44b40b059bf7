"""The command line: all commands, and how their errors become messages and exit codes (`tpsctl.errors.ExitCode`).

A command parses its arguments, calls a workflow and prints the answer. There is no physics here, and heavy packages are
imported only when a command needs them.
"""

import gc
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tpsctl.cli import (
    checkpoints,
    cluster,
    compare,
    finished,
    guide,
    init,
    installation,
    prepare,
    rate,
    reconstruct,
    refine,
    report,
    sample,
    shoot,
    training,
)
from tpsctl.cli.answer import keep_stdout
from tpsctl.errors import ExitCode, TpsctlError, exit_code_of
from tpsctl.jobs import interruption


class _Commands(TyperGroup):
    """Turns errors that a user can correct into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TpsctlError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(exit_code_of(error)) from None
        except KeyboardInterrupt:
            typer.echo("interrupted.", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None


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

_PUBLISHED = "saved_models/chignolin/model-best.pt"

for _command, _summary, _example in (
    (
        prepare.prepare,
        "Repair a structure and list every change.",
        "prepare crystal.pdb start.pdb --ph 7 --remove-water",
    ),
    (
        init.init,
        "Write the recipe for two structures of a molecule.",
        "init start.pdb end.pdb --force-field amber14-all.xml --out recipe.yaml",
    ),
    (
        sample.sample,
        "Find transition paths: recipe in, validated paths out.",
        "sample recipes/alanine_dipeptide.yaml --set path.paths=4 --out runs/four",
    ),
    (sample.gather, "Join the shards of a run into its result.", "gather runs/alanine-dipeptide"),
    (sample.check, "Find what is wrong with a recipe before any optimization.", "check recipes/alanine_dipeptide.yaml"),
    (
        finished.validate,
        "Judge the paths of a run with another force field.",
        "validate runs/alanine-dipeptide --force-field amber14-all.xml",
    ),
    (finished.diff, "Show what differs between two runs.", "diff runs/alanine-dipeptide runs/four"),
    (
        finished.export,
        "Write the paths of a run in formats of other programs.",
        "export runs/alanine-dipeptide --format plumed --format gromacs --out handed_over",
    ),
    (
        compare.compare,
        "Compare paths with controls, other methods and dynamics.",
        "compare runs/trp-cage --reference md.xtc --topology recipes/trp_cage/native.pdb",
    ),
    (
        rate.rate,
        "Estimate committor and rate constant from samples.",
        "rate recipes/mueller_brown.yaml --set prior.temperature_k=120.27 --radius 0.5",
    ),
    (
        reconstruct.reconstruct,
        "Make all-atom structures of C-alpha paths and judge them.",
        "reconstruct runs/trp-cage --backend pulchra --every 4",
    ),
    (
        shoot.shoot,
        "Examine a path by dynamics: committors and path ensembles.",
        "shoot runs/alanine-dipeptide --least 200",
    ),
    (report.report, "Write the report of a run, one HTML file.", "report runs/alanine-dipeptide"),
    (report.plot, "Draw the figures of a run again.", "plot runs/alanine-dipeptide --density md.dcd --out figures"),
    (
        guide.guide,
        "Draw samples of a prior, guided to averages or structures.",
        "guide recipes/alanine_dipeptide_coupling.yaml --out runs/coupling",
    ),
    (
        refine.refine,
        "Improve paths in rounds: shots, guided samples, new guesses.",
        "refine recipes/alanine_dipeptide_refine.yaml --out runs/refined",
    ),
    (training.simulate, "Make a data set by molecular dynamics.", "simulate recipes/alanine_dipeptide/simulate.yaml"),
    (
        training.train,
        "Train a prior on dynamics, simulated or your own.",
        "train recipes/alanine_dipeptide/train_diffusion.yaml",
    ),
    (
        cluster.submit,
        "Run the shards of a recipe as a Slurm job array.",
        "submit recipes/alanine_dipeptide.yaml --shards 4 --dry-run -- --time=01:00:00 --partition=main",
    ),
    (cluster.status, "Show what has become of the shards of a run.", "status runs/alanine-dipeptide"),
    (checkpoints.inspect, "Describe a checkpoint: is it safe, sound, fit for paths?", f"inspect {_PUBLISHED}"),
    (
        checkpoints.convert,
        "Turn a published checkpoint into a native file.",
        f"convert {_PUBLISHED} chignolin.safetensors",
    ),
    (installation.schema, "Print the JSON schema of recipes.", "schema > recipes/schema.json"),
    (installation.doctor, "Show versions, devices and platforms.", "doctor --json"),
    (
        installation.completion,
        "Print the script that completes commands in a shell.",
        "completion bash > ~/.local/share/bash-completion/completions/tpsctl",
    ),
):
    # `submit` takes any option that it does not know as an option of sbatch.
    _settings = {"ignore_unknown_options": _command is cluster.submit}
    app.command(short_help=_summary, epilog=f"Example: tpsctl {_example}", context_settings=_settings)(_command)


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


def _terminated(number: int, frame: Any) -> NoReturn:
    """End the program by an exception when a signal arrives, so that unfinished files are cleaned up."""
    raise SystemExit(ExitCode.RESUMABLE if number == signal.SIGUSR1 else ExitCode.TERMINATED)


def main() -> None:
    """The console script."""
    # Waiting threads sleep instead of spinning. With two threads on two busy cores, a series of small tensor operations
    # then took 3 s instead of 122 s. OpenMP reads this variable when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _terminated)
    keep_stdout()
    if "_TPSCTL_COMPLETE" in os.environ:
        from typer.completion import completion_init

        completion_init()
    try:
        with interruption.ended_in_time(interruption.ENDING_S):
            sys.exit(app(prog_name="tpsctl"))
    finally:
        gc.freeze()  # at the end of the process, a garbage collection of all of torch's modules would take 0.3 s
