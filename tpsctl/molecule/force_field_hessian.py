"""Second derivatives of a force field's energy in closed form, for Systems of the usual terms without cutoff.

    U = sum_bonds k (r - r0)^2 / 2  +  sum_angles k (theta - theta0)^2 / 2  +  sum_torsions k (1 + cos(n phi - phi0))
        + sum_torsions sum_n C_n cos(phi - pi)^n
        + sum_pairs q_i q_j / (4 pi eps0 r) + 4 eps ((s / r)^12 - (s / r)^6)

A term of one internal coordinate q contributes U'' grad q grad q^T + U' grad grad q. This costs about as much as ten
forces, where central differences of forces need 6 N of them. For Systems with other terms (implicit solvent, cutoffs,
custom forces, constraints) `closed_hessian` returns None.

Sources: Blondel and Karplus, J. Comput. Chem. 17 (1996) 1132 (derivatives of dihedrals); Eastman et al., PLoS Comput.
Biol. 13 (2017) e1005659 (OpenMM's terms).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

COULOMB = 138.93545764438198
"""1 / (4 pi eps0), kJ nm / (mol e^2), as OpenMM has it."""

CHUNK = 300_000
"""Most pairs of atoms times configurations that are worked on at once, which bounds the memory."""

TERMS = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "RBTorsionForce", "NonbondedForce")


class ClosedHessian:
    """The Hessian of one `openmm.System` as a function of positions; made by `closed_hessian`.

    Args:
        system: A System with no other terms than those of this module.
    """

    def __init__(self, system: Any) -> None:
        forces = {name: [f for f in system.getForces() if type(f).__name__ == name] for name in TERMS}
        count = system.getNumParticles()
        self._bond = _bond_tables(forces["HarmonicBondForce"], count)
        self._pair = _pair_tables(forces["NonbondedForce"], count)
        angles = [f.getAngleParameters(i) for f in forces["HarmonicAngleForce"] for i in range(f.getNumAngles())]
        self._angles = torch.tensor([row[:3] for row in angles], dtype=torch.long).reshape(-1, 3)
        self._angle_terms = _numbers([row[3:] for row in angles], 2)
        torsions = [
            f.getTorsionParameters(i) for f in forces["PeriodicTorsionForce"] for i in range(f.getNumTorsions())
        ]
        for force in forces["RBTorsionForce"]:
            for i in range(force.getNumTorsions()):
                torsions += _fourier(*force.getTorsionParameters(i))
        rows = torch.tensor([row[:4] for row in torsions], dtype=torch.long).reshape(-1, 4)
        self._torsions, self._torsion_of = torch.unique(rows, dim=0, return_inverse=True)
        self._torsion_terms = _numbers([row[4:] for row in torsions], 3)

    def __call__(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch n n"]:
        """Symmetric second derivatives, kJ/mol/nm^2, at positions in nm, computed in double precision."""
        size = max(1, CHUNK // x.shape[1] ** 2)
        parts = []
        for part in x.double().split(size):
            hessian = self._pairs(part)
            _add(hessian, self._angles, self._angle_blocks(part))
            _add(hessian, self._torsions, self._torsion_blocks(part))
            parts.append(hessian)
        return torch.cat(parts).to(x)

    def _pairs(self, x: Tensor) -> Float[Tensor, "batch n n"]:
        """Bonds, Coulomb and Lennard-Jones terms of all pairs of atoms."""
        batch, count = x.shape[:2]
        between = x.unsqueeze(2) - x.unsqueeze(1)
        itself = torch.eye(count, dtype=torch.bool)
        r = between.square().sum(-1).masked_fill(itself, 1.0).sqrt()
        (k, length), (charge, twelve, six) = self._bond, self._pair
        power = r.pow(-6)
        slope = k * (r - length) - (charge / r + 12 * twelve * power.square() - 6 * six * power) / r
        second = k + (2 * charge / r + 156 * twelve * power.square() - 42 * six * power) / r.square()
        along = (second - slope / r).masked_fill(itself, 0.0) / r.square()
        across = (slope / r).masked_fill(itself, 0.0)
        blocks = -along[..., None, None] * (between.unsqueeze(4) * between.unsqueeze(3))
        blocks -= across[..., None, None] * torch.eye(3).to(x)
        own = -blocks.sum(2)
        number = torch.arange(count)
        blocks[:, number, number] = own
        return blocks.transpose(2, 3).reshape(batch, 3 * count, 3 * count)

    def _angle_blocks(self, x: Tensor) -> Float[Tensor, "batch angle 9 9"]:
        equilibrium, k = self._angle_terms.unbind(1)
        i, j, m = self._angles.T
        gradient, second, angle = _angle(x[:, i] - x[:, j], x[:, m] - x[:, j])
        return _in_positions(gradient, second, k * (angle - equilibrium), k.expand_as(angle), ((1, -1, 0), (0, -1, 1)))

    def _torsion_blocks(self, x: Tensor) -> Float[Tensor, "batch torsion 12 12"]:
        n, phase, k = self._torsion_terms.unbind(1)
        i, j, m, o = self._torsions.T
        gradient, second, phi = _dihedral(x[:, i] - x[:, j], x[:, j] - x[:, m], x[:, o] - x[:, m])
        turned = n * phi[:, self._torsion_of] - phase
        zero = torch.zeros_like(phi)
        slope = zero.index_add(1, self._torsion_of, -k * n * turned.sin())
        curvature = zero.index_add(1, self._torsion_of, -k * n.square() * turned.cos())
        return _in_positions(gradient, second, slope, curvature, ((1, -1, 0, 0), (0, 1, -1, 0), (0, 0, -1, 1)))


def closed_hessian(system: Any) -> ClosedHessian | None:
    """The Hessian of an `openmm.System` in closed form, or None if it has terms of which this module knows nothing."""
    names = [type(force).__name__ for force in system.getForces()]
    atoms = range(system.getNumParticles())
    if not set(names) <= {*TERMS, "CMMotionRemover"} or names.count("NonbondedForce") > 1:
        return None
    if system.getNumConstraints() or any(system.isVirtualSite(i) for i in atoms):
        return None
    return ClosedHessian(system) if all(_is_plain(force) for force in system.getForces()) else None


def _is_plain(force: Any) -> bool:
    """Whether a force has neither periodic boundaries nor a cutoff nor parameters that can change."""
    if type(force).__name__ == "CMMotionRemover":
        return True
    if type(force).__name__ != "NonbondedForce":
        return not force.usesPeriodicBoundaryConditions()
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    return force.getNonbondedMethod() == force.NoCutoff and offsets == 0


def _numbers(rows: Sequence[Sequence[Any]], width: int) -> Float[Tensor, "row width"]:
    """OpenMM's parameters in its own units (nm, rad, kJ/mol, e)."""
    plain = [[getattr(value, "_value", value) for value in row] for row in rows]
    return torch.tensor(plain, dtype=torch.float64).reshape(-1, width)


