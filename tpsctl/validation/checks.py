"""The checks of the geometry gate that look at one image alone, each against the two ends.

The limits leave room for thermal motion. Measured by OpenMM Langevin dynamics, amber99sbildn in vacuum,
300 K, no constraints (6000 frames of ACE-ALA-NME, 800 of ACE-VAL-PHE-ASP-LYS-NME, 400 of a ten-residue
peptide): bonds 0.89 to 1.12 of a minimized structure, determinants of stereo centers at least 0.39,
omega at most 48 degrees from planar, contacts at least 0.67 of the van der Waals distance, with polar
hydrogens 0.56.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.symmetry import StereoCenters
from tpsctl.molecule.topology import Topology

BOND_TOLERANCE = 0.2
"""Relative deviation of a bond from the range of both ends; thermal 0.12. 20 % of a C-C bond costs 120 kJ/mol."""

CLASH_FRACTION = 0.6
"""Closest contact as a fraction of the sum of van der Waals radii; thermal 0.74 and more."""

POLAR_CLASH_FRACTION = 0.5
"""`CLASH_FRACTION` of pairs with a hydrogen on N, O or S, which may be hydrogen bonds; thermal 0.56 and more."""

END_FRACTION = 0.9
"""Where the closest contact of a pair in an end is below the limit, this fraction of it becomes the limit."""

BEAD_BOND_NM = 0.25
"""Median bond length, nm, above which beads are not atoms."""

BEAD_CLASH_FRACTION = 0.75
"""Closest contact of beads as a fraction of the median bond: 0.285 nm for C-alpha, which stay beyond 0.36 nm."""

HANDEDNESS_LIMIT = 0.2
"""Least determinant of unit vectors at a stereo center (tetrahedron 0.77, thermal 0.39 and more, planar 0)."""

OMEGA_LIMIT_DEG = 60.0
"""Largest turn of a peptide bond away from planar, or from the isomer of both ends; thermal 48 and less."""

RADIUS_NM = {
    "H": 0.120, "C": 0.170, "N": 0.155, "O": 0.152, "F": 0.147, "P": 0.180, "S": 0.180, "Cl": 0.175, "Br": 0.185,
    "I": 0.198, "Si": 0.210, "Se": 0.190,
}  # fmt: skip
"""Van der Waals radii, nm. Source: Bondi, J. Phys. Chem. 68 (1964) 441."""

OTHER_RADIUS_NM = 0.12
"""Radius of other elements, nm; it is small because metal ions are closer to ligands than van der Waals contact."""

CHUNK_ELEMENTS = 4_000_000
"""Pair distances held at once (32 MB in float64)."""


class Check(ABC):
    """A quantity that is measured for every image, and the limit that it has to keep.

    Attributes:
        name: Name of the check, first word of its faults.
        column: Name of the measured quantity in tables.
    """

    name: str
    column: str

    @abstractmethod
    def measure(self, x: Float[Tensor, "frame bead 3"]) -> tuple[Float[Tensor, " frame"], Int[Tensor, " frame"]]:
        """The worst value in every frame (x in nm), and the number of the bond, pair, center or torsion that has it."""

    @abstractmethod
    def passes(self, value: Float[Tensor, " frame"]) -> Bool[Tensor, " frame"]:
        """Whether these values are within the limit."""

    @abstractmethod
    def describe(self, which: int, value: float) -> str:
        """A fault in words: which bond, pair, center or torsion it is, the value found, and the value expected."""


class BondCheck(Check):
    """Compares bond lengths with the range that they span in both ends; measures the relative deviation from it.

    Args:
        topology: The molecule.
        ends: Both ends, or all of a set of ends, nm.
    """

    name, column = "bonds", "bond_deviation"

    def __init__(self, topology: Topology, ends: Float[Tensor, "end bead 3"]) -> None:
        self._topology = topology
        lengths = bond_lengths(ends, topology)
        self._shortest, self._longest = lengths.amin(0), lengths.amax(0)

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lengths = bond_lengths(x, self._topology)
        excess = torch.maximum(lengths / self._longest - 1, 1 - lengths / self._shortest).clamp_min(0)
        worst = excess.max(-1)
        return worst.values, worst.indices

    def passes(self, value: Tensor) -> Tensor:
        return value <= BOND_TOLERANCE

    def describe(self, which: int, value: float) -> str:
        i, j = self._topology.bonds[which]
        return (
            f"{_labels(self._topology, i, j)} deviates {100 * value:.0f} % from both ends, "
            f"expected at most {100 * BOND_TOLERANCE:.0f} %"
        )


class ClashCheck(Check):
    """Compares distances of pairs more than two bonds apart with the least distance that elements and ends allow.

    It measures the smallest ratio of a distance to its limit.

    Args:
        topology: The molecule.
        ends: Both ends, or all of a set of ends, nm; None for atoms whose limits follow from their elements alone.
    """

    name, column = "clashes", "closest_contact"

    def __init__(self, topology: Topology, ends: Float[Tensor, "end bead 3"] | None) -> None:
        self._topology = topology
        n = topology.n_atoms
        apart = torch.ones(n, n, dtype=torch.bool).triu(1)
        for i, j in (*topology.bonds, *((i, k) for i, _, k in topology.angles)):
            apart[min(i, j), max(i, j)] = False
        if ends is None:
            limit = _atom_limits(topology)
        else:
            limit = _bead_limits(topology, ends) if are_beads(topology, ends) else _atom_limits(topology)
            limit = torch.minimum(limit, END_FRACTION * torch.cdist(ends, ends).amin(0))
        self._limit = limit.masked_fill(~apart, 0)
        self._inverse = torch.where(apart, 1 / self._limit, torch.inf)

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = x.shape[1]
        parts = x.split(max(1, CHUNK_ELEMENTS // (n * n)))
        found = [(_distances(part) * self._inverse).nan_to_num(nan=torch.inf).flatten(1).min(-1) for part in parts]
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

    def passes(self, value: Tensor) -> Tensor:
        return value >= 1

    def count(self, x: Float[Tensor, "frame bead 3"]) -> Int[Tensor, " frame"]:
        """The number of pairs in every frame (nm) that are closer than their limit."""
        parts = x.split(max(1, CHUNK_ELEMENTS // x.shape[1] ** 2))
        return torch.cat([(_distances(part) < self._limit).sum((1, 2)) for part in parts])

    def describe(self, which: int, value: float) -> str:
        i, j = divmod(which, self._topology.n_atoms)
        limit = float(self._limit[i, j])
        return f"{_labels(self._topology, i, j)} are {value * limit:.3f} nm apart, expected at least {limit:.3f} nm"


class CenterCheck(Check):
    """Compares the handedness of stereo centers with the ends; measures the least determinant of unit vectors.

    Args:
        name: Name of the check.
        column: Name of the measured quantity in tables.
        topology: The molecule.
        centers: The stereo centers to check.
        ends: Both ends, nm, which have the same handedness.
    """

    def __init__(
        self, name: str, column: str, topology: Topology, centers: StereoCenters, ends: Float[Tensor, "end bead 3"]
    ) -> None:
        self.name, self.column = name, column
        self._topology = topology
        self._centers = centers
        self._wanted = centers.handedness(ends[0])

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        worst = (self._centers.determinants(x) * self._wanted.unsqueeze(-1)).amin(-1).min(-1)
        return worst.values, worst.indices

    def passes(self, value: Tensor) -> Tensor:
        return value >= HANDEDNESS_LIMIT

    def describe(self, which: int, value: float) -> str:
        label = self._topology.atoms[self._centers.atoms[which]].label
        state = "is inverted" if value < 0 else "is nearly planar"
        return f"center {label} {state} (determinant {value:.2f}, expected at least {HANDEDNESS_LIMIT})"


class OmegaCheck(Check):
    """Checks that peptide bonds are planar, and cis or trans as in both ends; measures the largest deviation, degrees.

    A bond that is cis in one end and trans in the other may turn.

    Args:
        topology: The molecule.
        ends: Both ends, or all of a set of ends, nm.
    """

    name, column = "omega", "omega_deviation_deg"

    def __init__(self, topology: Topology, ends: Float[Tensor, "end bead 3"]) -> None:
        named = omegas(topology)
        is_cis = dihedral(ends, torch.tensor([q for _, q in named])).cos() > 0
        kept = (is_cis == is_cis[0]).all(0).nonzero().flatten().tolist()
        self._names = [named[k][0] for k in kept]
        self._quadruples = torch.tensor([named[k][1] for k in kept], dtype=torch.long).reshape(-1, 4)
        self._is_cis = is_cis[0, kept]

    @property
    def applies(self) -> bool:
        """Whether there is a peptide bond of the same isomer in both ends."""
        return bool(self._names)

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        angle = dihedral(x, self._quadruples).abs().rad2deg()
        worst = torch.where(self._is_cis, angle, 180 - angle).max(-1)
        return worst.values, worst.indices

    def passes(self, value: Tensor) -> Tensor:
        return value <= OMEGA_LIMIT_DEG

    def describe(self, which: int, value: float) -> str:
        isomer = "cis" if bool(self._is_cis[which]) else "trans"
        return (
            f"{self._names[which]} is {value:.0f} degrees away from {isomer}, expected at most {OMEGA_LIMIT_DEG:.0f} "
            "degrees (both ends agree)"
        )


def omegas(topology: Topology) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Name and four atoms of the omega torsion of every peptide bond."""
    return [(name, atoms) for name, atoms in topology.backbone_dihedrals if name.startswith("omega ")]


