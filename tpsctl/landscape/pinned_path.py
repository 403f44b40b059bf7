"""The Onsager-Machlup path of a route, which passes its minima and saddles exactly and is equally spaced between them.

With z_a = x_a / sqrt(D_a) and b_a = sqrt(D_a) s_a (s = -grad U / kT) the truncated action of a segment is

    |dz|^2 / (4 dt) + dt |b|^2 / 4   >=   |dz| |b| / 2 ,     equal for dt = |dz| / |b|

so the time-free (geometric) action is S = sum |dz| |b| / 2. A path of least S follows the gradient, and then S is its
bound

    S_min = sum |dU| / 2kT        over all ups and downs of the route.

An S below the bound shows that images jump over barriers. Each half (minimum to saddle, or saddle to minimum) starts as
the steepest descent path from the saddle and is relaxed as a mass-weighted string with both ends pinned; the tops of
the path are therefore exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.landscape.attempts import SearchedMolecule
from tpsctl.landscape.downhill import DownhillSettings, descent_paths
from tpsctl.landscape.equivalence import EXACT, Equivalence
from tpsctl.landscape.nearest import nearest_stationary
from tpsctl.landscape.network import Network
from tpsctl.landscape.routes import Route
from tpsctl.landscape.stationary import Points, curvatures, index_of
from tpsctl.landscape.string import StringSettings, relax_strings
from tpsctl.molecule.geometry import rmsd, superpose

STRING = StringSettings(iterations=12, renew_every=12, mass_weighted=True)
"""Settings for the relaxation of the halves, which start as steepest descent paths and need one Hessian per image."""

DESCENT = DownhillSettings(max_move_nm=0.01, quadratic_below=2.0)
"""Settings of the descents: short steps, until a minimum is so close that Newton steps do not leave the curve."""

LEAST_IMAGES = 3
"""Fewest images of a half, the minimum and the saddle at its ends included."""


@dataclass(frozen=True)
class PinnedPath:
    """Images along a route with measures of their quality.

    Attributes:
        x: Images (image, atom, dim), nm; the first is A, and each is superposed on the one before.
        energy: Potential energy of every image, kJ/mol.
        arc_length: Distance along the path from A in mass-weighted coordinates, sqrt(amu) nm.
        pinned: Numbers of the images that are minima and saddles, which alternate.
        action: Geometric action S.
        bound: sum |dU| / 2kT over the ups and downs of the route.
        largest_jump: Largest ratio of a mass-weighted distance of neighbors to the mean distance in its half.
    """

    x: Float[Tensor, "image atom dim"]
    energy: Float[Tensor, " image"]
    arc_length: Float[Tensor, " image"]
    pinned: tuple[int, ...]
    action: float
    bound: float
    largest_jump: float


def pinned_path(
    molecule: SearchedMolecule, network: Network, route: Route, *, kt: float, images: int = 100
) -> PinnedPath:
    """Compute the path of a route with exactly `images` images, shared out among the halves by length.

    Args:
        molecule: The molecule or model system.
        network: Holds the route's minima and saddles.
        route: The route, as from `ranked_routes`.
        kt: Thermal energy kT, kJ/mol.
        images: Number of images wanted; raised to `least_images(route)` if it is smaller.

    Raises:
        PathError: The descents from a saddle of the route end in other minima than the network holds.
    """
    halves = _halves(molecule, network, route)
    root = molecule.surface.masses_amu.to(halves[0]).sqrt()[:, None]
    lengths = [float((root * (h[1:] - h[:-1])).flatten(1).norm(dim=1).sum()) for h in halves]
    gaps = shared_out(max(images, least_images(route)) - 1, lengths, least=LEAST_IMAGES - 1)
    relaxed = [
        relax_strings(molecule.surface, _resampled(half, count + 1)[None], STRING).x[0]
        for half, count in zip(halves, gaps, strict=True)
    ]
    return _joined(molecule, relaxed, kt)


def least_images(route: Route) -> int:
    """The smallest number of images of a route's path, at which each half has `LEAST_IMAGES` with both its ends."""
    return 2 * len(route.saddles) * (LEAST_IMAGES - 1) + 1