def _fourier(i: int, j: int, k: int, m: int, *coefficients: Any) -> list[tuple[int, int, int, int, int, float, float]]:
    """A torsion sum_n C_n cos^n(phi - pi) as periodic torsions: atoms, n, phase and k of each."""
    _, c1, c2, c3, c4, c5 = (getattr(c, "_value", c) for c in coefficients)
    factors = (c1 + 3 * c3 / 4 + 5 * c5 / 8, (c2 + c4) / 2, c3 / 4 + 5 * c5 / 16, c4 / 8, c5 / 16)
    return [(i, j, k, m, n, n * math.pi, factor) for n, factor in enumerate(factors, 1) if factor]


def _bond_tables(forces: Sequence[Any], count: int) -> tuple[Tensor, Tensor]:
    """Stiffness of the bond of every pair of atoms, and its length; bonds of one pair are added to one bond."""
    stiffness, pull = torch.zeros(2, count, count, dtype=torch.float64)
    for force in forces:
        for index in range(force.getNumBonds()):
            i, j, *rest = force.getBondParameters(index)
            length, k = _numbers([rest], 2)[0].tolist()
            for a, b in ((i, j), (j, i)):
                stiffness[a, b] += k
                pull[a, b] += k * length
    return stiffness, pull / torch.where(stiffness > 0, stiffness, 1.0)


