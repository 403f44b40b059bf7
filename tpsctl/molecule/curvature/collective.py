"""Second derivatives of pair energies with a formula of their own, and of functions of sums of such pairs.

A `CustomBondForce` is a sum over pairs, q = sum_ab g_ab(r_ab). A `CustomCVForce` is a function of several of them,

    U = f(q_1, q_2, ...) ,     H = sum_i f_i H(q_i) + sum_ij f_ij grad q_i (grad q_j)^T ,

so its second derivatives are those of pairs with the energies f_i g_ab (f_i fixed), and products of gradients. The
contact energy of a structure-based model is of this form. Derivatives of the formulas are taken by autograd.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum, UnknownForm, numbers, require_no_box
from tpsctl.molecule.curvature.expressions import Formula, Value, formula_of


class CustomBondCurvature(CurvatureTerm):
    """An `openmm.CustomBondForce`.

    Raises:
        UnknownForm: Its formula has something that is not known here, or it has a periodic box.
    """

    def __init__(self, force: Any) -> None:
        self._sum = _PairSum(force)

    def add_to(self, hessian: HessianSum) -> None:
        _, slope, curvature = self._sum.derivatives(hessian)
        hessian.add_pairs(self._sum.pairs, slope, curvature)


class CollectiveCurvature(CurvatureTerm):
    """An `openmm.CustomCVForce` of which every collective variable is a `CustomBondForce`.

    Raises:
        UnknownForm: A collective variable is another force, or a formula has something that is not known here.
    """

    def __init__(self, force: Any) -> None:
        if force.getNumTabulatedFunctions():
            raise UnknownForm(type(force).__name__)
        self._formula: Formula = formula_of(force.getEnergyFunction())
        self._constants = _global_parameters(force)
        self._sums: dict[str, _PairSum] = {}
        for k in range(force.getNumCollectiveVariables()):
            variable = force.getCollectiveVariable(k)
            if type(variable).__name__ != "CustomBondForce":
                raise UnknownForm(type(variable).__name__)
            self._sums[force.getCollectiveVariableName(k)] = _PairSum(variable)

    def add_to(self, hessian: HessianSum) -> None:
        parts = {name: pairs.derivatives(hessian) for name, pairs in self._sums.items()}
        q = torch.stack([value.sum(1) for value, _, _ in parts.values()], 1)
        first, second = self._derivatives(q)
        gradients = []
        for k, (name, (_, slope, curvature)) in enumerate(parts.items()):
            pairs, weight = self._sums[name].pairs, first[:, k : k + 1]
            hessian.add_pairs(pairs, weight * slope, weight * curvature)
            gradients.append(_gradient(hessian, pairs, slope))
        rows = torch.stack(gradients, 1)
        hessian.add(rows.mT @ second @ rows)

    def _derivatives(
        self, q: Float[Tensor, "image variable"]
    ) -> tuple[Float[Tensor, "image variable"], Float[Tensor, "image variable variable"]]:
        """First and second derivatives of f by the collective variables."""
        q = q.detach().requires_grad_(True)
        with torch.enable_grad():
            given: dict[str, Value] = {**self._constants, **dict(zip(self._sums, q.unbind(1), strict=True))}
            energy = self._formula(given) + 0 * q.sum(1)  # depends on q even if the formula does not
            assert isinstance(energy, Tensor)
            (first,) = torch.autograd.grad(energy.sum(), q, create_graph=True)
            rows = [_slope(first[:, k].sum(), q) for k in range(q.shape[1])]
        return first.detach(), torch.stack(rows, 1)


class _PairSum:
    """The terms g(r) of a `CustomBondForce`.

    Attributes:
        pairs: Atom indices of each term, as two rows.
    """

    def __init__(self, force: Any) -> None:
        require_no_box(force)
        names = [force.getPerBondParameterName(k) for k in range(force.getNumPerBondParameters())]
        rows = [force.getBondParameters(k) for k in range(force.getNumBonds())]
        self.pairs = torch.tensor([(i, j) for i, j, _ in rows], dtype=torch.long).reshape(-1, 2).T
        self._formula: Formula = formula_of(force.getEnergyFunction())
        columns = numbers([values for *_, values in rows], len(names)) if names else ()
        self._given: dict[str, Value] = _global_parameters(force) | dict(zip(names, columns, strict=True))

    def derivatives(self, hessian: HessianSum) -> tuple[Float[Tensor, "image pair"], ...]:
        """g, g' and g'' of every term."""
        r = hessian.r[:, self.pairs[0], self.pairs[1]].detach().requires_grad_(True)
        with torch.enable_grad():
            value = self._formula({**self._given, "r": r}) + 0 * r
            assert isinstance(value, Tensor)
            (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
            curvature = _slope(slope.sum(), r)
        return value.detach(), slope.detach(), curvature


def _global_parameters(force: Any) -> dict[str, Value]:
    return {
        force.getGlobalParameterName(k): force.getGlobalParameterDefaultValue(k)
        for k in range(force.getNumGlobalParameters())
    }


def _gradient(hessian: HessianSum, pairs: Tensor, slope: Float[Tensor, "image pair"]) -> Float[Tensor, "image n"]:
    """Gradient of a sum over pairs by the coordinates of all atoms."""
    first, second = pairs
    along = (slope * hessian.inverse[:, first, second]).unsqueeze(1) * hessian.between[:, :, first, second]
    rows = torch.zeros_like(hessian.between[:, :, :, 0])
    return rows.index_add_(2, first, along).index_add_(2, second, -along).mT.flatten(1)


def _slope(total: Tensor, variable: Tensor) -> Tensor:
    """d total / d variable; zeros where the total does not depend on it."""
    if not total.requires_grad:
        return torch.zeros_like(variable)
    (found,) = torch.autograd.grad(total, variable, retain_graph=True, allow_unused=True)
    return torch.zeros_like(variable) if found is None else found
