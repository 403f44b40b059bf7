"""Draw guesses, look at them, and repair or redraw the bad ones.

Guesses can carry faults that no optimization mends: an inverted center, hydrogens that wind the wrong
way, broken bonds, energies of clashing atoms. Every path is drawn until it passes or its draws are used
up; then the last draw stays, marked. Requested, drawn, repaired and failing paths are counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.guess.base import Guess

FaultsOf = Callable[[Tensor], list[str]]
"""Paths (path, image, bead, dim) -> one text per path, "" if it is fine, e.g. "clash at image 31 (...)"."""

Repair = Callable[[Tensor], Tensor]
"""Paths -> paths of the same shape with the same ends."""


@dataclass(frozen=True)
class Screening:
    """How the guesses came about.

    Attributes:
        requested: Paths asked for; as many are returned, always.
        drawn: Draws made, over all paths.
        repaired: Paths that passed after repair.
        rejected: Reasons of all rejected draws with their number.
        faults: What is wrong with each returned path, "" if nothing.
    """

    requested: int
    drawn: int
    repaired: int
    rejected: dict[str, int]
    faults: tuple[str, ...]

    @classmethod
    def joined(cls, parts: "Sequence[Screening]") -> "Screening":
        """Several screenings as one."""
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
        """One line for the user."""
        reasons = ", ".join(f"{reason} x{n}" for reason, n in self.rejected.items())
        return (
            f"{self.requested} guesses requested, {self.drawn} drawn, {sum(self.rejected.values())} rejected"
            f"{f' ({reasons})' if reasons else ''}, {self.repaired} repaired, {self.failing} kept though failing"
        )


def screened(
    guess: Guess,
    ends: Float[Tensor, "2 bead dim"],
    images: int,
    generators: Sequence[torch.Generator],
    *,
    faults_of: FaultsOf,
    repair: Repair | None = None,
    max_draws: int = 5,
    indices: Sequence[int] | None = None,
) -> tuple[Float[Tensor, "path image bead dim"], Screening]:
    """One path per generator, each redrawn up to `max_draws` times until it has no fault.

    A redraw continues the path's own generator, so a path never depends on the fate of the others.
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
            new = guess.draw(ends, images, [generators[k] for k in failing], [numbers[k] for k in failing])
            drawn += len(failing)
            _replace(paths, faults, failing, new, faults_of)
    return paths, Screening(len(numbers), drawn, repaired, dict(rejected), tuple(faults))


def _replace(paths: Tensor, faults: list[str], which: list[int], new: Tensor, faults_of: FaultsOf) -> int:
    """Put new paths in place and look at them; the number that pass."""
    passed = 0
    for k, path, fault in zip(which, new, faults_of(new), strict=True):
        paths[k], faults[k] = path, fault
        passed += not fault
    return passed


def kind(fault: str) -> str:
    """First word of a fault, under which it is counted."""
    return fault.split(" ", 1)[0].rstrip(":")


def all_of(*checks: FaultsOf) -> FaultsOf:
    """The first fault that any of the checks finds, in order."""

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
