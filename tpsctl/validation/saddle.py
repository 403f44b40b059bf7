"""Whether the tops of paths are saddles of an energy landscape, and what they are otherwise.

A path of least action passes barriers at saddles. A minimized action alone does not prove it: every stationary point is
a free place to wait, a short duration lets paths cut corners, and images can jump. So from the top of a path

1. the nearest stationary point of any index is found (`tpsctl.landscape.nearest`). Its index, if it is near, is the
   verdict: 1 is a saddle, 2 or more a hilltop; if there is no such point near the top, the path cuts a corner;
2. as help, eigenvector following finds the saddle that is easiest to reach from there, and
3. steepest descent on both sides of it finds the minima that it joins.

Near means within `NEAR_NM` and `NEAR_KJ_PER_MOL`. Before energies are compared, the strain of stiff modes, which only
reflects a model's imprecision, is subtracted from the energy of the top: with curvatures l_i and g_i = v_i . grad U,

    E_relaxed = E_top + sum_i ( -g_i^2 / (l_i + k) + l_i g_i^2 / (2 (l_i + k)^2) ) ,    k = 1e4 kJ/mol/nm^2,

the energy after a minimization with all atoms restrained by k (as in `tpsctl.validation.energy`).
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.downhill import follow_downhill
from tpsctl.landscape.equivalence import Equivalence
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.modes import normal_modes
from tpsctl.landscape.nearest import nearest_stationary
from tpsctl.landscape.saddle import climb_to_saddles
from tpsctl.landscape.stationary import Points, curvatures, evaluate, index_of, is_rigid
from tpsctl.landscape.string import peaks
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.geometry import rmsd
from tpsctl.validation.tops import MOST_PEAKS, NextSaddle, PathTops, Peak, TopVerdict

NEAR_NM = 0.03
"""Largest root-mean-square distance per atom of a top from its stationary point, nm. It changes the energy of 22 atoms
by 1 kJ/mol along the softest modes of a peptide (100 kJ/mol/nm^2)."""

NEAR_KJ_PER_MOL = 1.0
"""Largest difference of the energies of a top, without the strain of stiff modes, and its stationary point, kJ/mol."""

RESTRAINT = 1e4
"""Spring constant k of the restraint that leaves only stiff modes free, kJ/mol/nm^2."""

HIGHEST_KJ_PER_MOL = 1e6
"""Energy above the lowest image of a path, kJ/mol, from which on atoms are inside one another, and second derivatives
are no longer numbers; it counts as unknown."""

MODES = 4
"""Number of lowest wavenumbers that are reported."""


class TopJudge:
    """Judges the tops of paths on one landscape.

    Args:
        surface: Energy and its derivatives, in double precision.
        coordinates: Turns steps into configurations.
        equivalence: Decides whether a minimum is that of an end.
        ends: Both ends, nm, float64.
    """

    def __init__(
        self, surface: Surface, coordinates: Coordinates, equivalence: Equivalence, ends: Float[Tensor, "2 atom dim"]
    ) -> None:
        self.surface = surface
        self._coordinates, self._equivalence, self._ends = coordinates, equivalence, ends

    @cached_property
    def minima_of_ends(self) -> Points:
        """The minima in whose basins the ends lie."""
        return minimize(self.surface, self._ends, self._coordinates)

    def same_state(self, x: Float[Tensor, "2 atom dim"], energies: tuple[float, float]) -> bool:
        """Whether two minima (nm) of these energies (kJ/mol) are the same state."""
        return self._equivalence.same(x[0], x[1], energies) is not None

    def energies(self, paths: Float[Tensor, "path image atom dim"]) -> Float[Tensor, "path image"]:
        """Energy of every image, kJ/mol; infinite where it is unknown or atoms are inside one another."""
        energy = evaluate(self.surface, paths.flatten(0, 1))[0].unflatten(0, paths.shape[:2])
        return torch.where(energy - energy.amin(1, keepdim=True) < HIGHEST_KJ_PER_MOL, energy, torch.inf)

    def judge(self, paths: Float[Tensor, "path image atom dim"], seeds: Sequence[int]) -> list[PathTops]:
        """Judge the peaks of finished paths.

        Args:
            paths: All images, nm, float64.
            seeds: A seed for each path, for the random pushes of eigenvector following.
        """
        energy = self.energies(paths)
        places = [(p, k) for p, profile in enumerate(energy) for k in peaks_of_path(profile)]
        known = torch.isfinite(energy).all(1).tolist()
        otherwise = [TopVerdict.NO_PEAK if ok else TopVerdict.UNKNOWN for ok in known]
        if not places:
            return [PathTops((), None, reason) for reason in otherwise]
        path, image = torch.tensor(places).T
        x, start = paths[path, image], energy[path, 0]
        near = nearest_stationary(self.surface, x)
        found = self._peaks(x, start, near, image.tolist())
        tops = [next(i for i, place in enumerate(places) if place[0] == p) for p in sorted(set(path.tolist()))]
        begin = torch.where(near.converged[tops, None, None], near.x[tops], x[tops])
        generators = [torch.Generator().manual_seed(seeds[p]) for p in path[tops].tolist()]
        saddles = dict(zip(path[tops].tolist(), self._saddles(begin, x[tops], start[tops], generators), strict=True))
        of_path: list[list[Peak]] = [[] for _ in paths]
        for p, peak in zip(path.tolist(), found, strict=True):
            of_path[p].append(peak)
        return [PathTops(tuple(of_path[p]), saddles.get(p), reason) for p, reason in enumerate(otherwise)]

    def _peaks(self, x: Tensor, start: Tensor, near: Points, images: list[int]) -> list[Peak]:
        """The peaks (x, nm) with the stationary points next to them; `start` has the energies of the paths' starts."""
        energy, gradient = evaluate(self.surface, x)
        relaxed = energy + self._relaxation(x, gradient)
        away = self._distance(near.x, x)
        indices = index_of(curvatures(self.surface, near.x, near.hessian)[0])
        result = []
        for i, image in enumerate(images):
            here = (float(energy[i] - start[i]), float(gradient[i].norm()))
            if not near.converged[i]:
                result.append(Peak(image, TopVerdict.NOT_STATIONARY, *here))
                continue
            close = away[i] <= NEAR_NM and abs(relaxed[i] - near.energy[i]) <= NEAR_KJ_PER_MOL
            index = int(indices[i])
            peak = Peak(
                image,
                _verdict(index) if close else TopVerdict.NOT_STATIONARY,
                *here,
                index=index,
                stationary_energy_kj_per_mol=float(near.energy[i] - start[i]),
                stationary_gradient_kj_per_mol_per_nm=float(near.gradient_norm[i]),
                distance_nm=float(away[i]),
                wavenumbers_per_cm=self._wavenumbers(near, i),
            )
            result.append(peak)
        return result

    def _saddles(
        self, begin: Tensor, x: Tensor, start: Tensor, generators: list[torch.Generator]
    ) -> list[NextSaddle | None]:
        """The saddles that are found from `begin`, for tops x (nm) of paths with these energies of their starts."""
        found = climb_to_saddles(self.surface, begin, self._coordinates, generators)
        rows = found.converged.nonzero()[:, 0]
        if len(rows) == 0:
            return [None] * len(x)
        saddles = Points(
            found.x[rows], found.energy[rows], found.gradient[rows], found.hessian[rows], found.converged[rows]
        )
        minima, _ = follow_downhill(self.surface, saddles, self._coordinates)
        away = self._distance(found.x, x)
        result: list[NextSaddle | None] = [None] * len(x)
        for k, row in enumerate(rows.tolist()):
            sides = (self._basin(minima, side, float(start[row])) for side in (2 * k, 2 * k + 1))
            joins = tuple(sorted(sides, key=lambda name: (name not in "AB", name)))
            energy, slope = float(found.energy[row] - start[row]), float(found.gradient_norm[row])
            result[row] = NextSaddle(energy, slope, float(away[row]), joins)
        return result

    def _basin(self, minima: Points, row: int, start: float) -> str:
        """Which minimum this is: of the start, of the end, or another one."""
        if not minima.converged[row]:
            return "?"
        energy = float(minima.energy[row])
        for name, x, of_end in zip("AB", self.minima_of_ends.x, self.minima_of_ends.energy.tolist(), strict=True):
            if self._equivalence.same(minima.x[row], x, (energy, of_end)) is not None:
                return name
        return f"{energy - start:+.2f}"

    def _relaxation(self, x: Tensor, gradient: Tensor) -> Float[Tensor, " batch"]:
        """What a minimization restrained by `RESTRAINT` changes of the energy, kJ/mol (see the module)."""
        values, vectors = curvatures(self.surface, x, self.surface.hessian(x))
        along = (vectors.mT @ gradient.unsqueeze(2)).squeeze(2).square()
        stiff = values + RESTRAINT
        change = -along / stiff + values * along / (2 * stiff.square())
        return change.masked_fill(is_rigid(values) | (stiff <= 0), 0.0).sum(1)

    def _distance(self, x: Tensor, y: Tensor) -> Float[Tensor, " batch"]:
        """Root-mean-square distance per atom, after superposition where energies do not depend on the orientation."""
        return rmsd(x, y) if self.surface.rigid_motions else (x - y).square().sum(-1).mean(-1).sqrt()

    def _wavenumbers(self, points: Points, row: int) -> tuple[float, ...]:
        modes = normal_modes(
            points.x[row],
            points.hessian[row],
            self.surface.masses_amu,
            rigid_motions=self.surface.rigid_motions,
        )
        return tuple(modes.wavenumbers[:MODES].tolist())


def peaks_of_path(energy: Float[Tensor, " image"]) -> list[int]:
    """Images at the peaks of a path, the top first; none if an energy is unknown.

    The top is the highest image, if it lies between the ends and is higher than both, however little.
    """
    if not bool(torch.isfinite(energy).all()):
        return []
    top = int(energy.argmax())
    first = [top] if energy[top] > torch.maximum(energy[0], energy[-1]) else []
    others = [k for k in peaks(energy) if k not in first]
    return [*first, *others][:MOST_PEAKS]


def _verdict(index: int) -> TopVerdict:
    few = (TopVerdict.MINIMUM, TopVerdict.SADDLE, TopVerdict.INDEX_2)
    return few[index] if index < len(few) else TopVerdict.HILLTOP