def shared_out(total: int, lengths: Sequence[float], *, least: int) -> list[int]:
    """Share out `total` gaps among curves, at least `least` each, so that the widest gap becomes as narrow as can be.

    Args:
        total: Number of gaps, at least `least` times the number of curves.
        lengths: Lengths of the curves, in any unit.
        least: Fewest gaps of a curve.
    """
    gaps = [least] * len(lengths)
    for _ in range(total - sum(gaps)):
        widest = max(range(len(gaps)), key=lambda k: lengths[k] / gaps[k])
        gaps[widest] += 1
    return gaps


def _halves(molecule: SearchedMolecule, network: Network, route: Route) -> list[Float[Tensor, "image atom dim"]]:
    """Steepest descent paths in the order of the route, with the labels of atoms that keep the route continuous."""
    here = network.minima[route.minima[0]].x
    halves = []
    for number, (first, last) in zip(route.saddles, zip(route.minima, route.minima[1:], strict=False), strict=True):
        up, down = _sides(molecule, network, number, (first, last))
        order = labels_towards(molecule.equivalence, up[-1], here)
        if order is None:
            raise PathError(
                f"saddle {number}: the descents from it do not end in minimum {first}, which the search found. "
                "Please report this with the recipe."
            )
        both, top = torch.cat((up.flip(0), down[1:]))[:, list(order)], len(up) - 1
        if molecule.equivalence.relabeled != EXACT and list(order) != sorted(order):
            both, top = _found_again(molecule, both, top, here)
        if molecule.surface.rigid_motions:
            both = _chained(both, here, molecule.surface.masses_amu)
        halves += [both[: top + 1], both[top:]]
        here = both[-1]
    return halves


def labels_towards(equivalence: Equivalence, x: Tensor, here: Tensor) -> tuple[int, ...] | None:
    """The order of atoms in which a copy x of a minimum (nm) is its copy `here`; None if they are too far apart.

    Each is as close to the minimum in the network as the tolerance says, so they may differ by twice as much.
    """
    if equivalence.topology is None:
        return tuple(range(len(x)))
    order = equivalence.relabeled_towards(x, here)
    most = 2 * max(EXACT.rmsd_nm, equivalence.relabeled.rmsd_nm)
    return order if float(rmsd(x[list(order)], here)) < most else None


def _found_again(molecule: SearchedMolecule, both: Tensor, top: int, here: Tensor) -> tuple[Tensor, int]:
    """The curve over a relabeled saddle, on a landscape that tells equivalent atoms apart, and the image of its saddle.

    There a relabeled saddle is not quite stationary. The one next to it is sought, and followed down from again; if
    there is none, the relabeled curve is returned.
    """
    saddle = nearest_stationary(molecule.surface, both[top][None])
    if not saddle.converged[0] or int(index_of(curvatures(molecule.surface, saddle.x, saddle.hessian)[0])[0]) != 1:
        return both, top
    up, down = descent_paths(molecule.surface, saddle, molecule.coordinates, DESCENT)
    if float(rmsd(down[-1], here)) < float(rmsd(up[-1], here)):
        up, down = down, up
    return torch.cat((up.flip(0), down[1:])), len(up) - 1


