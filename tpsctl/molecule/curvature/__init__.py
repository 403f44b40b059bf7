"""Second derivatives of a force field: closed forms for the usual forces, differences of forces for the others.

`Curvature` gives the Hessian of a System. Closed forms of the usual terms cost as much as some ten forces; central
differences cost two forces for every coordinate.
"""

from tpsctl.molecule.curvature.differences import difference_step_nm
from tpsctl.molecule.curvature.hessian import Curvature

__all__ = ["Curvature", "difference_step_nm"]
