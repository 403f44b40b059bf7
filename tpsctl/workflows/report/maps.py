"""The maps of a report: the paths in planes of collective variables, over an energy where one is known.

A model system is drawn on its potential. A peptide has a Ramachandran plot for every residue that turns. Of a molecule
without phi and psi, only a simulation tells which coordinates are slow, so its map needs one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from tpsctl.output.figures import Background
from tpsctl.output.figures.canvas import as_array
from tpsctl.output.report import PlaneMap, RamachandranPanel, Shading, TubeAxis
from tpsctl.workflows.density import ramachandran_backgrounds, read_density, slow_map
from tpsctl.workflows.stored_run import StoredRun
from tpsctl.workflows.tube import StoredTube

MOST_PANELS = 6
"""Most Ramachandran plots; of a longer chain, the residues that turn most."""

_GRID = 60

_SHOWN_OF_POTENTIAL = 0.85
"""Fraction of the points of a potential that are shaded; it grows without bound beyond them."""


@dataclass(frozen=True)
class Maps:
    """All maps.

    Attributes:
        panels: Ramachandran plots.
        planes: Maps of other coordinates.
        note: What is not shown, and why; "" for nothing to say.
    """

    panels: list[RamachandranPanel] = field(default_factory=list)
    planes: list[PlaneMap] = field(default_factory=list)
    note: str = ""


def maps_of(run: StoredRun, density: Path | None, tube: StoredTube | None) -> Maps:
    """All maps of a run, over the free energy of a simulation if one is named."""
    if not run.entries:
        return Maps()
    found = None if density is None else read_density(run, density)
    if not run.is_molecule:
        return Maps(planes=_model_system(run, tube))
    if residues := _residues(run):
        backgrounds = {} if found is None else ramachandran_backgrounds(run, found)
        note = "" if found is None else f"free energy of {found.file.name}"
        return _peptide(run, residues, {name: _shading(b, note) for name, b in backgrounds.items()}, tube)
    if found is None:
        hint = "Name a simulation of this molecule, and its slow coordinates are shown with the paths: "
        return Maps(note=f"{hint}tpsctl report RUN --density md.dcd --overwrite")
    slow = slow_map(run, found)
    bias = " It ran under a bias, so the coordinates are those that are slow under it." if found.biased else ""
    plane = PlaneMap(
        "Slow coordinates, paths over a simulation",
        "slowest coordinate",
        "second slowest coordinate",
        slow.x,
        slow.y,
        _shading(slow.background, f"free energy of {found.file.name}"),
        note=(
            f"The coordinates are those that change most slowly in the simulation: combinations of {slow.features} "
            f"(TICA, lag {slow.lag_frames} frames). Where nothing is shaded, it never was.{bias}"
        ),
    )
    return Maps(planes=[plane])


def _shading(background: Background, name: str) -> Shading:
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (background.x_edges, background.y_edges))
    return Shading(name, x, y, background.values.T)


def _residues(run: StoredRun) -> dict[str, float]:
    """The residues with phi and psi, by their names in images.csv, and how far each of them turns, degrees."""
    angles = run.images.dihedrals_deg()
    names = [name.removeprefix("phi_") for name in angles if name.startswith("phi_")]
    return {r: max(_turn(angles[f"phi_{r}"]), _turn(angles[f"psi_{r}"])) for r in names if f"psi_{r}" in angles}


def _turn(angle: Float[np.ndarray, "path image"]) -> float:
    """Largest range of an angle along one path, followed over the edge, degrees."""
    followed = np.unwrap(np.nan_to_num(angle), period=360.0, axis=1)
    return float(np.ptp(followed, axis=1).max())


def _peptide(
    run: StoredRun, residues: Mapping[str, float], shadings: Mapping[str, Shading], tube: StoredTube | None
) -> Maps:
    """A Ramachandran plot for the residues that turn most, in the order of the chain."""
    angles = run.images.dihedrals_deg()
    chosen = sorted(residues, key=lambda residue: -residues[residue])[:MOST_PANELS]
    panels = [
        RamachandranPanel(
            name := residue.upper().replace("_", " "),
            angles[f"phi_{residue}"],
            angles[f"psi_{residue}"],
            shadings.get(residue),
            _tube_axis(tube, f"phi {name}", f"psi {name}"),
        )
        for residue in residues
        if residue in chosen
    ]
    left = len(residues) - len(panels)
    return Maps(panels, note=f"The {left} other residues turn less; their dihedrals are in images.csv." if left else "")


def _tube_axis(tube: StoredTube | None, x: str, y: str) -> TubeAxis | None:
    """The middle of the ensemble in the plane of two of its variables; None if it has not both."""
    if tube is None or not {x, y} <= set(tube.course.names):
        return None
    course, columns = tube.course, [tube.course.names.index(name) for name in (x, y)]
    return TubeAxis(*course.mean[:, columns].T, *course.deviation[:, columns].T)


def _model_system(run: StoredRun, tube: StoredTube | None) -> list[PlaneMap]:
    """The paths of a two-dimensional model system, on its potential if that is known."""
    if run.n_dims != 2 or not run.has_trajectories:
        return []
    x, y = run.paths[:, :, 0].numpy().transpose(2, 0, 1)
    axis = None if tube is None else _tube_axis(tube, *tube.course.names)
    return [PlaneMap("Paths on the potential", "x (nm)", "y (nm)", x, y, _potential(run, x, y), axis)]


def _potential(run: StoredRun, x: np.ndarray, y: np.ndarray) -> Shading | None:
    potential = run.potential()
    if potential is None:
        return None
    grid_x, grid_y = (np.linspace(*_widened(values), _GRID) for values in (x, y))
    points = torch.from_numpy(np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 1, 2))
    with torch.no_grad():
        energy = as_array(potential(points))
    values = energy.reshape(_GRID, _GRID)
    return Shading("potential energy above the lowest point", grid_x, grid_y, values, _SHOWN_OF_POTENTIAL)


def _widened(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    extra = 0.25 * max(high - low, 1e-6)
    return low - extra, high + extra
