"""Second derivatives of generalized Born solvents and all that an `openmm.CustomGBForce` can be.

Every atom has an integral over its neighbors, from which its Born radius and further values follow,

    I_i = sum_j f_ij(r_ij) ,     U = sum_i e_i(I_i) + sum_(i<j) u_ij(r_ij, I_i, I_j) ,

so with G_i = grad I_i, the derivatives a_i = dU/dI_i and K_ij = d2U / (dI_i dI_j), and

    M_i = sum_j d2u_ij / (dI_i dr_ij) grad r_ij ,

the second derivatives are those of pairs with the energy u_ij + a_i f_ij + a_j f_ji (a fixed), and

    G^T K G + M^T G + G^T M .

Derivatives of the formulas by one distance and two integrals are taken by autograd, for all pairs at once; everything
else is a product of matrices.

Source: Still et al., J. Am. Chem. Soc. 112 (1990) 6127; the formulas of each model are in the System.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum, UnknownForm
from tpsctl.molecule.curvature.expressions import Formula, Value, formula_of

_Values = dict[str, Value]


class GeneralizedBornCurvature(CurvatureTerm):
    """An `openmm.CustomGBForce` without a cutoff whose first value is a sum over pairs, and no other one is.

    Raises:
        UnknownForm: The force is of another form.
    """

    def __init__(self, force: Any) -> None:
        if force.getNonbondedMethod() != force.NoCutoff or force.getNumExclusions():
            raise UnknownForm(type(force).__name__)
        tables = {
            force.getTabulatedFunctionName(k): _table(force.getTabulatedFunction(k))
            for k in range(force.getNumTabulatedFunctions())
        }
        values = [force.getComputedValueParameters(k) for k in range(force.getNumComputedValues())]
        terms = [force.getEnergyTermParameters(k) for k in range(force.getNumEnergyTerms())]
        kinds = [kind for *_, kind in values]
        if kinds[:1] not in ([force.ParticlePair], [force.ParticlePairNoExclusions]) or any(
            kind != force.SingleParticle for kind in kinds[1:]
        ):
            raise UnknownForm(type(force).__name__)
        self._integral_name = values[0][0]
        self._integral = formula_of(values[0][1], tables)
        self._values = [(name, formula_of(text, tables)) for name, text, _ in values[1:]]
        self._own = [formula_of(text, tables) for text, kind in terms if kind == force.SingleParticle]
        self._between = [formula_of(text, tables) for text, kind in terms if kind != force.SingleParticle]
        names = [force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())]
        rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
        columns = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(names)).unbind(1)
        self._globals: _Values = {
            force.getGlobalParameterName(k): force.getGlobalParameterDefaultValue(k)
            for k in range(force.getNumGlobalParameters())
        }
        self._of_atom: _Values = {**self._globals, **dict(zip(names, columns, strict=True))}
        self._pairs = torch.triu_indices(len(rows), len(rows), 1)
        self._of_first, self._of_second = (
            self._globals | {name: column[atoms] for name, column in zip(names, columns, strict=True)}
            for atoms in self._pairs
        )

    def add_to(self, hessian: HessianSum) -> None:
        first, second = self._pairs
        r = hessian.r[:, first, second]
        both = (self._of_first, self._of_second)
        here, there = (self._radial(_numbered(*of), r) for of in (both, both[::-1]))
        integral = torch.zeros_like(hessian.x[..., 0]).index_add_(1, first, here[0]).index_add_(1, second, there[0])
        atoms, pairs = self._atoms(integral), self._energies_between(r, integral)
        by_integral = atoms[0].index_add_(1, first, pairs["i"]).index_add_(1, second, pairs["j"])
        slope = pairs["r"] + by_integral[:, first] * here[1] + by_integral[:, second] * there[1]
        curvature = pairs["rr"] + by_integral[:, first] * here[2] + by_integral[:, second] * there[2]
        hessian.add_pairs(self._pairs, slope, curvature)
        coupling = torch.diag_embed(atoms[1].index_add_(1, first, pairs["ii"]).index_add_(1, second, pairs["jj"]))
        coupling[:, first, second] += pairs["ij"]
        coupling[:, second, first] += pairs["ij"]
        gradient = self._sums(hessian, here[1], there[1])
        mixed = self._sums(hessian, pairs["ri"], pairs["rj"])
        half = gradient.mT @ (coupling @ gradient / 2 + mixed)
        hessian.add(half + half.mT)

    def _sums(self, hessian: HessianSum, of_first: Tensor, of_second: Tensor) -> Float[Tensor, "image atom n"]:
        """sum_j w_ij grad r_ij of every atom i, for the weights of pairs seen from their first and second atom."""
        first, second = self._pairs
        weights = torch.zeros_like(hessian.r)
        weights[:, first, second], weights[:, second, first] = of_first, of_second
        rows = -(weights * hessian.inverse).unsqueeze(1) * hessian.between
        rows.diagonal(dim1=2, dim2=3).copy_(-rows.sum(3))
        return rows.permute(0, 2, 3, 1).flatten(2)

    def _radial(self, of: _Values, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The integrand f(r) of every pair with its first two derivatives."""
        r = r.detach().requires_grad_(True)
        with torch.enable_grad():
            value = self._integral({**of, "r": r})
            assert isinstance(value, Tensor)
            (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sum(), r)
        return value.detach(), slope.detach(), curvature

    def _atoms(self, integral: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivatives of the energies e_i by the integrals."""
        own = integral.detach().requires_grad_(True)
        with torch.enable_grad():
            values = self._computed(self._of_atom, own)
            energy = _total(self._own, {**self._of_atom, **values}, own)
            (slope,) = torch.autograd.grad(energy, own, create_graph=True)
            curvature = _slope(slope.sum(), own)
        return slope.detach().clone(), curvature.clone()

    def _energies_between(self, r: Tensor, integral: Tensor) -> dict[str, Tensor]:
        """First and second derivatives of the pairs' energies by r and by the integrals i and j of their atoms."""
        given = (r, integral[:, self._pairs[0]], integral[:, self._pairs[1]])
        variables = dict(zip("rij", (value.detach().requires_grad_(True) for value in given), strict=True))
        with torch.enable_grad():
            of_first = self._of_first | self._computed(self._of_first, variables["i"])
            of_second = self._of_second | self._computed(self._of_second, variables["j"])
            known = {**_numbered(of_first, of_second), "r": variables["r"]}
            anchor = variables["r"] + variables["i"] + variables["j"]
            energy = _total(self._between, known, anchor)
            slopes = torch.autograd.grad(energy, tuple(variables.values()), create_graph=True)
            found = {name: slope.detach() for name, slope in zip("rij", slopes, strict=True)}
            for name, slope in zip("rij", slopes, strict=True):
                for other in "rij"["rij".index(name) :]:
                    found[name + other] = _slope(slope.sum(), variables[other])
        return found

    def _computed(self, of: _Values, integral: Tensor) -> _Values:
        """The integral and the values that follow from it, by name."""
        found: _Values = {self._integral_name: integral}
        for name, formula in self._values:
            found[name] = formula({**of, **found})
        return found


def _numbered(of_first: _Values, of_second: _Values) -> _Values:
    """Values of the two atoms of pairs by the names that formulas of pairs have for them; global ones keep theirs."""
    numbered = {f"{name}1": value for name, value in of_first.items()}
    return {**of_first, **numbered, **{f"{name}2": value for name, value in of_second.items()}}


def _total(formulas: list[Formula], known: _Values, like: Tensor) -> Tensor:
    """Sum of formulas over all places, shaped like `like`, on which a formula need not depend."""
    return (0 * like).sum() + sum((formula(known) + 0 * like).sum() for formula in formulas)


def _slope(total: Tensor, by: Tensor) -> Tensor:
    if not total.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(total, by, retain_graph=True, allow_unused=True)
    return torch.zeros_like(by) if found is None else found


def _table(function: Any) -> Callable[..., Tensor]:
    """A table of discrete values as a function of its indices."""
    kind = type(function).__name__
    if kind not in ("Discrete1DFunction", "Discrete2DFunction", "Discrete3DFunction"):
        raise UnknownForm(kind)
    *sizes, values = function.getFunctionParameters()
    sizes = sizes or [len(values)]
    flat = torch.tensor(values, dtype=torch.float64)

    def look_up(*indices: Value) -> Tensor:
        place, stride = torch.zeros((), dtype=torch.long), 1
        for index, size in zip(indices, sizes, strict=True):
            place = place + torch.as_tensor(index).round().long() * stride
            stride *= size
        return flat[place]

    return look_up
