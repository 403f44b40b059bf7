"""A bias on many dihedrals: several low-dimensional biases V_i, of which the one that is needed acts.

    V(x) = -kT log( (1/n) sum_i exp(-V_i(s_i(x)) / kT) ) ,     dV/dV_i = P_i = exp(-V_i/kT) / sum_j exp(-V_j/kT)

With a joint grid, memory and filling time grow exponentially with the number of dihedrals; here they grow linearly.
Each V_i is a `BiasGrid` of one dihedral or of a pair. Hills of grid i have their height multiplied by P_i; then each
V_i converges to -(1 - 1/gamma) F_i with F_i the free energy of its own variables. Once frozen, V is a static bias as
any other, so that exp(+V/kT) are exact weights.

Source: Pfaendtner and Bonomi, J. Chem. Theory Comput. 11 (2015) 5062, eqs. 6 to 10 (there with the sum instead of the
mean, which shifts V by kT log n).
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
from tpsctl.simulation.bias import BiasGrid, Quadruple
from tpsctl.units import thermal_energy

if TYPE_CHECKING:
    import openmm


@dataclass(frozen=True)
class ParallelBias:
    """Several biases that act in parallel.

    Attributes:
        grids: The biases V_i, at least two.
        temperature_k: Temperature, K.
    """

    grids: tuple[BiasGrid, ...]
    temperature_k: float

    def __post_init__(self) -> None:
        if len(self.grids) < 2:
            raise DataError(f"parallel bias: got {len(self.grids)} grids, expected at least 2.")

    @cached_property
    def dihedrals(self) -> tuple[Quadruple, ...]:
        """Atom indices of all dihedrals, each once, in the order of the grids."""
        return tuple(dict.fromkeys(quadruple for grid in self.grids for quadruple in grid.dihedrals))

    def with_values(self, values: Sequence[np.ndarray]) -> "ParallelBias":
        """The same bias with other values, kJ/mol, on its grids."""
        grids = (BiasGrid(v, grid.dihedrals) for v, grid in zip(values, self.grids, strict=True))
        return ParallelBias(tuple(grids), self.temperature_k)

    def energy_of(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """V in kJ/mol of configurations in nm; differentiable."""
        parts = torch.stack([grid.energy_of(x) for grid in self.grids])
        return -self._kt * (torch.logsumexp(-parts / self._kt, 0) - math.log(len(self.grids)))

    def shares(self, x: Float[Tensor, "bead 3"]) -> tuple[float, ...]:
        """P_i of every grid at a configuration in nm."""
        parts = torch.stack([grid.energy_of(x) for grid in self.grids])
        return tuple(torch.softmax(-parts / self._kt, 0).tolist())

    def openmm_force(self) -> "openmm.CustomCompoundBondForce":
        """The same bias as an OpenMM force; `set_table` replaces its values in a running simulation."""
        import openmm

        atoms = list(dict.fromkeys(i for quadruple in self.dihedrals for i in quadruple))
        terms = []
        for number, grid in enumerate(self.grids):
            particles = [", ".join(f"p{1 + atoms.index(i)}" for i in quadruple) for quadruple in grid.dihedrals]
            angles = ", ".join(f"dihedral({p})" for p in particles)
            terms.append(f"exp(-bias{number}({angles})/kt)")
        force = openmm.CustomCompoundBondForce(len(atoms), f"-kt*log(({' + '.join(terms)})/{len(terms)})")
        force.addGlobalParameter("kt", self._kt)
        for number, grid in enumerate(self.grids):
            force.addTabulatedFunction(f"bias{number}", grid.table())
        force.addBond(atoms, [])
        force.setName("bias")
        return force

    def set_table(self, force: "openmm.CustomCompoundBondForce", context: "openmm.Context") -> None:
        """Put the values of this bias into a force that `openmm_force` of grids of the same sizes made."""
        for number, grid in enumerate(self.grids):
            grid.fill_table(force.getTabulatedFunction(number))
        force.updateParametersInContext(context)

    @property
    def _kt(self) -> float:
        return thermal_energy(self.temperature_k)


Bias = BiasGrid | ParallelBias
"""A bias that `simulate` can apply: on one or two dihedrals, or on many in parallel."""