def _sides(molecule: SearchedMolecule, network: Network, number: int, ends: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Curves from a saddle down to the two minima `ends`, the first one first.

    Where a curve passes close by another minimum, short steps may end in another one than the search found with longer
    steps; then the curve is followed with the steps of the search.
    """
    saddle = network.saddles[number]
    x = saddle.x[None]
    energy, gradient = molecule.surface.energy_gradient(x)
    points = Points(x, energy, gradient.flatten(1), molecule.surface.hessian(x), torch.tensor([True]))
    curves: list[Tensor] = []
    for settings in (DESCENT, DownhillSettings()):
        curves = descent_paths(molecule.surface, points, molecule.coordinates, settings)
        for both in (curves, curves[::-1]):
            if all(_ends_in(molecule, curve, network, end) for curve, end in zip(both, ends, strict=True)):
                return both[0], both[1]
    raise PathError(
        f"saddle {number}: the descents from it do not end in the minima {ends[0]} and {ends[1]}, which the search "
        "found. Please report this with the recipe."
    )


def _ends_in(molecule: SearchedMolecule, curve: Tensor, network: Network, minimum: int) -> bool:
    """Whether the last point of a curve is this minimum, up to the labels of equivalent atoms."""
    energy, _ = molecule.surface.energy_gradient(curve[-1:])
    known = network.minima[minimum]
    return molecule.equivalence.same(curve[-1], known.x, (float(energy[0]), known.energy)) is not None


def _chained(x: Float[Tensor, "image atom 3"], first: Float[Tensor, "atom 3"], masses: Tensor) -> Tensor:
    """Each image superposed (mass-weighted) on the one before, the first on a given structure."""
    images = [superpose(x[0], first, masses)]
    for image in x[1:]:
        images.append(superpose(image, images[-1], masses))
    return torch.stack(images)


def _resampled(curve: Float[Tensor, "image atom dim"], count: int) -> Float[Tensor, "count atom dim"]:
    """The curve represented by `count` points at equal distances, with the same ends.

    Between its points the curve is interpolated by cubic polynomials (Catmull-Rom), because turning groups move on arcs
    and a chord would strain their bonds.
    """
    flat = curve.flatten(1)
    length = (flat[1:] - flat[:-1]).norm(dim=1).clamp_min(1e-12)
    along = torch.cat((length.new_zeros(1), length.cumsum(0)))
    slope = (flat[1:] - flat[:-1]) / length[:, None]
    before, behind = length[:-1, None], length[1:, None]
    inner = (behind * slope[:-1] + before * slope[1:]) / (before + behind)
    ends = [1.5 * slope[k] - 0.5 * inner[k] if len(inner) else slope[k] for k in (0, -1)]
    tangent = torch.cat((ends[0][None], inner, ends[1][None]))
    wanted = torch.linspace(0, 1, count).to(curve) * along[-1]
    upper = torch.searchsorted(along, wanted).clamp(1, len(curve) - 1)
    span = (along[upper] - along[upper - 1])[:, None]
    t = (wanted - along[upper - 1])[:, None] / span
    points = (
        (1 + 2 * t) * (1 - t).square() * flat[upper - 1]
        + t * (1 - t).square() * span * tangent[upper - 1]
        + t.square() * (3 - 2 * t) * flat[upper]
        - t.square() * (1 - t) * span * tangent[upper]
    )
    points[0], points[-1] = flat[0], flat[-1]
    return points.reshape(count, *curve.shape[1:])


def _joined(molecule: SearchedMolecule, halves: list[Tensor], kt: float) -> PinnedPath:
    """The halves joined to one path, with its action."""
    pieces, pinned, jump = [halves[0]], [0, len(halves[0]) - 1], 0.0
    for half in halves[1:]:
        if molecule.surface.rigid_motions:
            half = _chained(half, pieces[-1][-1], molecule.surface.masses_amu)
        pieces.append(half[1:])
        pinned.append(pinned[-1] + len(half) - 1)
    x = torch.cat(pieces)
    energy, gradient = molecule.surface.energy_gradient(x)
    root = molecule.surface.masses_amu.to(x).sqrt()[:, None]
    # D_a = c / m_a with one c for all atoms, which cancels in |dz| |b|.
    moves = (root * (x[1:] - x[:-1])).flatten(1).norm(dim=1)
    for begin, end in zip(pinned, pinned[1:], strict=False):
        jump = max(jump, float(moves[begin:end].max() / moves[begin:end].mean()))
    drift = (gradient / root).flatten(1).norm(dim=1) / kt
    action = float((moves * (drift[1:] + drift[:-1])).sum()) / 4
    steps = energy[torch.tensor(pinned)]
    bound = float((steps[1:] - steps[:-1]).abs().sum()) / (2 * kt)
    arc = torch.cat((moves.new_zeros(1), moves.cumsum(0)))
    return PinnedPath(x, energy, arc, tuple(pinned), action, bound, jump)
