"""`tpsctl export`: the paths of a finished run in the formats of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.files import whole_folder, write_text
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.exports.formats import make_export
from tpsctl.workflows.stored_run import StoredRun

_UNTIMED_PS = 1.0
"""Time between images of a path that has no time step, ps, as in the files of the run."""


@dataclass(frozen=True)
class ExportOptions:
    """What the command line says.

    Attributes:
        formats: Names of the formats, each of which gets a folder.
        paths: Numbers of the paths; empty for all.
        images: Most reference structures of PLUMED.
        atoms: Atoms of PLUMED's references.
        order: Dihedral that is infretis' order parameter; None for the distance covered.
        temperature_k: Temperature of the velocities; None for that of the run.
    """

    formats: tuple[str, ...]
    paths: tuple[int, ...] = ()
    images: int = 20
    atoms: str = "heavy"
    order: str | None = None
    temperature_k: float | None = None


def export_run(directory: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    """Write paths of a run into a new folder, and return what was written.

    Raises:
        RecipeError: There is no finished run of a molecule, or a path is not there.
        OutputError: The folder exists.
    """
    run = StoredRun.read(directory)
    system = run.system
    numbers = options.paths or range(len(run.entries))
    temperature = options.temperature_k or run.temperature_k
    paths = [
        ExportedPath(
            run=run.name,
            number=k,
            topology=system.topology,
            x=run.path(k),
            dt_ps=run.dt_ps or _UNTIMED_PS,
            temperature_k=temperature,
            seed=int(run.manifest["recipe"]["seed"]),
        )
        for k in dict.fromkeys(numbers)
    ]
    exports = [make_export(f, images=options.images, atoms=options.atoms, order=options.order) for f in options.formats]
    notes = [
        f"path {path.number} failed the geometry gate ({gate}); think twice before you use it"
        for path in paths
        for gate in [run.entries[path.number]["gate"]]
        if gate != "valid"
    ]
    with whole_folder(out, remedy="Choose another with --out.") as folder:
        for export in exports:
            for path in paths:
                (folder / export.name).mkdir(exist_ok=True)
                export.write(folder / export.name, path)
        write_text(folder / "README.md", _readme(run, exports, temperature))
        files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return {
        "run": str(directory),
        "directory": str(out),
        "formats": [export.name for export in exports],
        "paths": [path.number for path in paths],
        "temperature_k": temperature,
        "dt_ps": run.dt_ps,
        "files": files,
        "notes": notes,
    }


def _readme(run: StoredRun, exports: Sequence[Export], temperature_k: float) -> str:
    if run.dt_ps is None:
        time = f"The paths have no time step: images are written {_UNTIMED_PS:g} ps apart."
    else:
        time = f"Images are {run.dt_ps:g} ps apart: the step of the action, which is not the time of the reaction."
    lines = [f"# Paths of {run.name}, exported by tpsctl", "", time]
    lines += [f"Velocities, where a format has them, are random ones at {temperature_k:g} K.", ""]
    return "\n".join(lines + [line for e in exports for line in (f"## {e.name}/", "", e.help, "")])
