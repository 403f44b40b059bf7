"""Draw guesses, check them, and repair or redraw those that have a fault.

Guesses can have faults that no optimization mends: an inverted center, equivalent hydrogens in the wrong order,
broken bonds, energies of clashing atoms. Every path is drawn until it passes or its draws are used up; then the last
draw stays, and its fault is reported. Requested, drawn, repaired and failing paths are counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.guess.base import Guess

FaultsOf = Callable[[Tensor], list[str]]
"""Paths (path, image, bead, dim), nm -> the fault of each path, e.g. "clash at image 31 (...)", "" if it has none."""

Repair = Callable[[Tensor], Tensor]
"""Paths -> repaired paths of the same shape with the same ends, nm."""


@dataclass(frozen=True)
class Screening:
    """How the guesses came about.

    Attributes:
        requested: Paths asked for, which is also the number of paths returned.
        drawn: Draws made, over all paths.
        repaired: Paths that passed after repair.
        rejected: Number of rejected draws by the kind of their fault.
        faults: Fault of each returned path, "" if it has none.
    """

    requested: int
    drawn: int
    repaired: int
    rejected: dict[str, int]
    faults: tuple[str, ...]

    @classmethod
    def joined(cls, parts: "Sequence[Screening]") -> "Screening":
        """One screening from the screenings of several batches."""
        rejected = Counter[str]()
        for part in parts:
            rejected.update(part.rejected)
        return cls(
            requested=sum(part.requested for part in parts),
            drawn=sum(part.drawn for part in parts),
            repaired=sum(part.repaired for part in parts),
            rejected=dict(rejected),
            faults=tuple(fault for part in parts for fault in part.faults),
        )

    @property
    def failing(self) -> int:
        """Returned paths that did not pass."""
        return sum(1 for fault in self.faults if fault)

    def summary(self) -> str:
        """One line with all counts, for the user."""
        reasons = ", ".join(f"{reason} x{n}" for reason, n in self.rejected.items())
        return (
            f"{self.requested} guesses requested, {self.drawn} drawn, {sum(self.rejected.values())} rejected"
            f"{f' ({reasons})' if reasons else ''}, {self.repaired} repaired, {self.failing} kept though failing"
        )


def screened(
    guess: Guess,
    ends: Float[Tensor, "*path 2 bead dim"],
    images: int,
    generators: Sequence[torch.Generator],
    *,
    faults_of: FaultsOf,
    repair: Repair | None = None,
    max_draws: int = 5,
    indices: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "path image bead dim"], Screening]:
    """Draw one path per generator, each up to `max_draws` times until it has no fault.

    A redraw continues the path's own generator, so a path never depends on what happens to the others.

    Args:
        guess: Draws the paths.
        ends: Start and superposed end of all paths, or of each path, nm.
        images: Images per path, both ends included, at least 3.
        generators: Source of randomness of each path.
        faults_of: Checks the paths.
        repair: Tried on every path that fails, before it is drawn again; None for no repair.
        max_draws: Most draws of a path.
        indices: Number of each path in the run; 0, 1, 2, ... if left out.

    Returns:
        The paths, nm, and how they came about.

    Raises:
        PathError: See `Guess.draw`.
    """
    numbers = list(range(len(generators)) if indices is None else indices)
    paths = guess.draw(ends, images, generators, numbers)
    faults = list(faults_of(paths))
    drawn, repaired, rejected = len(numbers), 0, Counter[str]()
    for attempt in range(max_draws):
        failing = [k for k, fault in enumerate(faults) if fault]
        if not failing:
            break
        rejected.update(kind(faults[k]) for k in failing)
        if repair is not None:
            repaired += _replace(paths, faults, failing, repair(paths[failing]), faults_of)
            failing = [k for k in failing if faults[k]]
        if failing and attempt + 1 < max_draws:
            new = guess.draw(
                ends if ends.ndim == 3 else ends[failing],
                images,
                [generators[k] for k in failing],
                [numbers[k] for k in failing],
            )
            drawn += len(failing)
            _replace(paths, faults, failing, new, faults_of)
    return paths, Screening(len(numbers), drawn, repaired, dict(rejected), tuple(faults))


def _replace(paths: Tensor, faults: list[str], which: list[int], new: Tensor, faults_of: FaultsOf) -> int:
    """Put new paths in place of old ones, check them, and return how many pass."""
    passed = 0
    for k, path, fault in zip(which, new, faults_of(new), strict=True):
        paths[k], faults[k] = path, fault
        passed += not fault
    return passed


def kind(fault: str) -> str:
    """The first word of a fault, by which faults are counted."""
    return fault.split(" ", 1)[0].rstrip(":")


def all_of(*checks: FaultsOf) -> FaultsOf:
    """A check that reports, for each path, the first fault that the given checks find, in their order."""

    def faults_of(paths: Tensor) -> list[str]:
        found = [check(paths) for check in checks]
        return [next((fault for fault in of_path if fault), "") for of_path in zip(*found, strict=True)]

    return faults_of


def energy_below(energies: Callable[[Tensor], Tensor], limit_kj_per_mol: float) -> FaultsOf:
    """A check that no image lies more than a limit above the start.

    Args:
        energies: Configurations (frame, bead, dim), nm -> (frame,), kJ/mol.
        limit_kj_per_mol: Highest allowed energy above the path's first image.
    """

    def faults_of(paths: Tensor) -> list[str]:
        energy = energies(paths.flatten(0, 1)).reshape(paths.shape[:2])
        excess = torch.nan_to_num(energy - energy[:, :1], nan=torch.inf).to(torch.float64)
        highest, image = excess.max(1)
        return [
            f"energy {value:.0f} kJ/mol above the start at image {k}, expected at most {limit_kj_per_mol:g}"
            if value > limit_kj_per_mol
            else ""
            for value, k in zip(highest.tolist(), image.tolist(), strict=True)
        ]

    return faults_of
