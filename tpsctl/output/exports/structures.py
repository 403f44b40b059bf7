"""PDB: one file per path with one model per image; mmCIF where PDB cannot hold the names."""

from pathlib import Path

from tpsctl.files import write_text
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.pdb import fits_pdb, mmcif_text, pdb_text
from tpsctl.units import NM_PER_ANGSTROM


class PdbExport(Export):
    """Multi-model PDB."""

    name = "pdb"
    help = "One model per image, angstrom. Viewers play the models as frames."

    def write(self, folder: Path, path: ExportedPath) -> None:
        write_structures(folder / path.stem, path)


def write_structures(stem: Path, path: ExportedPath, images: slice = slice(None)) -> Path:
    """Write images of a path as models of a PDB or mmCIF file, and return the file."""
    x = path.x[images].numpy() / NM_PER_ANGSTROM
    as_pdb = fits_pdb(path.topology, x)
    file = stem.with_name(stem.name + (".pdb" if as_pdb else ".cif"))
    write_text(file, (pdb_text if as_pdb else mmcif_text)(path.topology, x, title=path.title))
    return file