def _pair_tables(forces: Sequence[Any], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of 1/r, r^-12 and -r^-6 for every pair of atoms, with exceptions in place."""
    if not forces:
        nothing = torch.zeros(count, count, dtype=torch.float64)
        return nothing, nothing, nothing
    (force,) = forces
    atoms = _numbers([force.getParticleParameters(i) for i in range(count)], 3)
    charge, sigma, epsilon = atoms.unbind(1)
    product = charge[:, None] * charge
    size, depth = (sigma[:, None] + sigma) / 2, (epsilon[:, None] * epsilon).sqrt()
    for index in range(force.getNumExceptions()):
        i, j, *rest = force.getExceptionParameters(index)
        for table, value in zip((product, size, depth), _numbers([rest], 3)[0].tolist(), strict=True):
            table[i, j] = table[j, i] = value
    return COULOMB * product, 4 * depth * size**12, 4 * depth * size**6


def _angle(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and second derivatives of the angle between two vectors by both of them, and the angle itself."""
    a, b = u.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    u, w = u / a, w / b
    cosine = (u * w).sum(-1, keepdim=True).clamp(-1, 1)
    sine = (1 - cosine.square()).sqrt().clamp_min(1e-6)
    first, last = (w - cosine * u) / a, (u - cosine * w) / b
    gradient = torch.stack((first, last), -2)
    one, c = torch.eye(3).to(u), cosine.unsqueeze(-1)
    both = _outer(u, w) + _outer(w, u)
    uu = (3 * c * _outer(u, u) - both - c * one) / a.square().unsqueeze(-1)
    ww = (3 * c * _outer(w, w) - both - c * one) / b.square().unsqueeze(-1)
    uw = (one - _outer(u, u) - _outer(w, w) + c * _outer(u, w)) / (a * b).unsqueeze(-1)
    second = torch.cat((torch.cat((uu, uw), -1), torch.cat((uw.mT, ww), -1)), -2)
    flat = gradient.flatten(-2)
    second = -second / sine.unsqueeze(-1) - (cosine / sine**3).unsqueeze(-1) * _outer(flat, flat)
    return -gradient / sine.unsqueeze(-1), second, torch.acos(cosine)[..., 0]


def _dihedral(f: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and second derivatives of a dihedral by f = x_i - x_j, g = x_j - x_k and h = x_l - x_k, and the dihedral.

    Source: Blondel and Karplus, J. Comput. Chem. 17 (1996) 1132, eqs. 27, 32 to 34 and 44 to 46.
    """
    a, b = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
    aa, bb = (v.square().sum(-1, keepdim=True).clamp_min(1e-12) for v in (a, b))
    length = g.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    fg, hg = ((v * g).sum(-1, keepdim=True) for v in (f, h))
    phi = torch.atan2((torch.linalg.cross(b, a) * g).sum(-1), (a * b).sum(-1) * length[..., 0])
    middle = fg / (aa * length) * a - hg / (bb * length) * b
    gradient = torch.stack((-length / aa * a, middle, length / bb * b), -2)
    ga, gb, fa, hb = (torch.linalg.cross(*pair) for pair in ((g, a), (g, b), (f, a), (h, b)))
    aa, bb, length, fg, hg = (v.unsqueeze(-1) for v in (aa, bb, length, fg, hg))
    ff = length / aa.square() * _both(a, ga)
    hh = -length / bb.square() * _both(b, gb)
    gg = _both(ga, a) / (2 * length**3 * aa) + fg / (length * aa.square()) * _both(a, fa)
    gg = gg - _both(gb, b) / (2 * length**3 * bb) - hg / (length * bb.square()) * _both(b, hb)
    f_g = -(length.square() * _outer(fa, a) + fg * _outer(a, ga)) / (length * aa.square())
    h_g = (length.square() * _outer(hb, b) + hg * _outer(b, gb)) / (length * bb.square())
    none = torch.zeros_like(ff)
    rows = ((ff, f_g, none), (f_g.mT, gg, h_g.mT), (none, h_g, hh))
    return gradient, torch.cat([torch.cat(row, -1) for row in rows], -2), phi


def _outer(v: Tensor, w: Tensor) -> Tensor:
    return v.unsqueeze(-1) * w.unsqueeze(-2)


def _both(v: Tensor, w: Tensor) -> Tensor:
    return _outer(v, w) + _outer(w, v)


def _in_positions(
    gradient: Float[Tensor, "batch term vector 3"],
    second: Float[Tensor, "batch term m m"],
    slope: Float[Tensor, "batch term"],
    curvature: Float[Tensor, "batch term"],
    vectors: Sequence[Sequence[int]],
) -> Tensor:
    """U'' grad q grad q^T + U' grad grad q by positions, from derivatives by vectors that are sums of positions."""
    flat = gradient.flatten(-2)
    by_vectors = curvature[..., None, None] * _outer(flat, flat) + slope[..., None, None] * second
    turn = torch.kron(torch.tensor(vectors, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    return turn.T @ by_vectors @ turn


def _add(hessian: Float[Tensor, "batch n n"], atoms: Int[Tensor, "term k"], blocks: Tensor) -> None:
    """Add each term's block to the rows and columns of its atoms."""
    n = hessian.shape[1]
    places = (3 * atoms.unsqueeze(2) + torch.arange(3)).flatten(1)
    index = (places.unsqueeze(2) * n + places.unsqueeze(1)).flatten()
    hessian.view(len(hessian), -1).index_add_(1, index, blocks.flatten(1))
