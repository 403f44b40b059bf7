"""Flicker: how far side chains move from one image to the next beyond the motion of their backbone.

For every residue with side-chain atoms behind CB, N, CA, C and CB of an image are superposed onto those of the next
image; what is left between its side-chain atoms is their motion beyond the backbone's:

    f_i = sqrt( 1/n  sum_residues  min over labels  sum_a |R x_{i,a} + t - x_{i+1,a}|^2 )         over all n atoms, nm

The minimum is over exchanging atoms that only their names tell apart (the two sides of a phenyl ring, the oxygens of a
carboxylate). A torsion chi jumps if it turns by more than 60 degrees, half of the distance of two rotamers.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.molecule.force_field import residues
from tpsctl.molecule.geometry import dihedral, superpose
from tpsctl.molecule.reconstruction.all_atoms import FRAME
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import named_torsions

JUMP_RAD = math.pi / 3
"""A torsion that turns by more than this between neighboring images counts as a jump."""

EXCHANGED = {
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "ARG": (("NH1", "NH2"),),
}
"""Pairs of atoms that only their names tell apart; they are exchanged together."""

TWOFOLD = {"chi2 PHE", "chi2 TYR", "chi2 ASP", "chi3 GLU"}
"""Torsions that are the same after half a turn."""


@dataclass(frozen=True)
class Flicker:
    """Side-chain motion along one path.

    Attributes:
        step_nm: f_i from each image to the next, nm.
        jumps: Number of chi torsions that jump from each image to the next.
        torsions: Number of chi torsions.
    """

    step_nm: Float[Tensor, " gap"]
    jumps: Int[Tensor, " gap"]
    torsions: int

    @property
    def mean_nm(self) -> float:
        """Root mean square of the steps, nm; 0 for a single image."""
        return float(self.step_nm.square().mean().sqrt()) if len(self.step_nm) else 0.0


def flicker(topology: Topology, x: Float[Tensor, "image atom 3"]) -> Flicker:
    """Measure the flicker of all-atom images, nm."""
    squared = x.new_zeros(len(x) - 1)
    count = 0
    for members in residues(topology):
        names = {topology.atoms[i].name: i for i in members}
        side = [n for n, i in names.items() if topology.atoms[i].element != "H" and n not in (*FRAME, "O", "OXT")]
        if side and set(FRAME) <= set(names):
            exchanged = _exchanged(topology.atoms[members[0]].residue_name, side)
            squared = squared + _residue(x, [names[n] for n in FRAME], names, side, exchanged)
            count += len(side)
    turns = _turns(topology, x)
    return Flicker((squared / max(count, 1)).sqrt(), (turns > JUMP_RAD).sum(1), turns.shape[1])


def _residue(
    x: Tensor, frame: list[int], names: dict[str, int], side: list[str], exchanged: list[str]
) -> Float[Tensor, " gap"]:
    """Sum over the side-chain atoms of one residue of their squared motion, nm^2."""
    weights = torch.tensor([1.0] * len(frame) + [0.0] * len(side), dtype=x.dtype)
    atoms = [names[n] for n in side]
    moved = superpose(x[:-1, [*frame, *atoms]], x[1:, [*frame, *atoms]], weights)[:, len(frame) :]
    apart = [(moved - x[1:, [names[n] for n in order]]).square().sum((1, 2)) for order in (side, exchanged)]
    return torch.minimum(*apart)


def _exchanged(residue: str, side: list[str]) -> list[str]:
    """The names of the side-chain atoms with those exchanged that only their names tell apart."""
    other = {a: b for pair in EXCHANGED.get(residue, ()) for a, b in (pair, pair[::-1])}
    return [other.get(name, name) for name in side]


def _turns(topology: Topology, x: Tensor) -> Float[Tensor, "gap torsion"]:
    """Absolute turn of every chi from each image to the next, rad."""
    chi = [torsion for torsion in named_torsions(topology) if torsion.name.startswith("chi")]
    if not chi:
        return x.new_zeros(len(x) - 1, 0)
    angle = dihedral(x, torch.tensor([torsion.atoms for torsion in chi]))
    period = torch.tensor([math.pi if _is_twofold(t.name) else 2 * math.pi for t in chi], dtype=x.dtype)
    turn = angle.diff(dim=0).remainder(period)
    return torch.minimum(turn, period - turn)


def _is_twofold(name: str) -> bool:
    return name[:8] in TWOFOLD
