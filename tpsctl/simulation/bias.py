"""A bias energy on one or two dihedral angles, tabulated on a periodic grid.

Enhanced sampling adds V(phi, psi) to the physical energy. Whoever uses the data must be able to
evaluate the same V: to reweight frames by exp(+V/kT), and to add it to a model's energy while it is
trained on biased frames. V is the periodic cubic spline through the values f_ij at the grid points,

    V(phi, psi) = sum_ij c_ij B(u - i) B(v - j),      u = (phi + pi)/h,  (c_{i-1} + 4 c_i + c_{i+1})/6 = f_i

(B the cubic B-spline; the second equation once per axis). OpenMM's periodic Continuous1DFunction and
Continuous2DFunction are the same spline, so simulation and training see one and the same function.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology

if TYPE_CHECKING:
    import openmm

Quadruple = tuple[int, int, int, int]


@dataclass(frozen=True)
class BiasGrid:
    """Bias energy over 1 or 2 dihedrals.

    Attributes:
        values: V at -pi + i h, h = 2 pi/n, kJ/mol, float64; one axis per dihedral, without the repeated end point.
        dihedrals: Atom indices of each dihedral.
    """

    values: np.ndarray
    dihedrals: tuple[Quadruple, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.dihedrals) or self.values.ndim not in (1, 2):
            raise DataError(
                f"bias grid: got {self.values.ndim} axes for {len(self.dihedrals)} dihedrals, expected 1 or 2 of both."
            )
        if min(self.values.shape) < 4 or not np.isfinite(self.values).all():
            raise DataError("bias grid: expected at least 4 finite values (kJ/mol) per axis.")

    @classmethod
    def zeros(cls, points: int, dihedrals: tuple[Quadruple, ...]) -> "BiasGrid":
        """A bias that is 0 everywhere, on a grid of this many points per axis."""
        return cls(np.zeros((points,) * len(dihedrals)), dihedrals)

    def energy(self, angles: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """V in kJ/mol at dihedral angles in rad (any multiple of 2 pi may be added); twice differentiable."""
        coefficients = torch.as_tensor(self._coefficients, dtype=angles.dtype, device=angles.device)
        corners, weights = zip(*(self._stencil(angles[..., a], a) for a in range(len(self.dihedrals))), strict=True)
        if len(corners) == 1:
            return (weights[0] * coefficients[corners[0]]).sum(-1)
        patch = coefficients[corners[0].unsqueeze(-1), corners[1].unsqueeze(-2)]
        return torch.einsum("...i,...ij,...j->...", weights[0], patch, weights[1])

    def energy_of(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """V in kJ/mol of configurations in nm; differentiable."""
        return self.energy(self.angles(x))

    def angles(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch axis"]:
        """The biased dihedrals in rad, (-pi, pi]."""
        return dihedral(x, torch.tensor(self.dihedrals, device=x.device))

    def openmm_force(self) -> "openmm.CustomCompoundBondForce":
        """The same bias as an OpenMM force; `set_table` replaces its values in a running simulation."""
        import openmm

        atoms = [i for quadruple in self.dihedrals for i in quadruple]
        angles = [f"dihedral({', '.join(f'p{4 * a + k}' for k in (1, 2, 3, 4))})" for a in range(len(self.dihedrals))]
        force = openmm.CustomCompoundBondForce(len(atoms), f"bias({', '.join(angles)})")
        force.addTabulatedFunction("bias", self.table())
        force.addBond(atoms, [])
        force.setName("bias")
        return force

    def set_table(self, force: "openmm.CustomCompoundBondForce", context: "openmm.Context") -> None:
        """Put the values of this bias into a force that `openmm_force` of a grid of the same size made."""
        self.fill_table(force.getTabulatedFunction(0))
        force.updateParametersInContext(context)

    @property
    def grids(self) -> tuple["BiasGrid", ...]:
        """This grid alone, as the only one of its kind of bias."""
        return (self,)

    def with_values(self, values: Sequence[np.ndarray]) -> "BiasGrid":
        """The same bias with other values, kJ/mol, given as a sequence of one array."""
        (only,) = values
        return BiasGrid(only, self.dihedrals)

    def shares(self, x: Float[Tensor, "bead 3"]) -> tuple[float, ...]:
        """The fraction of a hill that each grid gets: all of it."""
        return (1.0,)

    def axis(self, number: int) -> np.ndarray:
        """Grid angles of one axis, rad."""
        n = self.values.shape[number]
        return -math.pi + 2 * math.pi / n * np.arange(n)

    @cached_property
    def _coefficients(self) -> np.ndarray:
        coefficients = self.values
        for a, n in enumerate(self.values.shape):
            shape = [1] * self.values.ndim
            shape[a] = n
            eigenvalues = (4 + 2 * np.cos(2 * np.pi * np.arange(n) / n)) / 6
            spectrum = np.fft.fft(coefficients, axis=a) / eigenvalues.reshape(shape)
            coefficients = np.fft.ifft(spectrum, axis=a).real
        return coefficients

    def _stencil(self, angle: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Indices and B-spline weights (..., 4) of the four coefficients that determine V at an angle."""
        n = self.values.shape[axis]
        u = (angle + math.pi) * (n / (2 * math.pi))
        cell = u.detach().floor()
        s = u - cell
        weights = torch.stack(((1 - s) ** 3, 3 * s**3 - 6 * s**2 + 4, -3 * s**3 + 3 * s**2 + 3 * s + 1, s**3), dim=-1)
        corners = cell.long().unsqueeze(-1) + torch.arange(-1, 3, device=angle.device)
        return corners.remainder(n), weights / 6

    def _table_parameters(self) -> tuple:
        wrapped = np.pad(self.values, [(0, 1)] * self.values.ndim, mode="wrap")
        limits = (-math.pi, math.pi) * self.values.ndim
        sizes = wrapped.shape if self.values.ndim == 2 else ()
        return (*sizes, wrapped.ravel(order="F").tolist(), *limits)

    def table(self) -> "openmm.TabulatedFunction":
        """The values as a periodic function of OpenMM."""
        import openmm

        kind = openmm.Continuous2DFunction if self.values.ndim == 2 else openmm.Continuous1DFunction
        return kind(*self._table_parameters(), True)

    def fill_table(self, table: "openmm.TabulatedFunction") -> None:
        """Put the values into a function that `table` of a grid of the same size made."""
        table.setFunctionParameters(*self._table_parameters())


