"""The free energy of a simulation, drawn behind paths in the plane of two coordinates."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TURN = (-180.0, 180.0)


@dataclass(frozen=True)
class Background:
    """A free energy on a grid of two coordinates.

    Attributes:
        x_edges: Edges of the cells along the first coordinate.
        y_edges: Edges of the cells along the second coordinate.
        values: Free energy, kJ/mol, values[i, j] in cell i of the first and j of the second coordinate; NaN where it
            is unknown.
    """

    x_edges: Float[np.ndarray, " x_edge"]
    y_edges: Float[np.ndarray, " y_edge"]
    values: Float[np.ndarray, "x y"]

    @classmethod
    def of_frames(
        cls,
        x: Float[np.ndarray, " frame"],
        y: Float[np.ndarray, " frame"],
        *,
        kT: float,
        weights: Float[np.ndarray, " frame"] | None = None,
        cells: int = 60,
        ranges: tuple[tuple[float, float], tuple[float, float]] = (TURN, TURN),
    ) -> "Background":
        """The free energy -kT ln p of frames, above its lowest cell; a cell without a frame is unknown.

        Args:
            x: First coordinate of every frame.
            y: Second coordinate of every frame.
            kT: Thermal energy, kJ/mol.
            weights: Weights of the frames in equilibrium; None for equal ones.
            cells: Number of cells along each coordinate.
            ranges: Least and largest value of both coordinates; by default those of angles in degrees.
        """
        mass, x_edges, y_edges = np.histogram2d(x, y, bins=cells, range=ranges, weights=weights)
        with np.errstate(divide="ignore"):
            values = kT * (np.log(mass.max()) - np.log(mass))
        return cls(x_edges, y_edges, np.where(mass > 0, values, np.nan))


def draw_background(figure: "Figure", axes: "Axes", background: Background) -> None:
    """Draw a free energy with its scale; cells where it is unknown stay white."""
    shown = np.ma.masked_invalid(background.values.T)
    mesh = axes.pcolormesh(
        background.x_edges, background.y_edges, shown, cmap="Greys_r", vmin=0, rasterized=True, alpha=0.6
    )
    axes.grid(visible=False)
    figure.colorbar(mesh, ax=axes, label="free energy (kJ/mol)", shrink=0.75)
