"""Second derivatives of a force field: closed forms for the usual forces, differences of forces for the others.

`Curvature` gives the Hessian of a System. A closed form costs as much as a few forces; central differences cost two
forces for every coordinate.
"""

from tpsctl.molecule.curvature.hessian import Curvature

__all__ = ["Curvature"]
