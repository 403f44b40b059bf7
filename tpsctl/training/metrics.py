"""Measures of a prior's quality: its torques on held-out frames and statistics of its samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.molecule.geometry import dihedral, signed_volume
from tpsctl.molecule.topology import Topology
from tpsctl.training.targets import internal_rotations

_RAMACHANDRAN_BINS = 36

_ROUNDING = 1e-10
"""Mean square of a torque over its largest possible one, below which it is rounding of float32 forces."""


def torque_r2(topology: Topology, positions: Tensor, scores: Tensor, reference: Tensor) -> dict[str, float]:
    """Coefficient of determination of the torque about every rotatable bond.

    Args:
        topology: The molecule.
        positions: Frames (frame, bead, 3), nm.
        scores: Model scores at these frames, 1/nm.
        reference: Physical forces over kT at these frames, 1/nm.

    Returns:
        R^2 = 1 - mean squared error / variance, by the names of the bond's two atoms. Bonds whose torque never is more
        than rounding, as in a chain of beads without torsional energies, are left out.
    """
    rotations = internal_rotations(topology)(positions)
    model = (rotations * scores.unsqueeze(1)).sum((2, 3))
    truth = (rotations * reference.unsqueeze(1)).sum((2, 3))
    r2 = 1 - (model - truth).square().mean(0) / truth.var(0)
    most = rotations.square().sum((2, 3)).mean(0) * reference.square().sum((1, 2)).mean()
    felt = truth.square().mean(0) > _ROUNDING * most
    names = [f"{topology.atoms[j].label}-{topology.atoms[k].label}" for j, k in topology.rotatable_bonds]
    return {name: value for name, value, is_felt in zip(names, r2.tolist(), felt.tolist(), strict=True) if is_felt}


def handedness_agreement(topology: Topology, samples: Tensor, reference: Tensor) -> dict[str, float]:
    """Fraction of samples that have the reference's handedness, for every center with four neighbors.

    At a center with four different branches this is chirality, at a methyl the order of its hydrogens.

    Args:
        topology: The molecule.
        samples: Structures (sample, bead, 3), nm.
        reference: One structure (bead, 3), nm.

    Returns:
        Fractions between 0 and 1 by the name of the center.
    """
    centers = [i for i, around in enumerate(topology.neighbors) if len(around) == 4]
    rows = torch.tensor([[i, *topology.neighbors[i][:3]] for i in centers])
    signs = torch.sign(signed_volume(samples, rows))
    agreement = (signs == torch.sign(signed_volume(reference.unsqueeze(0), rows))).double().mean(0)
    return dict(zip([topology.atoms[i].label for i in centers], agreement.tolist(), strict=True))


def dihedral_histogram(angles: Tensor, weights: Tensor | None = None) -> Tensor:
    """Normalized histogram, in bins of 10 degrees, of one or two periodic angles (frame, axis), rad, from -pi to pi.

    `weights` (frame,) are the weights of the frames; None for equal weights.
    """
    bins = ((angles / (2 * torch.pi) + 0.5) * _RAMACHANDRAN_BINS).long().clamp(0, _RAMACHANDRAN_BINS - 1)
    histogram = torch.zeros([_RAMACHANDRAN_BINS] * angles.shape[1], dtype=torch.float64)
    w = torch.ones(len(angles), dtype=torch.float64) if weights is None else weights.double()
    histogram.index_put_(tuple(bins.unbind(1)), w, accumulate=True)
    return histogram / histogram.sum()


def jensen_shannon_distance(p: Tensor, q: Tensor) -> float:
    """Square root of the Jensen-Shannon divergence, in nats, of two normalized histograms; between 0 and sqrt(ln 2).

    Source: Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003) 1858.
    """
    middle = (p + q) / 2

    def divergence(a: Tensor) -> Tensor:
        return torch.where(a > 0, a * (a / middle.clamp_min(1e-300)).log(), torch.zeros_like(a)).sum()

    return float(((divergence(p) + divergence(q)) / 2).clamp_min(0).sqrt())


def ramachandran_angles(x: Tensor, quadruples: Sequence[Sequence[int]]) -> Tensor:
    """Dihedrals, rad, (frame, dihedral), of configurations (frame, bead, 3), nm; e.g. phi and psi of one residue."""
    return dihedral(x, torch.tensor([list(q) for q in quadruples]))
