"""All-atom structures from C-alpha beads: two back-ends, and images that agree along a path."""

from tpsctl.errors import RecipeError
from tpsctl.molecule.reconstruction.base import Reconstructor
from tpsctl.molecule.reconstruction.cgback import CgbackReconstructor
from tpsctl.molecule.reconstruction.pulchra import PulchraReconstructor

BACKENDS: dict[str, type[Reconstructor]] = {"cgback": CgbackReconstructor, "pulchra": PulchraReconstructor}
"""The back-ends by the names under which the command line knows them."""


def reconstructor(name: str, *, seed: int) -> Reconstructor:
    """The back-end of this name.

    Args:
        name: "cgback" or "pulchra".
        seed: Seed of back-ends that draw random numbers.

    Raises:
        RecipeError: There is no back-end of this name.
        MissingDependencyError: The package of the back-end is not installed.
    """
    if name not in BACKENDS:
        raise RecipeError(f'back-end: got "{name}", expected one of {", ".join(BACKENDS)}.')
    return BACKENDS[name](seed)


__all__ = ["BACKENDS", "CgbackReconstructor", "PulchraReconstructor", "Reconstructor", "reconstructor"]
