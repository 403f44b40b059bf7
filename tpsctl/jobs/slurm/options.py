"""Reads options of sbatch from the command line, for the scripts that will contain them.

sbatch itself checks most of them; this module checks only options that the scripts or the estimates depend on.
"""

from collections.abc import Iterator, Mapping, Sequence

from tpsctl.errors import RecipeError
from tpsctl.jobs.slurm.script import OWN, seconds_of

_SHORT = {
    **{"A": "account", "C": "constraint", "G": "gpus", "J": "job-name", "L": "licenses", "N": "nodes"},
    **{"c": "cpus-per-task", "n": "ntasks", "p": "partition", "q": "qos", "t": "time", "w": "nodelist", "x": "exclude"},
    **{"D": "chdir", "W": "wait", "a": "array", "d": "dependency", "e": "error", "o": "output"},
}
"""Long names of sbatch's short options: the ones that a shard may need, and the ones that the scripts set."""

_FIRST = ("time", "mem", "cpus-per-task", "gres", "partition", "account", "qos", "constraint")
"""The options that come first in a script, in this order; the others follow as they were typed."""


def read_options(words: Sequence[str]) -> dict[str, str]:
    """Read options of sbatch into a dictionary from long names without dashes to values; a flag has the value "".

    Args:
        words: As typed: `--name=value`, `--name value`, `--name`, `-n value` or `-nvalue`. If an option is given
            twice, the last one counts, as in sbatch.

    Raises:
        RecipeError: A word is no option, the scripts set an option themselves, or a time or a number of CPUs cannot be
            read.
    """
    given = dict(_pairs(words))
    for name, value in given.items():
        if name in OWN:
            typed = f"--{name}={value}" if value else f"--{name}"
            raise RecipeError(f"{typed}: the script sets --{name} itself, because the run depends on it.")
    if "time" in given and not seconds_of(given["time"]):
        raise RecipeError(f"--time {given['time']}: expected a time as Slurm reads it, e.g. 02:00:00 or 1-12:00:00.")
    cpus = given.get("cpus-per-task", "1")
    if not (cpus.isdecimal() and int(cpus) > 0):
        raise RecipeError(f"--cpus-per-task {cpus}: expected a whole number above 0.")
    first = {name: given[name] for name in _FIRST if name in given}
    return first | given


def gpus_of_task(options: Mapping[str, str]) -> int:
    """The number of GPUs that each task gets: the largest that an option asks for; 0 if none is asked for.

    Args:
        options: As `read_options` returns them, e.g. {"gres": "gpu:a100:2"} or {"gpus-per-task": "2"}.
    """
    counts = [0]
    for name, value in options.items():
        for part in value.split(","):
            resource = part.strip().removeprefix("gres/").replace("=", ":").partition("(")[0]
            if name == "gres" and resource.split(":")[0] == "gpu":
                counts.append(_count(resource.partition(":")[2]))
            elif name.startswith("gpus"):
                counts.append(_count(resource))
    return max(counts)


def _count(text: str) -> int:
    """The number in "2", "a100:2" or "a100", where it is 1."""
    number = text.rpartition(":")[2]
    return int(number) if number.isdecimal() else 1


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option, in order."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            raise RecipeError(f"{word}: expected an option of sbatch, e.g. --partition={word}.")
        name, equals, value = _split(word)
        if not equals and not value and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        if name == "sbatch":
            raise RecipeError(f"--sbatch {value}: give the option as sbatch has it: --{value.removeprefix('--')}")
        yield name, value


def _split(word: str) -> tuple[str, str, str]:
    """Long name, the equals sign if there is one, and the value if it stands in the same word."""
    if word.startswith("--"):
        return word[2:].partition("=")
    name = _SHORT.get(word[1])
    if name is None:
        raise RecipeError(f"{word}: unknown short option. Give its long name, e.g. --time=02:00:00.")
    return name, "", word[2:]
