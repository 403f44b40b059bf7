"""Rings of a molecule and how they pucker, in the coordinates of Cremer and Pople.

For a ring of N atoms at R_j relative to its center, j = 0 ... N-1, the mean plane has the normal n along R' x R'' with
R' = sum R_j sin(2 pi j / N) and R'' = sum R_j cos(2 pi j / N). The heights z_j = R_j . n give

    q_m cos phi_m = sqrt(2/N) sum z_j cos(2 pi m j / N) ,    q_m sin phi_m = -sqrt(2/N) sum z_j sin(2 pi m j / N)

for m = 2 ... (N-1)/2, and for even N also q_(N/2) = sum (-1)^j z_j / sqrt(N). The amplitude is Q^2 = sum z_j^2. For
even N the polar angle theta with Q cos theta = q_(N/2) tells chairs of a six-ring (0 and 180 degrees) from boats and
twist-boats (90 degrees); a phase phi_m has no meaning where q_m vanishes, as in a chair or a planar ring.

Source: Cremer and Pople, J. Am. Chem. Soc. 97 (1975) 1354, eqs. 3 to 17.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology

LARGEST_RING = 8
"""Most atoms of a ring; larger ones are chains with torsions of their own."""

FLAT_NM = 0.005
"""A phase is undefined where q_m is below this; a planar aromatic ring stays below it, proline has 0.04 nm."""


@dataclass(frozen=True)
class Ring:
    """A ring of bonds.

    Attributes:
        name: Name for tables and figures, e.g. "ring PRO2".
        atoms: Atoms in their order around the ring. The first is a hetero atom if there is one, and its neighbor that
            comes first in the file follows.
    """

    name: str
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class Pucker:
    """Puckering coordinates of one ring in many configurations.

    Attributes:
        amplitude_nm: Q, nm.
        phases: phi_m for m = 2, 3, ..., rad in (-pi, pi]; NaN where q_m is below `FLAT_NM`.
        theta: Polar angle, rad in [0, pi], NaN where the ring is flat; None for rings of odd size and of four atoms.
    """

    amplitude_nm: Float[Tensor, " image"]
    phases: Float[Tensor, "image phase"]
    theta: Float[Tensor, " image"] | None


def rings(topology: Topology) -> tuple[Ring, ...]:
    """The smallest ring through every bond that is in a ring of four to `LARGEST_RING` atoms, each ring once.

    Rings come in the order of their first atoms in the file.
    """
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for j, k in topology.bonds:
        through = _shortest_cycle(topology, j, k)
        if 4 <= len(through) <= LARGEST_RING:
            found.setdefault(frozenset(through), _oriented(topology, through))
    cycles = sorted(found.values(), key=min)
    residues = [topology.atoms[cycle[0]].residue for cycle in cycles]
    several = len({atom.residue for atom in topology.atoms}) > 1
    named = []
    for cycle, residue in zip(cycles, residues, strict=True):
        words = ["ring", residue] if several else ["ring"]
        if residues.count(residue) > 1:
            words.append(f"({topology.atoms[cycle[0]].name} to {topology.atoms[cycle[-1]].name})")
        named.append(Ring(" ".join(words), cycle))
    return tuple(named)


def puckering(x: Float[Tensor, "image atom 3"], ring: Ring) -> Pucker:
    """Puckering coordinates of a ring in configurations x, nm."""
    count = len(ring.atoms)
    arms = x[:, list(ring.atoms)]
    arms = arms - arms.mean(1, keepdim=True)
    angle = 2 * math.pi * torch.arange(count).to(x) / count
    first, second = (torch.einsum("nac,a->nc", arms, weight) for weight in (angle.sin(), angle.cos()))
    normal = torch.linalg.cross(first, second)
    height = (arms @ (normal / normal.norm(dim=-1, keepdim=True)).unsqueeze(2)).squeeze(2)
    amplitude = height.norm(dim=1)
    phases = []
    for m in range(2, (count - 1) // 2 + 1):
        cosine, sine = (height @ weight * math.sqrt(2 / count) for weight in ((m * angle).cos(), -(m * angle).sin()))
        defined = torch.hypot(cosine, sine) >= FLAT_NM
        phases.append(torch.where(defined, torch.atan2(sine, cosine), math.nan))
    theta = None
    if count % 2 == 0 and count > 4:
        last = height @ (count // 2 * angle).cos() / math.sqrt(count)
        across = (amplitude.square() - last.square()).clamp_min(0).sqrt()
        theta = torch.where(amplitude >= FLAT_NM, torch.atan2(across, last), math.nan)
    return Pucker(amplitude, torch.stack(phases, 1) if phases else x.new_zeros(len(x), 0), theta)


def _shortest_cycle(topology: Topology, j: int, k: int) -> list[int]:
    """Atoms of the shortest ring through the bond j-k, in order; empty if the bond is in none of a usable size."""
    before = {j: j}
    queue = deque([(j, 1)])
    while queue:
        here, length = queue.popleft()
        if here == k:
            cycle = [k]
            while cycle[-1] != j:
                cycle.append(before[cycle[-1]])
            return cycle
        for there in topology.neighbors[here] if length < LARGEST_RING else ():
            if there not in before and {here, there} != {j, k}:
                before[there] = here
                queue.append((there, length + 1))
    return []


def _oriented(topology: Topology, cycle: list[int]) -> tuple[int, ...]:
    """The ring from its first hetero atom, or else its first atom, towards the neighbor that comes first."""
    first = min(cycle, key=lambda i: (topology.atoms[i].element == "C", i))
    place = cycle.index(first)
    turned = [*cycle[place:], *cycle[:place]]
    if turned[-1] < turned[1]:
        turned = [turned[0], *turned[:0:-1]]
    return tuple(turned)
