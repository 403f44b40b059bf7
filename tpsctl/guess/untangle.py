"""Push atoms apart that a guess has put on top of each other, mend its bonds, and leave the rest as it is.

The distances of bonded atoms and of the outer atoms of angles are kept where they lie between their values in both
ends (with a margin of 3 %), and are brought back into this range where they do not. All other pairs must not come
closer than a contact distance, or than they are in an end. The torsion guess uses this, and so does the repair of
other guesses.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.guess.base import fix_gauge
from tpsctl.guess.pairs import PairTargets, relaxed, rigid_pairs, weights_of
from tpsctl.molecule.topology import Topology

CONTACT_NM = {0: 0.28, 1: 0.23, 2: 0.20}
"""Closest approach by the number of hydrogens in the pair: 80 to 85 % of the van der Waals contact (C-C 0.34,
C-H 0.29, H-H 0.24 nm). Molecules come as close as this on torsional barriers, but not closer."""

RIGID_MARGIN = 0.03
"""Relative margin by which a bond, or the distance of an angle's outer atoms, may leave the range of both ends."""


def untangled(
    path: Float[Tensor, "image bead 3"], topology: Topology, *, max_steps: int = 60
) -> Float[Tensor, "image bead 3"]:
    """The path without clashes and broken bonds; one that has none comes back unchanged but for rounding.

    Args:
        path: The path, nm; its first and last image are the ends, and stay.
        topology: Bonds and elements.
        max_steps: Most L-BFGS iterations.
    """
    ends = path[[0, -1]]
    rigid = rigid_pairs(topology).to(path.device)
    now = torch.cdist(path, path)
    closest = torch.minimum(now[0], now[-1]).clamp_max(0.5)
    bound = torch.minimum(_contacts(topology).to(path), closest)
    low = (1 - RIGID_MARGIN) * torch.minimum(now[0], now[-1])
    high = (1 + RIGID_MARGIN) * torch.maximum(now[0], now[-1])
    distance = torch.where(rigid, now.clamp(low, high), bound)
    targets = PairTargets(distance, weights_of(distance), ~rigid)
    return fix_gauge(relaxed(path, targets, reference=path, max_steps=max_steps), ends)


def _contacts(topology: Topology) -> Float[Tensor, "bead bead"]:
    hydrogen = torch.tensor([atom.element == "H" for atom in topology.atoms]).to(torch.long)
    table = torch.tensor([CONTACT_NM[0], CONTACT_NM[1], CONTACT_NM[2]], dtype=torch.float64)
    return table[hydrogen.unsqueeze(0) + hydrogen.unsqueeze(1)]
