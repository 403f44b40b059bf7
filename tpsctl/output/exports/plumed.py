"""PLUMED: reference structures for PATHMSD at equal distances, with the LAMBDA that belongs to them."""

from dataclasses import dataclass
from pathlib import Path

from tpsctl.errors import OutputError
from tpsctl.files import write_text
from tpsctl.molecule.path_variables import equidistant, lambda_of
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.units import NM_PER_ANGSTROM

BACKBONE = ("N", "CA", "C", "O", "CH3")


@dataclass(frozen=True)
class PlumedExport(Export):
    """PATHMSD references.

    Attributes:
        images: Most reference structures.
        atoms: Which atoms are superposed and compared: "heavy", "backbone", "ca" or "all".
    """

    images: int = 20
    atoms: str = "heavy"
    name = "plumed"
    help = (
        "path_0000.pdb holds the reference structures (serial numbers are those of the whole molecule), path_0000.dat "
        "the lines for plumed.dat. LAMBDA is per nm^2: do not change PLUMED's unit of length."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        chosen = self._chosen(path)
        references = equidistant(path.x[:, chosen], min(self.images, len(path.x)))
        models = []
        for x in (references / NM_PER_ANGSTROM).tolist():
            models += [_atom_line(path, i, at) for i, at in zip(chosen, x, strict=True)] + ["END"]
        write_text(folder / f"{path.stem}.pdb", "\n".join([*models, ""]))
        write_text(folder / f"{path.stem}.dat", _lines(path, len(references), lambda_of(references)))

    def _chosen(self, path: ExportedPath) -> list[int]:
        wanted = {
            "all": lambda atom: True,
            "heavy": lambda atom: atom.element != "H",
            "backbone": lambda atom: atom.name in BACKBONE,
            "ca": lambda atom: atom.name == "CA",
        }[self.atoms]
        chosen = [i for i, atom in enumerate(path.topology.atoms) if wanted(atom)]
        if len(chosen) < 3:
            raise OutputError(
                f"--atoms {self.atoms}: chooses {len(chosen)} atoms of path {path.number}, expected at least 3 to "
                "superpose. Choose others."
            )
        return chosen


def _atom_line(path: ExportedPath, index: int, x: list[float]) -> str:
    atom = path.topology.atoms[index]
    if index + 1 > 99_999:
        raise OutputError("the reference structures of PLUMED are PDB files, which number 99999 atoms at most.")
    name = f" {atom.name:<3}" if len(atom.name) < 4 else atom.name[:4]
    number = f"{atom.residue_id % 10_000:4d}{atom.insertion_code or ' '}"
    place = f"{atom.residue_name[:3]:>3} {atom.chain_id[:1] or ' '}{number}"
    # the last two numbers are PLUMED's weights for superposing and for comparing
    return f"ATOM  {index + 1:5d} {name} {place}   {x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  1.00"


def _lines(path: ExportedPath, count: int, lambda_per_nm2: float) -> str:
    return (
        f"# {path.run}, path {path.number}: {count} reference structures at equal distances\n"
        f"WHOLEMOLECULES ENTITY0=1-{path.topology.n_atoms}\n"
        f"p: PATHMSD REFERENCE={path.stem}.pdb LAMBDA={lambda_per_nm2:.8g}\n"
        f"# p.sss runs from 1 (start) to {count} (end); p.zzz is the squared distance from the path, nm^2\n"
        f"PRINT ARG=p.sss,p.zzz STRIDE=100 FILE=colvar_{path.stem}\n"
    )
