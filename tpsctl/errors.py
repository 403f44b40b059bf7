"""Errors that tpsctl raises for things a user can mend.

The library raises them with a message that says where, what was found (value and unit),
what was expected and what to do. Only `cli.py` turns them into stderr and an exit code.
Any other exception is a defect of tpsctl and keeps its traceback.
"""


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


class Interrupted(TpsctlError):
    """A job ended early because it was told to; what it had done is saved.

    Args:
        message: What was saved, and the command that goes on from there.
        exit_code: 75 stopped early (time limit, SIGUSR1), 130 SIGINT, 143 SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MissingDependencyError(TpsctlError):
    """An optional package is needed and not installed."""
