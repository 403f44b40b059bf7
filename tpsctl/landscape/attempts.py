"""Attempts: independent searches of one round, done in blocks of fixed composition.

An attempt is local, a variant, a connection, a chain or hot. A local attempt leaves one minimum by a random move and
climbs to a saddle; a variant leaves a saddle and climbs to another one. A connection draws a random path between two
minima, relaxes its images across the path, and climbs from each of its peaks to a saddle. A chain finds minima between
two that differ much (`tpsctl.landscape.chains`), and a hot attempt one near another (`tpsctl.landscape.hot_dynamics`).
The random numbers of an attempt depend on (seed, round, number of the attempt) only. A block batches the arithmetic of
a few attempts, and gives the same finds wherever it is run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.chains import TurningChains, chained_minima
from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.downhill import follow_downhill
from tpsctl.landscape.equivalence import Equivalence
from tpsctl.landscape.hot_dynamics import hot_minima
from tpsctl.landscape.local_search import out_of_minimum, search_nearby, variant_of_saddle
from tpsctl.landscape.minimum import MinimumSettings, descend
from tpsctl.landscape.modes import normal_modes
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.network import Find, Saddle
from tpsctl.landscape.saddle import climb_to_saddles
from tpsctl.landscape.stationary import Points
from tpsctl.landscape.string import peaks, tangents
from tpsctl.landscape.surface import Surface

GuessFn = Callable[[Tensor, int, torch.Generator, int], Tensor]
"""(ends (2, atom, dim), images, generator, style) -> a path (image, atom, dim), nm; style 0 is the simplest path."""

Kind = Literal["local", "variant", "connection", "chain", "hot"]
"""What an attempt does."""

IMAGES = 24
"""Number of images of the path of a connection."""

RELAX_ACROSS = MinimumSettings(quadratic_below=60.0, max_steps=25, max_move_nm=0.02)
"""Images move across the path until |grad U| across is below 60 kJ/mol/nm, or for 25 steps."""

MOST_PEAKS = 4
"""The number of highest peaks of a path from which a saddle is sought."""


@dataclass(frozen=True)
class SearchedMolecule:
    """The molecule or model system that is searched, with all that an attempt needs.

    Attributes:
        surface: Energy and its derivatives.
        coordinates: Turns steps into configurations.
        equivalence: Decides whether two configurations are the same state.
        bonds: Bonds about which parts can turn.
        guess: Draws first paths between two minima.
    """

    surface: Surface
    coordinates: Coordinates
    equivalence: Equivalence
    bonds: Bonds
    guess: GuessFn


@dataclass(frozen=True)
class SearchAttempt:
    """One search of a round.

    Attributes:
        number: Number of the attempt in its round.
        minima: Numbers of the minima: one for a local or hot attempt, two for a connection or a chain, none for a
            variant.
        x: Configurations of these minima, or of the saddle (1 or 2, atom, dim), nm.
        style: Style of the first path of a connection (see `GuessFn`), or of a chain (see `chained_minima`).
        kind: What the attempt does.
    """

    number: int
    minima: tuple[int, ...]
    x: Float[Tensor, "end atom dim"]
    style: int = 0
    kind: Kind = "local"


@dataclass(frozen=True)
class AttemptBlock:
    """Attempts of one round whose arithmetic is batched.

    Attributes:
        seed: Seed of the whole search.
        round: Number of the round.
        attempts: The attempts, which are all of one kind.
        known_x: Saddles known when the round began, nm; an attempt that finds one of them does not go downhill from it.
        known_energies: Energies of the known saddles, kJ/mol.
    """

    seed: int
    round: int
    attempts: tuple[SearchAttempt, ...]
    known_x: tuple[Float[Tensor, "atom dim"], ...]
    known_energies: tuple[float, ...]


@dataclass(frozen=True)
class BlockResult:
    """The finds of a block.

    Attributes:
        finds: For each attempt its new saddles, and the numbers of known saddles that it found again.
        evaluations: Number of force evaluations spent.
        minima: For each chain or hot attempt its minima (nm) with their energies (kJ/mol); empty for other kinds.
    """

    finds: tuple[tuple[Find | int, ...], ...]
    evaluations: int
    minima: tuple[tuple[tuple[Tensor, float], ...], ...] = ()


def generator_of(seed: int, round_number: int, attempt: int) -> torch.Generator:
    """The source of randomness of one attempt, which depends on these three numbers only."""
    state = np.random.SeedSequence([seed, round_number, attempt]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def run_block(molecule: SearchedMolecule, block: AttemptBlock) -> BlockResult:
    """Do all attempts of a block."""
    before = molecule.surface.evaluations
    generators = [generator_of(block.seed, block.round, attempt.number) for attempt in block.attempts]
    kind = block.attempts[0].kind
    if kind in ("chain", "hot"):
        minima = (_chain if kind == "chain" else _hot)(molecule, block.attempts, generators)
        return BlockResult(((),) * len(block.attempts), molecule.surface.evaluations - before, minima)
    if kind in ("local", "variant"):
        start = torch.stack([attempt.x[0] for attempt in block.attempts])
        draws = [out_of_minimum if attempt.kind == "local" else variant_of_saddle for attempt in block.attempts]
        saddles = search_nearby(molecule.surface, start, draws, molecule.bonds, molecule.coordinates, generators)
        owner = list(range(len(block.attempts)))
    else:
        saddles, owner = _connect(molecule, block.attempts, generators)
    finds: list[list[Find | int]] = [[] for _ in block.attempts]
    for attempt, find in zip(owner, _followed(molecule, block, saddles), strict=True):
        if find is not None and not _is_origin(block, block.attempts[attempt], find):
            finds[attempt].append(find)
    return BlockResult(tuple(tuple(f) for f in finds), molecule.surface.evaluations - before)


def _is_origin(block: AttemptBlock, attempt: SearchAttempt, find: Find | int) -> bool:
    """Whether a variant came back to the saddle that it left, which says nothing about how much is unseen."""
    return attempt.kind == "variant" and isinstance(find, int) and torch.equal(block.known_x[find], attempt.x[0])


def _chain(
    molecule: SearchedMolecule, attempts: Sequence[SearchAttempt], generators: Sequence[torch.Generator]
) -> tuple[tuple[tuple[Tensor, float], ...], ...]:
    """The minima of every chain that are states of this molecule."""
    topology = molecule.equivalence.topology
    assert topology is not None
    ends = torch.stack([attempt.x for attempt in attempts])
    styles = [attempt.style for attempt in attempts]
    chains = TurningChains(topology)
    found = chained_minima(molecule.surface, molecule.coordinates, chains, ends, generators, styles)
    return tuple(tuple(state for state in chain if _is_state(molecule, state[0])) for chain in found)


def _hot(
    molecule: SearchedMolecule, attempts: Sequence[SearchAttempt], generators: Sequence[torch.Generator]
) -> tuple[tuple[tuple[Tensor, float], ...], ...]:
    """The minimum of every run of hot dynamics that is a state of this molecule."""
    topology = molecule.equivalence.topology
    assert topology is not None
    start = torch.stack([attempt.x[0] for attempt in attempts])
    found = hot_minima(molecule.surface, molecule.coordinates, start, topology.bonds, generators)
    return tuple((state,) if state is not None and _is_state(molecule, state[0]) else () for state in found)


def _is_state(molecule: SearchedMolecule, x: Tensor) -> bool:
    """Whether a configuration has the handedness of this molecule."""
    return molecule.equivalence.handedness(x) == molecule.equivalence.reference_handedness


def _connect(
    molecule: SearchedMolecule, attempts: Sequence[SearchAttempt], generators: Sequence[torch.Generator]
) -> tuple[Points, list[int]]:
    """Saddles found from the peaks of random paths, and for each the place of its attempt in the block."""
    paths = torch.stack([molecule.guess(a.x, IMAGES, g, a.style) for a, g in zip(attempts, generators, strict=True)])
    energy, paths = relaxed_across(molecule, paths)
    along = tangents(paths)
    where = [(k, i) for k in range(len(paths)) for i in peaks(energy[k])[:MOST_PEAKS]]
    if not where:
        where = [(k, int(energy[k].argmax().clamp(1, IMAGES - 2))) for k in range(len(paths))]
    rows = tuple(torch.tensor(where).T)
    own = [generators[k] for k, _ in where]
    saddles = climb_to_saddles(molecule.surface, paths[rows], molecule.coordinates, own, along[rows])
    return saddles, [k for k, _ in where]


def relaxed_across(
    molecule: SearchedMolecule, paths: Float[Tensor, "path image atom dim"]
) -> tuple[Float[Tensor, "path image"], Float[Tensor, "path image atom dim"]]:
    """Relax each inner image of paths (nm) across its path, independently of the other images.

    Returns:
        Energies of all images, kJ/mol, and the relaxed paths, nm.
    """
    inner = paths[:, 1:-1].flatten(0, 1)
    along = tangents(paths)[:, 1:-1].flatten(0, 1)
    relaxed = descend(
        molecule.surface,
        inner,
        molecule.coordinates,
        RELAX_ACROSS,
        held=lambda _, lanes: along[lanes].unsqueeze(2),
    )
    paths = torch.cat((paths[:, :1], relaxed.unflatten(0, (len(paths), -1)), paths[:, -1:]), 1)
    energy, _ = molecule.surface.energy_gradient(paths.flatten(0, 1))
    return energy.unflatten(0, paths.shape[:2]), paths


def _followed(molecule: SearchedMolecule, block: AttemptBlock, saddles: Points) -> list[Find | int | None]:
    """For every search the new saddle with its minima, the number of the known saddle, or None if it found none."""
    found: list[Find | int | None] = [None] * len(saddles.x)
    same_as: dict[int, int] = {}
    fresh: list[int] = []
    for k in saddles.converged.nonzero()[:, 0].tolist():
        x, energy = saddles.x[k], float(saddles.energy[k])
        found[k] = _known(molecule.equivalence, x, energy, block)
        if found[k] is None:
            twin = next((i for i in fresh if _twins(molecule.equivalence, saddles, i, k)), None)
            if twin is None:
                fresh.append(k)
            else:
                same_as[k] = twin
    if fresh:
        chosen = select(saddles, torch.tensor(fresh))
        minima, _ = follow_downhill(molecule.surface, chosen, molecule.coordinates)
        for row, k in enumerate(fresh):
            found[k] = _find(molecule, chosen, minima, row)
    for k, twin in same_as.items():
        found[k] = found[twin]
    return found


def _known(equivalence: Equivalence, x: Tensor, energy: float, block: AttemptBlock) -> int | None:
    for i, (known, level) in enumerate(zip(block.known_x, block.known_energies, strict=True)):
        if equivalence.same(x, known, (energy, level)) is not None:
            return i
    return None


def _twins(equivalence: Equivalence, saddles: Points, i: int, k: int) -> bool:
    energies = (float(saddles.energy[k]), float(saddles.energy[i]))
    return equivalence.same(saddles.x[k], saddles.x[i], energies) is not None


def _find(molecule: SearchedMolecule, saddles: Points, minima: Points, row: int) -> Find | None:
    """The saddle with its minima; None if a side reached no minimum or another stereoisomer."""
    sides = slice(2 * row, 2 * row + 2)
    x = saddles.x[row]
    hands = [molecule.equivalence.handedness(y) for y in (x, *minima.x[sides])]
    reference = molecule.equivalence.reference_handedness
    if not bool(minima.converged[sides].all()) or any(hand != reference for hand in hands[1:]):
        return None
    surface = molecule.surface
    modes = normal_modes(x, saddles.hessian[row], surface.masses_amu, rigid_motions=surface.rigid_motions)
    saddle = Saddle(
        x=x,
        energy=float(saddles.energy[row]),
        gradient_norm=float(saddles.gradient_norm[row]),
        index=modes.index,
        wavenumbers=tuple(modes.wavenumbers[:3].tolist()),
        ends=(-1, -1),
        sides=minima.x[sides],
    )
    low, high = minima.energy[sides].tolist()
    return Find(saddle, (low, high))


def select(points: Points, rows: Tensor) -> Points:
    """The points in the given rows of a batch."""
    return Points(*(getattr(points, f.name)[rows] for f in fields(Points)))
