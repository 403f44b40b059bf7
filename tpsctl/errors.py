"""Errors that tpsctl raises for things a user can mend, and the exit codes of its commands.

The library raises them with a message that says where, what was found (value and unit),
what was expected and what to do. Only `tpsctl/cli` turns them into stderr and an exit code.
Any other exception is a defect of tpsctl and keeps its traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended, for shells and batch systems.

    Attributes:
        COMPLETE: All that was asked for is done.
        FAILED: The command failed.
        USAGE: The recipe or the command line is wrong; trying again does not help.
        NOT_VALID: The command ran and its files are there, but a path is not converged or not valid.
        RESUMABLE: The job stopped early (time limit, SIGUSR1) and can go on (EX_TEMPFAIL of sysexits.h).
        INTERRUPTED: SIGINT (Ctrl-C) ended it.
        TERMINATED: SIGTERM (a batch system) ended it.
    """

    COMPLETE = 0
    FAILED = 1
    USAGE = 2
    NOT_VALID = 3
    RESUMABLE = 75
    INTERRUPTED = 130
    TERMINATED = 143


class TpsctlError(Exception):
    """Base of every error a user can mend."""


class RecipeError(TpsctlError):
    """The recipe, or the command line around it, is wrong."""


class EndpointError(TpsctlError):
    """A structure file is unusable, or the two ends do not belong to one molecule."""


class PriorError(TpsctlError):
    """A checkpoint or prior is unusable, or does not fit the beads."""


class PathError(TpsctlError):
    """A path has a wrong shape, too few images or non-finite coordinates."""


class ValidationError(TpsctlError):
    """Energies or checks of a path could not be computed (force field, platform)."""


class OutputError(TpsctlError):
    """A result could not be written, or would overwrite another result."""


class DataError(TpsctlError):
    """A training data set is missing, damaged or of another molecule."""


class StateError(TpsctlError):
    """The stored state of an unfinished run is damaged, or held by another process."""


class MemoryShortageError(TpsctlError):
    """Memory of the host or of a GPU ran out; fewer paths at once may fit."""


class Interrupted(TpsctlError):
    """A job ended early because it was told to; what it had done is saved.

    Args:
        message: What was saved, and the command that goes on from there.
        exit_code: RESUMABLE, INTERRUPTED or TERMINATED.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MissingDependencyError(TpsctlError):
    """An optional package is needed and not installed."""


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that this exception ends; FAILED for whatever is not told apart."""
    if isinstance(error, Interrupted):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.USAGE if isinstance(error, RecipeError) else ExitCode.FAILED
