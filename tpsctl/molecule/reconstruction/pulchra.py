"""The back-end PULCHRA: backbone from statistics of C-alpha distances, side chains from a library of rotamers.

The package pypulchra compiles the original program as a Python module, which reads and writes the text of PDB files.
Source: Rotkiewicz and Skolnick, J. Comput. Chem. 29 (2008) 1460.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tpsctl.errors import ValidationError
from tpsctl.molecule.reconstruction.base import HeavyAtoms, Reconstructor
from tpsctl.units import NM_PER_ANGSTROM


class PulchraReconstructor(Reconstructor):
    """Reconstructs with pypulchra, in about 0.01 s for 20 residues.

    PULCHRA displaces C-alpha atoms at random before it optimizes their distances; the generator of the C library, which
    it uses, is seeded before every chain.
    """

    name = "pulchra"
    package = "pypulchra"

    def reconstruct(self, residues: Sequence[str], x: np.ndarray) -> HeavyAtoms:
        # Coordinates in a PDB file have few columns, so the chain is moved to the origin and back.
        center = x.mean(0)
        text = "\n".join([*_lines(residues, x - center), "TER", "END", ""])
        ctypes.CDLL(None).srand(self.seed)
        rebuilt = self._module.run_from_pdb_str(text).pdb_str
        found: list[dict[str, np.ndarray]] = [{} for _ in residues]
        for number, atom, position in _atoms(rebuilt):
            if 1 <= number <= len(found):
                found[number - 1][atom] = position + center
        for residue, atoms in zip(residues, found, strict=True):
            if not {"N", "CA", "C", "O"} <= set(atoms):
                raise ValidationError(
                    f"pulchra: got no complete backbone for a residue {residue}. Check the distances between beads, "
                    "which should be about 0.38 nm, or take another back-end."
                )
        return [*found]


def _lines(residues: Sequence[str], x: np.ndarray) -> Iterator[str]:
    for number, (residue, position) in enumerate(zip(residues, x / NM_PER_ANGSTROM, strict=True), start=1):
        place = "".join(f"{value:8.3f}" for value in position)
        yield f"ATOM  {number:5d}  CA  {residue} A{number:4d}    {place}  1.00  0.00           C"


def _atoms(text: str) -> Iterable[tuple[int, str, np.ndarray]]:
    """Residue number, name and position, nm, of every atom."""
    for line in text.splitlines():
        if line.startswith("ATOM"):
            position = np.array([float(line[start : start + 8]) for start in (30, 38, 46)])
            yield int(line[22:26]), line[12:16].strip(), position * NM_PER_ANGSTROM
