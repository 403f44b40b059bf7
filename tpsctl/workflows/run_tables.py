"""The tables of a finished run as its CSV files hold them; what is damaged is named with its file."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tpsctl.workflows.run_refusals import damaged


@dataclass(frozen=True)
class RunTable:
    """A CSV file of a run.

    Attributes:
        file: The file.
        columns: The cells of every column by its name.
    """

    file: Path
    columns: dict[str, list[str]]

    @classmethod
    def read(cls, file: Path) -> "RunTable":
        """Read a file that is there.

        Raises:
            RecipeError: It is no table.
        """
        try:
            with file.open(encoding="utf-8", newline="") as stream:
                header, *rows = csv.reader(stream)
        except (OSError, ValueError, csv.Error) as error:
            raise damaged(file, str(error) if file.stat().st_size else "empty") from None
        if any(len(row) != len(header) for row in rows):
            raise damaged(file, "a row is shorter or longer than the header")
        return cls(file, {column: [row[k] for row in rows] for k, column in enumerate(header)})

    def cells(self, column: str) -> list[str]:
        """The cells of a column.

        Raises:
            RecipeError: There is no such column.
        """
        if column not in self.columns:
            raise damaged(self.file, f"no column {column}")
        return self.columns[column]

    def numbers(self, column: str) -> Float[np.ndarray, " row"]:
        """A column as numbers; an empty cell is NaN.

        Raises:
            RecipeError: There is no such column, or a cell is no number.
        """
        try:
            return np.array([float(cell) if cell else np.nan for cell in self.cells(column)])
        except ValueError as error:
            raise damaged(self.file, f"column {column}: {error}") from None


@dataclass(frozen=True)
class ImageTable:
    """images.csv: one row for every image, path by path.

    Attributes:
        table: The table; one without columns for a run without paths.
        n_paths: Number of paths.
    """

    table: RunTable
    n_paths: int

    @property
    def columns(self) -> dict[str, list[str]]:
        """The cells of every column by its name."""
        return self.table.columns

    def values(self, column: str) -> Float[np.ndarray, "path image"] | None:
        """A column as numbers; None if it is not there.

        Raises:
            RecipeError: The table is damaged.
        """
        if column not in self.columns:
            return None
        numbers = self.table.numbers(column)
        if len(numbers) % self.n_paths:
            raise damaged(self.table.file, f"{len(numbers)} rows for {self.n_paths} paths of equal length")
        return numbers.reshape(self.n_paths, -1)

    def energies(self) -> dict[str, Float[np.ndarray, "path image"]]:
        """E - E(A) of every image by kind, kJ/mol."""
        found = {kind: self.values(f"energy_{kind}_above_start_kj_per_mol") for kind in ("raw", "minimized")}
        return {kind: energy for kind, energy in found.items() if energy is not None}

    @property
    def has_arc_length(self) -> bool:
        """Whether the distances along paths are arc lengths in mass-weighted coordinates."""
        return "arc_length_sqrt_amu_nm" in self.columns

    def distances(self) -> Float[np.ndarray, "path image"]:
        """Distance of every image from A along its path: arc length, sqrt(amu) nm, or else the sum of gaps, nm.

        Raises:
            RecipeError: The table has no such column.
        """
        length = self.values("arc_length_sqrt_amu_nm")
        if length is not None:
            return length
        gaps = self.values("gap_to_next_nm")
        if gaps is None:
            raise damaged(self.table.file, "no column gap_to_next_nm")
        steps = np.nan_to_num(gaps[:, :-1])
        return np.concatenate([np.zeros((len(gaps), 1)), steps.cumsum(1)], 1)

    def dihedrals_deg(self) -> dict[str, Float[np.ndarray, "path image"]]:
        """The backbone dihedrals of every image by their columns, e.g. "phi_ala2", degrees."""
        names = [c.removesuffix("_deg") for c in self.columns if c.startswith(("phi_", "psi_", "omega_"))]
        names = [name for name in names if not name.endswith("deviation")]
        found = {name: self.values(f"{name}_deg") for name in names}
        return {name: values for name, values in found.items() if values is not None}

    def stationary(self, path: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Images of the path of a route that are minima, and those that are saddles."""
        cells = self.table.cells("stationary")
        n_images = len(cells) // self.n_paths
        kinds = cells[path * n_images : (path + 1) * n_images]
        minima, saddles = ([i for i, kind in enumerate(kinds) if kind == wanted] for wanted in ("minimum", "saddle"))
        return tuple(minima), tuple(saddles)
