"""Second derivatives of forces without a closed form, by central differences of OpenMM's forces.

They take two forces for every coordinate. In double precision the displacement is 1e-5 nm: a bond's fourth derivative
(1e8 kJ/mol/nm^4) then costs 2e-3 of 3e5 kJ/mol/nm^2, rounding of the forces less. OpenMM's CPU platform computes
nonbonded forces in single precision with errors of about 1e-4 kJ/mol/nm. There a displacement of 1e-4 nm keeps the
error of a second derivative near 1 kJ/mol/nm^2; a bond has 3e5 kJ/mol/nm^2 and a soft torsion about 1e2.
"""

import torch

from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum
from tpsctl.molecule.openmm_contexts import ContextPool

_DOUBLE_NM, _SINGLE_NM = 1e-5, 1e-4


def difference_step_nm(precision: str) -> float:
    """Displacement of a coordinate for differences of forces of a `ContextPool`'s precision, nm."""
    return _DOUBLE_NM if precision == "double" else _SINGLE_NM


class DifferenceCurvature(CurvatureTerm):
    """Any forces of a System.

    Args:
        pool: Contexts of a System that has these forces alone.
    """

    def __init__(self, pool: ContextPool) -> None:
        self._pool, self._step_nm = pool, difference_step_nm(pool.precision)

    def add_to(self, hessian: HessianSum) -> None:
        x = hessian.x
        images, n = len(x), x[0].numel()
        shift = self._step_nm * torch.eye(n, dtype=x.dtype).view(n, *x.shape[1:])
        both = torch.stack((x.unsqueeze(1) - shift, x.unsqueeze(1) + shift), 1)
        forces = self._pool.forces(both.flatten(0, 2)).view(images, 2, n, n)
        rows = (forces[:, 0] - forces[:, 1]) / (2 * self._step_nm)
        hessian.add((rows + rows.mT) / 2)