def find_dihedrals(topology: Topology, wanted: tuple[str | tuple[str, str, str, str], ...]) -> tuple[Quadruple, ...]:
    """Atom indices of dihedrals named by label ("phi ALA2") or by four atom labels ("ALA2:N" or "A:ALA2:N").

    Raises:
        DataError: There is no such dihedral or atom.
    """
    named = dict(topology.backbone_dihedrals)
    labels = atom_labels(topology)
    found = []
    for name in wanted:
        if isinstance(name, str):
            if name not in named:
                raise DataError(f'no dihedral "{name}"; this molecule has: {", ".join(named) or "none by name"}.')
            found.append(named[name])
        else:
            unknown = [atom for atom in name if atom not in labels]
            if unknown:
                raise DataError(f"dihedral {name}: no atom {unknown[0]}; atoms are named like {next(iter(labels))}.")
            i, j, k, m = (labels[atom] for atom in name)
            found.append((i, j, k, m))
    return tuple(found)


def atom_labels(topology: Topology) -> dict[str, int]:
    """Index of every atom by its label, and by its label without chain where that is unique."""
    short = [atom.label.split(":", atom.label.count(":") - 1)[-1] for atom in topology.atoms]
    unique = {label: i for i, label in enumerate(short) if short.count(label) == 1}
    return unique | {atom.label: i for i, atom in enumerate(topology.atoms)}
