"""Random moves, from which cheap local searches for saddles start.

A move out of a minimum either turns the molecule about one to three bonds by large random angles (amides and hydroxyls
included; groups of equivalent hydrogens, such as methyls, seldom), or pushes it along a random mixture of its softest
modes, which changes rings as well. The molecule is then relaxed with the turned torsions (or the pushed direction)
held, and eigenvector following climbs from there in the direction of the move.

A variant of a saddle turns the molecule about bonds that have no part in the reaction, and holds the torsion that turns
most in it: often the same reaction has another pass where the rest of the molecule is in another state.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import dihedral_gradients
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import end_atom, lone_hydrogens

TURN_DEG = (40.0, 140.0)
"""Range of the random angles of a turn about a bond, in either direction."""

PUSH_NM = (0.03, 0.12)
"""Range of the largest displacement of an atom in a push along soft modes."""

SOFT_MODES = 10
"""Most modes that a push mixes."""

ROTOR_WEIGHT = 0.15
"""How often a group of equivalent hydrogens is turned, relative to other groups."""


@dataclass(frozen=True)
class Move:
    """A displaced configuration with the torsions or the direction of its displacement.

    Attributes:
        x: Displaced configuration, nm.
        turned: Atoms of the turned dihedrals (torsion, 4), which are held while strain is relaxed; empty for a push.
        turns_rad: Angle by which each dihedral was turned, rad.
        direction: Direction of a push, (n,); zero for a turn.
    """

    x: Float[Tensor, "atom dim"]
    turned: Tensor
    turns_rad: Float[Tensor, " torsion"]
    direction: Float[Tensor, " n"]


class Bonds:
    """The bonds of a molecule about which parts of it can turn.

    Args:
        topology: Atoms and bonds.

    Attributes:
        dihedrals: Atoms of one dihedral about each of these bonds.
        moving: Atoms of the smaller part on one side of each bond, which turns.
    """

    def __init__(self, topology: Topology) -> None:
        self.dihedrals: list[tuple[int, int, int, int]] = []
        self.moving: list[list[int]] = []
        weights = []
        for j, k in topology.rotatable_bonds:
            ahead, behind = topology.branch(k, without=j), topology.branch(j, without=k)
            first, last = (k, j) if len(ahead) > len(behind) else (j, k)
            i, m = (end_atom(topology, a, without=b) for a, b in ((first, last), (last, first)))
            self.dihedrals.append((i, first, last, m))
            self.moving.append(sorted(topology.branch(last, without=first) - {last}))
            weights.append(ROTOR_WEIGHT if turns_hydrogens(topology, (j, k)) else 1.0)
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def turned(self, x: Float[Tensor, "atom 3"], bond: int, angle_rad: float) -> Float[Tensor, "atom 3"]:
        """The configuration x (nm) after its smaller part has turned about a bond, which is given by its number."""
        _, j, k, _ = self.dihedrals[bond]
        axis = (x[k] - x[j]) / (x[k] - x[j]).norm()
        arm = x[self.moving[bond]] - x[k]
        cross = torch.linalg.cross(axis.expand_as(arm), arm)
        along = (arm @ axis).unsqueeze(1) * axis
        new = x.clone()
        cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
        new[self.moving[bond]] = x[k] + along + cosine * (arm - along) + sine * cross
        return new


def draw_move(
    x: Float[Tensor, "atom dim"], modes: Float[Tensor, "n mode"], bonds: Bonds, generator: torch.Generator
) -> Move:
    """Draw a random move out of a minimum.

    Args:
        x: The minimum, nm.
        modes: Its softest modes as displacements of atoms, softest first.
        bonds: Bonds about which parts can turn.
        generator: Source of randomness.
    """
    if len(bonds.dihedrals) == 0 or float(torch.rand((), generator=generator, dtype=torch.float64)) < 0.3:
        return _push(x, modes, generator)
    count = 1 + int(torch.multinomial(torch.tensor([0.55, 0.3, 0.15]), 1, generator=generator))
    count = min(count, len(bonds.dihedrals))
    chosen = torch.multinomial(bonds.weights, count, generator=generator).tolist()
    low, high = (math.radians(limit) for limit in TURN_DEG)
    size = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    sign = 2.0 * torch.randint(2, (count,), generator=generator) - 1
    turns = size * sign
    moved = x
    for bond, angle in zip(chosen, turns.tolist(), strict=True):
        moved = bonds.turned(moved, bond, angle)
    quadruples = torch.tensor([bonds.dihedrals[bond] for bond in chosen])
    return Move(moved, quadruples, turns.to(x), torch.zeros_like(x).flatten())


VARIANT_DEG = (60.0, 180.0)
"""Range of the random angles by which bonds that have no part in a reaction are turned, in either direction."""


def draw_variant(
    x: Float[Tensor, "atom 3"], mode: Float[Tensor, " n"], bonds: Bonds, generator: torch.Generator
) -> Move:
    """Draw a variant of a saddle; it needs two bonds about which parts can turn.

    Args:
        x: The saddle, nm.
        mode: Its mode of negative curvature as a displacement of atoms.
        bonds: Bonds about which parts can turn.
        generator: Source of randomness.
    """
    quadruples = torch.tensor(bonds.dihedrals)
    rates = dihedral_gradients(x[None], quadruples)[0] @ mode
    reactive = int((rates.abs() * bonds.weights.to(rates)).argmax())
    weights = bonds.weights.clone()
    weights[reactive] = 0.0
    count = min(1 + int(torch.randint(2, (), generator=generator)), len(weights) - 1)
    chosen = torch.multinomial(weights, count, generator=generator).tolist()
    low, high = (math.radians(limit) for limit in VARIANT_DEG)
    moved = x
    for bond in chosen:
        size = low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
        moved = bonds.turned(moved, bond, size * (2 * int(torch.randint(2, (), generator=generator)) - 1))
    return Move(moved, quadruples[reactive, None], rates[reactive, None].sign(), torch.zeros_like(x).flatten())


def _push(x: Tensor, modes: Tensor, generator: torch.Generator) -> Move:
    soft = modes[:, :SOFT_MODES]
    weights = torch.randn(soft.shape[1], generator=generator, dtype=torch.float64).to(x)
    direction = soft @ weights
    longest = direction.reshape(x.shape).norm(dim=-1).max()
    low, high = PUSH_NM
    size = low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
    step = direction * (size / longest)
    return Move(x + step.reshape(x.shape), torch.zeros(0, 4, dtype=torch.long), x.new_zeros(0), step / step.norm())


def turns_hydrogens(topology: Topology, bond: tuple[int, int]) -> bool:
    """Whether one of the bond's atoms carries two or more hydrogens and nothing else, as in methyl groups."""
    return any(lone_hydrogens(topology, center, without=other) > 1 for center, other in (bond, bond[::-1]))
