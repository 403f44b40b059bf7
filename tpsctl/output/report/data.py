"""What a report of a run is made of: plain text, tables and arrays, without a file or a recipe behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from tpsctl.output.report.frames import PackedFrames


@dataclass(frozen=True)
class ReportVerdict:
    """What the reader shall believe of a run, in sentences.

    Attributes:
        outcome: "complete", "not_converged", "not_saddle" or "not_valid".
        headline: The verdict in one sentence.
        reasons: What speaks for the paths.
        doubts: What speaks against them, or was not shown.
        remedies: What to do about every kind of fault.
    """

    outcome: str
    headline: str
    reasons: Sequence[str] = ()
    doubts: Sequence[str] = ()
    remedies: Sequence[str] = ()


@dataclass(frozen=True)
class ReportTable:
    """A table of texts.

    Attributes:
        title: Heading above the table.
        columns: Headings of the columns.
        rows: Cells, one sequence per row.
        note: A sentence below the heading; "" for none.
        closed: Whether the table is hidden until the reader opens it.
        path_column: Number of the column that holds the number of a path, which the page makes a button; None if the
            rows are not about paths.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    closed: bool = False
    path_column: int | None = None


@dataclass(frozen=True)
class PathCurve:
    """Energies along one path.

    Attributes:
        name: Name in the list of paths, e.g. "path 3" or "route 0: 36.1 kJ/mol".
        group: Number of its channel or route, which decides the color.
        group_name: Name of the channel or route, e.g. "channel 0".
        valid: Whether it passed the gate; an invalid path is dashed.
        distance: Distance of every image from A along the path, in the unit of the report.
        energies: E - E(A) of every image by kind, kJ/mol; NaN where it is unknown.
    """

    name: str
    group: int
    group_name: str
    valid: bool
    distance: Float[np.ndarray, " image"]
    energies: Mapping[str, Float[np.ndarray, " image"]]


@dataclass(frozen=True)
class RamachandranPanel:
    """The backbone of one residue at all images of all paths.

    Attributes:
        residue: Name of the residue, e.g. "ALA2".
        phi: Dihedral phi, degrees.
        psi: Dihedral psi, degrees.
    """

    residue: str
    phi: Float[np.ndarray, "path image"]
    psi: Float[np.ndarray, "path image"]


@dataclass(frozen=True)
class ActionCourse:
    """The action during the optimization.

    Attributes:
        steps: Numbers of the optimizer steps that are shown.
        stages: First step and name of every stage.
        total: Total action of every path, dimensionless.
        terms: Median over the paths of every term that is not zero, dimensionless.
    """

    steps: Int[np.ndarray, " step"]
    stages: Sequence[tuple[int, str]]
    total: Float[np.ndarray, "step path"]
    terms: Mapping[str, Float[np.ndarray, " step"]]


@dataclass(frozen=True)
class PlaneMap:
    """Paths of a two-dimensional model system.

    Attributes:
        x: First coordinate of every image, nm.
        y: Second coordinate of every image, nm.
        grid_x: First coordinates of the points at which the potential is given, nm, equally spaced; empty without one.
        grid_y: Second coordinates of these points, nm.
        potential: Energy at grid_x[j], grid_y[i], kJ/mol.
    """

    x: Float[np.ndarray, "path image"]
    y: Float[np.ndarray, "path image"]
    grid_x: Float[np.ndarray, " column"] = field(default_factory=lambda: np.zeros(0))
    grid_y: Float[np.ndarray, " row"] = field(default_factory=lambda: np.zeros(0))
    potential: Float[np.ndarray, "row column"] = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass(frozen=True)
class RunReport:
    """Everything that a report shows.

    Attributes:
        name: Name of the run.
        verdict: What to believe.
        facts: The numbers at the top of the page: (name, value).
        curves: Energies along all paths, best first.
        distance_label: Name and unit of the distance along a path.
        ceiling: Upper end of the energy axis, kJ/mol; a broken path may lie beyond it.
        panels: Ramachandran plots, of a peptide.
        panels_note: A sentence about residues that have no plot; "" for none.
        action: The action against the step; None if there is none.
        plane: Paths in the plane, of a two-dimensional model system; None otherwise.
        frames: Structures for the viewer; None without a viewer.
        frames_note: Why there is no viewer, or what it leaves out; "" for nothing to say.
        tables: Tables in the order of the page.
    """

    name: str
    verdict: ReportVerdict
    facts: Sequence[tuple[str, str]]
    curves: Sequence[PathCurve]
    distance_label: str
    ceiling: float
    panels: Sequence[RamachandranPanel]
    panels_note: str
    action: ActionCourse | None
    plane: PlaneMap | None
    frames: PackedFrames | None
    frames_note: str
    tables: Sequence[ReportTable]
