"""Bonds between consecutive residues of a chain, found by distance, and gaps where a bond is missing.

Residues that follow each other in one part of a chain are bonded if their distance is a bond length, whatever
their numbers are (1, 3, 5 or 100, 100A, 100B). If the distance is longer, one of three things has happened:

- The distance to the nearest periodic copy is a bond length: the box cuts the molecule. The bond is kept, so that
  `require_sound` refuses its length.
- The residue numbers have a gap: residues are missing. There is no bond, and the gap is reported.
- The residue numbers are consecutive. If the file has a box and no periodic copy explains the distance, one chain
  ends here and another begins. Without a box this cannot be distinguished from a cut molecule, so the bond is kept,
  and `require_sound` refuses it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tpsctl.endpoints.contents import Bond, FileAtom

BOND_NM = 0.2
"""Atoms of consecutive residues closer than this are bonded (C-N 0.133, O-P 0.16 nm; contacts are beyond 0.25)."""

NUMBERED_BOND_NM = 0.35
"""The same limit for consecutive residue numbers: a strained bond may be as long as any covalent bond."""

CUT_NM = 0.6
"""Beads of consecutive residues farther apart than this may belong to a molecule that a box cuts."""

BEAD_BOND_NM = 0.45
"""C-alpha beads of consecutive residues closer than this are bonded (0.38 nm, cis 0.29); others are beyond 0.5."""


@dataclass(frozen=True)
class Gap:
    """Two residues that follow each other in a file and are not bonded.

    Attributes:
        before: Last atom in front of the gap.
        after: First atom behind it.
        distance_nm: Distance of the two, nm.
        missing: Numbers of the first and the last missing residue; None if the numbers are consecutive.
    """

    before: FileAtom
    after: FileAtom
    distance_nm: float
    missing: tuple[int, int] | None

    @property
    def text(self) -> str:
        """Description of the gap for messages, as a sentence without its period."""
        apart = f"{self.before.residue_label} and {self.after.residue_label} are {self.distance_nm:.2f} nm apart"
        if self.missing is None:
            return f"{apart}: no bond joins them"
        first, last = self.missing
        chain = f" of chain {self.before.chain_id}" if self.before.chain_id else ""
        names = f"residue {first}{chain} is" if first == last else f"residues {first} to {last}{chain} are"
        return f"{names} missing ({apart})"


def judged(
    proposed: Iterable[Bond],
    atoms: Sequence[FileAtom],
    x: Float[np.ndarray, "atom 3"],
    box_nm: Float[np.ndarray, "3 3"] | None,
    *,
    beads: bool = False,
) -> tuple[set[Bond], list[Gap]]:
    """Decide by distance which of the proposed bonds exist.

    Args:
        proposed: Pairs of atoms in consecutive residues of one part of a chain.
        atoms: All atoms of the file.
        x: Their positions, nm.
        box_nm: Box vectors as rows, nm; None without a box.
        beads: Whether the pairs are C-alpha beads, whose bonds are longer.

    Returns:
        The bonds that exist, and a gap for each missing one.
    """
    near, numbered = (BEAD_BOND_NM, BEAD_BOND_NM) if beads else (BOND_NM, NUMBERED_BOND_NM)
    bonds, gaps = set(), []
    for i, j in sorted(proposed):
        a, b = atoms[i], atoms[j]
        step = b.residue_id - a.residue_id
        consecutive = step == 1 or (step == 0 and a.insertion_code != b.insertion_code)
        distance = float(np.linalg.norm(x[i] - x[j]))
        too_far = distance > (numbered if consecutive else near)  # false for a position that is not finite
        cut = too_far and box_nm is not None and _nearest_copy(x[i] - x[j], box_nm) <= near
        unclear = consecutive and box_nm is None and not (beads and distance <= CUT_NM)
        if not too_far or cut or unclear:
            bonds.add((i, j))
        elif consecutive or step > 1:
            gaps.append(Gap(a, b, distance, None if consecutive else (a.residue_id + 1, b.residue_id - 1)))
    return bonds, gaps


def _nearest_copy(difference: np.ndarray, box_nm: np.ndarray) -> float:
    """Smallest length of a difference between positions (nm) over its periodic copies."""
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=float)
    fractional = np.linalg.solve(box_nm.T, difference)
    nearest = (fractional - np.round(fractional) + shifts) @ box_nm
    return float(np.linalg.norm(nearest, axis=1).min())
