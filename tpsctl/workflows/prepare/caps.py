"""Caps: ACE before and NME behind every chain of amino acids, in place of its charged ends.

The new atoms stand at ideal bond lengths and angles with trans peptide bonds. The acetyl's carbon lies opposite to what
else the nitrogen holds in its plane (H, or CD of proline); if there is nothing, phi is the one of a few values that
keeps the new atoms farthest from all others. The nitrogen of NME lies opposite to the carbonyl oxygen.

Source of lengths and angles: Engh and Huber, Acta Cryst. A 47 (1991) 392.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from tpsctl.workflows.prepare.changes import Change
from tpsctl.workflows.prepare.chosen import gemmi_place, is_amino_acid

Vector = Float[np.ndarray, "3"]

_CN, _CC, _CO, _NC = 1.329, 1.525, 1.231, 1.458
"""Bond lengths C-N, C-CA, C=O and N-CA, angstrom."""

_C_N_CA, _CA_C_N, _N_C_O = 121.7, 116.2, 123.0
"""Bond angles, degrees."""

_PHI_DEG = (-150.0, -120.0, -80.0, -60.0, 60.0, 180.0)
_PSI_DEG = 150.0
_TERMINAL_HYDROGENS = ("H1", "H2", "H3", "HT1", "HT2", "HT3")
_TERMINAL_OXYGENS = ("OXT", "OT2", "HXT")


def add_caps(structure: Any) -> Iterator[Change]:
    """Cap every chain whose first or last amino acid has no cap; its backbone must be complete."""
    for chain in structure[0]:
        numbers = [k for k, residue in enumerate(chain) if is_amino_acid(residue)]
        if not numbers:
            continue
        first, last = numbers[0], numbers[-1]
        names = [residue.name for residue in chain]
        if not (last + 1 < len(chain) and names[last + 1] in ("NME", "NMA", "NH2")):
            yield from _open(chain, last, _TERMINAL_OXYGENS)
            yield _insert(chain, last + 1, "NME", chain[last].seqid.num + 1, _methylamide(chain[last]))
        if not (first > 0 and names[first - 1] == "ACE"):
            yield from _open(chain, first, _TERMINAL_HYDROGENS)
            others = np.array([atom.pos.tolist() for c in structure[0] for residue in c for atom in residue])
            yield _insert(chain, first, "ACE", chain[first].seqid.num - 1, _acetyl(chain[first], others))


def placed(a: Vector, b: Vector, c: Vector, length: float, angle_deg: float, torsion_deg: float) -> Vector:
    """The point d with |cd| = length, angle b-c-d and torsion a-b-c-d (IUPAC sign); any unit of length."""
    angle, torsion = np.radians(angle_deg), np.radians(torsion_deg)
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    in_plane = np.cross(normal, along)
    offset = -np.cos(angle) * along + np.sin(angle) * (np.cos(torsion) * in_plane + np.sin(torsion) * normal)
    return c + length * offset


def torsion_deg(a: Vector, b: Vector, c: Vector, d: Vector) -> float:
    """The torsion a-b-c-d in degrees, IUPAC sign."""
    n0, n1 = np.cross(b - a, c - b), np.cross(c - b, d - c)
    return float(np.degrees(np.arctan2(np.dot(np.cross(n0, n1), (c - b) / np.linalg.norm(c - b)), np.dot(n0, n1))))


def _acetyl(residue: Any, others: Float[np.ndarray, "atom 3"]) -> dict[str, Vector]:
    """Positions of the heavy atoms of ACE before a residue, angstrom."""
    at = _positions(residue)
    beside_nitrogen = ("CD",) if residue.name == "PRO" else ("H", "HN")
    in_plane = next((name for name in beside_nitrogen if name in at), None)
    if in_plane is None:
        angles: tuple[float, ...] = _PHI_DEG
    else:
        angles = (torsion_deg(at["C"], at["CA"], at["N"], at[in_plane]) + 180.0,)
    found = [_acetyl_at(at, phi) for phi in angles]
    own = np.stack([at["N"], at["CA"]])
    rest = others[(np.linalg.norm(others[:, None] - own, axis=-1) > 1e-3).all(1)]
    return max(found, key=lambda atoms: min(np.linalg.norm(rest - x, axis=-1).min() for x in atoms.values()))


def _acetyl_at(at: dict[str, Vector], phi: float) -> dict[str, Vector]:
    carbon = placed(at["C"], at["CA"], at["N"], _CN, _C_N_CA, phi)
    methyl = placed(at["CA"], at["N"], carbon, _CC, _CA_C_N, 180.0)
    return {"CH3": methyl, "C": carbon, "O": placed(at["CA"], at["N"], carbon, _CO, _N_C_O, 0.0)}


def _methylamide(residue: Any) -> dict[str, Vector]:
    """Positions of the heavy atoms of NME behind a residue, angstrom."""
    at = _positions(residue)
    psi = torsion_deg(at["N"], at["CA"], at["C"], at["O"]) + 180.0 if "O" in at else _PSI_DEG
    nitrogen = placed(at["N"], at["CA"], at["C"], _CN, _CA_C_N, psi)
    return {"N": nitrogen, "C": placed(at["CA"], at["C"], nitrogen, _NC, _C_N_CA, 180.0)}


def _positions(residue: Any) -> dict[str, Vector]:
    return {atom.name: np.array(atom.pos.tolist()) for atom in residue}


def _open(chain: Any, number: int, names: tuple[str, ...]) -> Iterator[Change]:
    """Remove the atoms of a charged end."""
    residue = chain[number]
    gone = [atom.name for atom in residue if atom.name in names]
    for k in reversed(range(len(residue))):
        if residue[k].name in names:
            del residue[k]
    if gone:
        yield Change(gemmi_place(chain.name, residue), f"removed {', '.join(gone)} to make room for a cap")


def _insert(chain: Any, at: int, name: str, number: int, atoms: dict[str, Vector]) -> Change:
    """Insert a cap into a chain."""
    import gemmi

    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.entity_type = name, gemmi.SeqId(number, " "), gemmi.EntityType.Polymer
    for label, x in atoms.items():
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos, atom.occ = label, gemmi.Element(label[0]), gemmi.Position(*x), 1.0
        residue.add_atom(atom)
    chain.add_residue(residue, at)
    return Change(gemmi_place(chain.name, residue), f"added this cap ({', '.join(atoms)})")
