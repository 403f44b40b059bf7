"""All formats by name."""

from tpsctl.output.exports.ase import AseExport
from tpsctl.output.exports.base import Export
from tpsctl.output.exports.gromacs import GromacsExport
from tpsctl.output.exports.infretis import InfretisExport
from tpsctl.output.exports.openpathsampling import OpenPathSamplingExport
from tpsctl.output.exports.plumed import PlumedExport
from tpsctl.output.exports.structures import PdbExport
from tpsctl.output.exports.xtc import XtcExport


def make_export(name: str, *, images: int, atoms: str, order: str | None) -> Export:
    """The format of this name.

    Args:
        name: "ase", "gromacs", "infretis", "openpathsampling", "pdb", "plumed" or "xtc".
        images: Most reference structures of PLUMED.
        atoms: Atoms of PLUMED's references.
        order: Dihedral that is infretis' order parameter.
    """
    match name:
        case "plumed":
            return PlumedExport(images, atoms)
        case "infretis":
            return InfretisExport(order)
    plain: tuple[Export, ...] = (AseExport(), GromacsExport(), OpenPathSamplingExport(), PdbExport(), XtcExport())
    return {export.name: export for export in plain}[name]
