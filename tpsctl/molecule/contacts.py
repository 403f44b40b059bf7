"""Native contacts of a chain of beads, and the fraction of them that a configuration has formed.

A native contact is a pair of beads at least `separation` bonds apart along the chain (or in different chains) whose
distance r0 in the native structure is below a cutoff. How far it is formed is a smooth step of the distance,

    c(r) = 1 / (1 + exp(beta (r - lambda r0 - shift))),      beta = 40/nm, lambda = 1.2, shift = 0.05 nm,

which is close to 1 up to the native distance and 1/2 a little beyond it. The fraction of native contacts Q is the mean
of c over the contacts: about 1 in the folded state, and near 0 in an unfolded chain.

Source: Best, Hummer, Eaton, Proc. Natl. Acad. Sci. 110 (2013) 17874, eq. 1, for the form and lambda of Calpha models.
"""

from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology

STEEPNESS_PER_NM, STRETCH, SHIFT_NM = 40.0, 1.2, 0.05
"""beta, lambda and the shift of the step c(r)."""


@dataclass(frozen=True)
class NativeContacts:
    """Pairs of beads that are close in the native structure.

    Attributes:
        pairs: Bead indices (i, j) with i < j.
        distances_nm: Native distance r0 of each pair, nm.
    """

    pairs: tuple[tuple[int, int], ...]
    distances_nm: tuple[float, ...]

    def formed(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch contact"]:
        """How far each contact is formed, c(r) from 0 to 1, in configurations in nm; differentiable."""
        i, j = torch.tensor(self.pairs, device=x.device).unbind(1)
        r = (x[..., i, :] - x[..., j, :]).norm(dim=-1)
        r0 = torch.tensor(self.distances_nm, dtype=x.dtype, device=x.device)
        return torch.sigmoid(STEEPNESS_PER_NM * (STRETCH * r0 + SHIFT_NM - r))

    def fraction(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """The fraction of native contacts Q, 0 to 1, of configurations in nm; differentiable."""
        return self.formed(x).mean(-1)


def find_contacts(
    topology: Topology, native: Float[Tensor, "bead 3"], *, cutoff_nm: float, separation: int
) -> NativeContacts:
    """All pairs of beads closer than a cutoff in the native structure and far enough apart along the chain.

    Args:
        topology: Beads and bonds.
        native: The native structure, nm.
        cutoff_nm: Distance below which two beads are in contact, nm.
        separation: Least number of bonds between the two beads; beads of different chains always count.
    """
    distance = torch.cdist(native, native, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = [(i, j) for i, j in distant_pairs(topology, separation) if distance[i, j] < cutoff_nm]
    return NativeContacts(tuple(pairs), tuple(float(distance[pair]) for pair in pairs))


def distant_pairs(topology: Topology, separation: int) -> list[tuple[int, int]]:
    """Pairs of beads (i, j), i < j, with at least `separation` bonds between them, or with no chain between them."""
    return [
        (i, j)
        for i in range(topology.n_atoms)
        for near in [_within(topology, i, separation - 1)]
        for j in range(i + 1, topology.n_atoms)
        if j not in near
    ]


def _within(topology: Topology, start: int, bonds: int) -> set[int]:
    """Beads that at most so many bonds separate from a bead, itself included."""
    seen, todo = {start}, deque([(start, 0)])
    while todo:
        here, steps = todo.popleft()
        for there in topology.neighbors[here]:
            if there not in seen and steps < bonds:
                seen.add(there)
                todo.append((there, steps + 1))
    return seen
