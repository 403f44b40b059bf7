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


class MissingDependencyError(TpsctlError):
    """An optional package is needed and not installed."""
