"""Chains of minima from A to B for molecules in which many torsions turn: one after another, minimized in between.

If many torsions turn together, a large molecule runs into itself. A chain turns them in an order, a few at a time, and
minimizes the energy after each step, so that every step starts from a relaxed structure:

    x_0 = A,     x_k = minimum reached from x_(k-1) with the torsions of group k turned to their values in B

The minima of a chain enter the network, where their neighbors differ in a few torsions only and are easily connected.
Torsions are ordered by their distance from one of the two ends of the molecule, the pair of atoms with most bonds
between them: the first chains unwind a peptide residue by residue from its C or from its N terminus.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.guesses import CHANGED_DEG
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.moves import turns_hydrogens
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.z_matrix import ZMatrix, ZMatrixValues, wrapped

TOGETHER = 2
"""Number of changed torsions that turn in one step. A single torsion of a chain usually turns back when the energy is
minimized; two neighbors, such as phi and psi of a residue, can make up for one another."""

LONG = 4
"""Pairs of minima that differ in more torsions than this are connected by chains first."""

Step = tuple[int, ...]
"""The torsions that turn in one step of a chain, by their numbers in `TurningChains`."""


class TurningChains:
    """Orders in which the torsions of one molecule turn from A to B.

    Args:
        topology: Atoms and bonds.
    """

    def __init__(self, topology: Topology) -> None:
        self._internal = ZMatrix(topology)
        bonds = sorted(self._internal.torsions)
        self._atoms = torch.tensor([self._internal.torsions[bond] for bond in bonds], dtype=torch.long)
        self._counts = torch.tensor([not turns_hydrogens(topology, bond) for bond in bonds], dtype=torch.bool)
        ends = _far_atoms(topology)
        self._depth = [[min(depth[j], depth[k]) for j, k in bonds] for depth in (_distances(topology, i) for i in ends)]

    def changed(self, ends: Float[Tensor, "2 atom 3"]) -> list[int]:
        """Numbers of the torsions that differ between two structures; turns of methyl groups do not count."""
        dihedrals = self._internal.to_internal(ends).dihedrals[:, self._atoms]
        turn = wrapped(dihedrals[1] - dihedrals[0]).abs()
        return (self._counts & (turn > math.radians(CHANGED_DEG))).nonzero()[:, 0].tolist()

    def steps(self, ends: Float[Tensor, "2 atom 3"], generator: torch.Generator, style: int) -> list[Step]:
        """The torsions that turn in each step of a chain from the first to the second structure.

        Args:
            ends: Both structures, nm.
            generator: Source of randomness.
            style: 0 and 1 begin at either end of the molecule, greater numbers turn torsions in a random order.
        """
        count = len(self._atoms)
        noise = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
        depth = self._depth[style] if style < len(self._depth) else [0] * count
        order = sorted(range(count), key=lambda k: (depth[k], noise[k]))
        changed = set(self.changed(ends))
        groups: list[list[int]] = [[]]
        for k in order:
            if k in changed and len(changed.intersection(groups[-1])) == TOGETHER:
                groups.append([])
            groups[-1].append(k)
        return [tuple(group) for group in groups]

    def turned(self, x: Float[Tensor, "atom 3"], end: Float[Tensor, "atom 3"], step: Step) -> Float[Tensor, "atom 3"]:
        """The structure x, nm, with the torsions of a step turned to their values in another structure."""
        q = self._internal.to_internal(x)
        atoms = self._atoms[list(step)]
        dihedrals = q.dihedrals.clone()
        dihedrals[atoms] = self._internal.to_internal(end).dihedrals[atoms]
        return self._internal.to_positions(ZMatrixValues(q.lengths, q.angles, dihedrals))


def chained_minima(
    surface: Surface,
    coordinates: Coordinates,
    chains: TurningChains,
    ends: Float[Tensor, "chain 2 atom 3"],
    generators: Sequence[torch.Generator],
    styles: Sequence[int],
) -> list[list[tuple[Tensor, float]]]:
    """The minima (nm, with energies in kJ/mol) on several chains, whose minimizations are batched.

    Odd styles go from the second structure to the first. A step whose minimization does not converge is left out.

    Args:
        surface: Energy and its derivatives.
        coordinates: Turns steps into configurations.
        chains: Orders of the torsions.
        ends: Both structures of every chain, nm.
        generators: Source of randomness of each chain.
        styles: Style of each chain: an even number 2 s and 2 s + 1 have style s in `TurningChains.steps`.
    """
    pairs = [pair.flip(0) if style % 2 else pair for pair, style in zip(ends, styles, strict=True)]
    plans = [chains.steps(*row) for row in zip(pairs, generators, [style // 2 for style in styles], strict=True)]
    here = [pair[0] for pair in pairs]
    found: list[list[tuple[Tensor, float]]] = [[] for _ in pairs]
    for number in range(max(len(plan) for plan in plans)):
        rows = [k for k, plan in enumerate(plans) if number < len(plan)]
        start = torch.stack([chains.turned(here[k], pairs[k][1], plans[k][number]) for k in rows])
        minima = minimize(surface, start, coordinates)
        for row, k in enumerate(rows):
            if minima.converged[row]:
                here[k] = minima.x[row]
                found[k].append((here[k], float(minima.energy[row])))
    return found


def _distances(topology: Topology, start: int) -> list[int]:
    """Number of bonds from one atom to every atom; atoms of other molecules are farthest."""
    found = {start: 0}
    queue = [start]
    for here in queue:
        for there in topology.neighbors[here]:
            if there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return [found.get(i, topology.n_atoms) for i in range(topology.n_atoms)]


def _far_atoms(topology: Topology) -> Sequence[int]:
    """Two atoms of the first molecule with many bonds between them; the most possible if it has no rings."""
    ends = [0, 0]
    for _ in range(3):
        depth = _distances(topology, ends[-1])
        ends = [ends[-1], max((d, -i) for i, d in enumerate(depth) if d < topology.n_atoms)[1] * -1]
    return ends
