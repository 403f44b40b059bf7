"""The arguments and options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer


def given_path(text: str) -> Path:
    """Read a path from the command line; an empty word, which would mean the current directory, is refused."""
    if not text.strip():
        raise typer.BadParameter("an empty word is no path. Name a file or folder, or leave the option out.")
    return Path(text)


RecipeArgument = Annotated[
    Path, typer.Argument(parser=given_path, metavar="RECIPE", help="Recipe file (YAML).", show_default=False)
]
RunArgument = Annotated[
    Path, typer.Argument(parser=given_path, metavar="RUN", help="Directory of a finished run.", show_default=False)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key, e.g. path.paths=4.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", parser=given_path, metavar="DIR", help="Run directory instead of the recipe's.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where the prior is evaluated.")
]
TrainDeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where the network is trained.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.  [default: all cores]")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout; all else goes to stderr.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the same place.")]
ScratchOption = Annotated[
    Path | None,
    typer.Option(
        "--scratch",
        parser=given_path,
        metavar="DIR",
        help="Local disk for files under way.  [default: $SLURM_TMPDIR, $TMPDIR]",
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with unfinished work; refuse to begin anew.")]
MaxHoursOption = Annotated[
    float | None, typer.Option("--maxh", metavar="H", min=0, help="Stop before H hours are over; resumable (exit 75).")
]
SaveOption = Annotated[
    float,
    typer.Option("--save-every", metavar="SECONDS", min=0, help="Time between snapshots; a kill can cost this much."),
]
