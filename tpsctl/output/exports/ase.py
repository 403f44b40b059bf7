"""ASE: extended XYZ, one configuration per image, angstrom and no periodic box."""

from pathlib import Path

from tpsctl.files import write_text
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.units import NM_PER_ANGSTROM


class AseExport(Export):
    """Extended XYZ."""

    name = "ase"
    help = (
        'Read it with ase.io.read("path_0000.xyz", index=":"). Lengths are angstrom; path, image and time_ps are in '
        "the info of every configuration. A bead that is no atom has the symbol X."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        lines: list[str] = []
        symbols = [atom.element or "X" for atom in path.topology.atoms]
        for image, (x, time) in enumerate(zip(path.x / NM_PER_ANGSTROM, path.times_ps, strict=True)):
            lines.append(str(len(symbols)))
            lines.append(
                f'Properties=species:S:1:pos:R:3 pbc="F F F" path={path.number} image={image} time_ps={time!r}'
            )
            lines += [
                f"{symbol:<2} " + " ".join(f"{v:.8f}" for v in at)
                for symbol, at in zip(symbols, x.tolist(), strict=True)
            ]
        write_text(folder / f"{path.stem}.xyz", "\n".join([*lines, ""]))
