"""What a report of a run is made of: plain text, tables and arrays, without a file or a recipe behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
class Shading:
    """An energy on a grid, drawn behind paths.

    Attributes:
        name: What it is, e.g. "free energy of md.dcd".
        x: First coordinates of the middles of the cells, equally spaced.
        y: Second coordinates.
        values: Energy in the cell at x[j], y[i], kJ/mol; NaN where it is unknown.
        shown: The fraction of the cells, those of the lowest energies, among which the shades are told apart.
    """

    name: str
    x: Float[np.ndarray, " column"]
    y: Float[np.ndarray, " row"]
    values: Float[np.ndarray, "row column"]
    shown: float = 1.0


@dataclass(frozen=True)
class TubeAxis:
    """The middle of an ensemble of transition paths in a plane.

    Attributes:
        x: First coordinate of the mean of the ensemble at every level of progress.
        y: Second coordinate.
        x_deviation: Standard deviation of the first coordinate.
        y_deviation: Standard deviation of the second coordinate.
    """

    x: Float[np.ndarray, " level"]
    y: Float[np.ndarray, " level"]
    x_deviation: Float[np.ndarray, " level"]
    y_deviation: Float[np.ndarray, " level"]


@dataclass(frozen=True)
class RamachandranPanel:
    """The backbone of one residue at all images of all paths.

    Attributes:
        residue: Name of the residue, e.g. "ALA2".
        phi: Dihedral phi, degrees.
        psi: Dihedral psi, degrees.
        shading: The free energy of a simulation; None without one.
        tube: The middle of an ensemble of transition paths in this plane; None without one.
    """

    residue: str
    phi: Float[np.ndarray, "path image"]
    psi: Float[np.ndarray, "path image"]
    shading: Shading | None = None
    tube: TubeAxis | None = None


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
    """Paths in a plane of two coordinates.

    Attributes:
        title: Heading of the plot.
        x_label: Name and unit of the first coordinate.
        y_label: Name and unit of the second coordinate.
        x: First coordinate of every image.
        y: Second coordinate of every image.
        shading: The energy behind the paths; None without one.
        tube: The middle of an ensemble of transition paths; None without one.
        note: A sentence below the plot; "" for none.
    """

    title: str
    x_label: str
    y_label: str
    x: Float[np.ndarray, "path image"]
    y: Float[np.ndarray, "path image"]
    shading: Shading | None = None
    tube: TubeAxis | None = None
    note: str = ""


@dataclass(frozen=True)
class IntervalRow:
    """One line of a chart of intervals.

    Attributes:
        name: What it is about.
        value: The number, NaN if it is unknown.
        low: Lower end of its interval; the number itself for none.
        high: Upper end.
        text: The number with its interval and what belongs to it, in words.
        kind: "own" for the paths of the run, "control" for what is compared with them, "reference" for the truth.
        image: The image of the chart's path that it is about; None for none.
    """

    name: str
    value: float
    low: float
    high: float
    text: str
    kind: str = "own"
    image: int | None = None


@dataclass(frozen=True)
class IntervalChart:
    """Numbers with their intervals, one line each, on one axis.

    Attributes:
        title: Heading.
        rows: The lines.
        least: Lower end of the axis.
        most: Upper end of the axis.
        band: A range of the axis that is shaded; None for none.
        note: What the band means, and what to know besides; a sentence or several.
        path: The path that images belong to.
    """

    title: str
    rows: Sequence[IntervalRow]
    least: float
    most: float
    band: tuple[float, float] | None = None
    note: str = ""
    path: int = 0


@dataclass(frozen=True)
class Evidence:
    """What another computation says of the paths: a section of its own.

    Attributes:
        title: Heading.
        verdict: What it says, in one or two sentences.
        speaks_for: Whether that speaks for the paths; None if it decides nothing.
        sentences: How it was done, and how to read it.
        charts: Charts of intervals.
        tables: Tables.
    """

    title: str
    verdict: str
    speaks_for: bool | None
    sentences: Sequence[str] = ()
    charts: Sequence[IntervalChart] = ()
    tables: Sequence[ReportTable] = ()


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
        planes: Paths in planes of two coordinates: those of a model system, or the slow ones of a simulation.
        frames: Structures for the viewer; None without a viewer.
        frames_note: Why there is no viewer, or what it leaves out; "" for nothing to say.
        tables: Tables in the order of the page.
        evidence: Sections on what dynamics says, before the tables.
        words: What the page's words mean: (word, meaning).
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
    planes: Sequence[PlaneMap]
    frames: PackedFrames | None
    frames_note: str
    tables: Sequence[ReportTable]
    evidence: Sequence[Evidence] = ()
    words: Sequence[tuple[str, str]] = ()