def bond_lengths(x: Float[Tensor, "*batch bead 3"], topology: Topology) -> Float[Tensor, "*batch bond"]:
    """Lengths of all bonds, nm."""
    i, j = torch.tensor(topology.bonds, dtype=torch.long).reshape(-1, 2).unbind(1)
    return (x[..., i, :] - x[..., j, :]).norm(dim=-1)


def are_beads(topology: Topology, ends: Float[Tensor, "end bead 3"]) -> bool:
    """Whether bonds are too long for atoms, as in C-alpha chains."""
    return bool(topology.bonds) and float(bond_lengths(ends, topology).median()) > BEAD_BOND_NM


def _distances(x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame bead bead"]:
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def _atom_limits(topology: Topology) -> Float[Tensor, "bead bead"]:
    """Least distance of every pair, nm, from its elements."""
    radius = torch.tensor([RADIUS_NM.get(a.element, OTHER_RADIUS_NM) for a in topology.atoms], dtype=torch.float64)
    polar = torch.tensor([_is_polar_hydrogen(topology, i) for i in range(topology.n_atoms)])
    fraction = torch.where(polar.unsqueeze(0) | polar.unsqueeze(1), POLAR_CLASH_FRACTION, CLASH_FRACTION)
    return fraction * (radius.unsqueeze(0) + radius.unsqueeze(1))


def _is_polar_hydrogen(topology: Topology, index: int) -> bool:
    bonded = {topology.atoms[j].element for j in topology.neighbors[index]}
    return topology.atoms[index].element == "H" and bool(bonded & {"N", "O", "S"})


def _bead_limits(topology: Topology, ends: Float[Tensor, "end bead 3"]) -> Float[Tensor, "bead bead"]:
    limit = BEAD_CLASH_FRACTION * float(bond_lengths(ends, topology).median())
    return torch.full((topology.n_atoms, topology.n_atoms), limit, dtype=torch.float64)


def _labels(topology: Topology, i: int, j: int) -> str:
    return f"{topology.atoms[i].label} - {topology.atoms[j].label}"
