"""The string method: images move downhill across the path and are spread evenly along it.

    y_i <- y_i - 0.7 (|H_i| + c_i)^-1 g_i across the path;   then images at equal distances,     y = x or sqrt(m) x

The limit of the string is a minimum-energy path. In plain coordinates (y = x) it is the usual one; in mass-weighted
coordinates it is the path of an overdamped molecule with friction proportional to mass, which an Onsager-Machlup path
follows. The direction of the path is computed from neighboring images, so that a move carries disturbances along the
path with the speed g_along / (|H| + c). With c = 2 g_along / gap (and at least 100 kJ/mol/nm^2) this speed stays below
one gap per iteration; otherwise the string would become unstable.

Sources: E, Ren and Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103 (simplified string); preconditioning as in
Makri et al., J. Chem. Phys. 150 (2019) 094109.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import FLOOR
from tpsctl.landscape.rigid import no_basis, projected, rigid_basis
from tpsctl.landscape.stationary import evaluate, limited
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.curves import gaps, respaced, tangents
from tpsctl.molecule.geometry import superpose


@dataclass(frozen=True)
class StringSettings:
    """Settings of the string method.

    Attributes:
        iterations: Most moves of all images.
        relaxation: Fraction of Newton's step that is taken.
        max_move_nm: Farthest an atom moves in an iteration, nm.
        renew_every: Number of iterations between Hessians.
        tolerance: Largest |grad U| across the path of a converged string, kJ/mol/nm, or kJ/mol/nm/sqrt(amu) if
            mass-weighted.
        mass_weighted: Whether distances and directions are taken in sqrt(m) x instead of x.
    """

    iterations: int = 25
    relaxation: float = 0.7
    max_move_nm: float = 0.01
    renew_every: int = 4
    tolerance: float = 0.1
    mass_weighted: bool = False


@dataclass(frozen=True)
class Strings:
    """Optimized strings.

    Attributes:
        x: Images (path, image, atom, dim), nm; the ends are those given.
        energy: Potential energy of every image, kJ/mol.
        across: Largest |grad U| across the path of each string, kJ/mol/nm.
    """

    x: Float[Tensor, "path image atom dim"]
    energy: Float[Tensor, "path image"]
    across: Float[Tensor, " path"]


def relax_strings(
    surface: Surface, paths: Float[Tensor, "path image atom dim"], settings: StringSettings | None = None
) -> Strings:
    """Optimize strings from guesses; the ends of each string move only as rigid bodies, when neighbors are superposed.

    Args:
        surface: Energy and its derivatives.
        paths: Guesses, nm, of at least three images, with neighbors superposed.
        settings: Settings of the method; None for the defaults.

    Source: E, Ren and Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103.
    """
    settings = settings or StringSettings()
    root = surface.masses_amu.to(paths).sqrt() if settings.mass_weighted else torch.ones_like(paths[0, 0, :, 0])
    x = evenly_spaced(paths, surface.rigid_motions, root)
    flat_root = root.repeat_interleave(paths.shape[-1])
    modes: tuple[Tensor, Tensor] | None = None
    for iteration in range(settings.iterations):
        inner = x[:, 1:-1].flatten(0, 1)
        if modes is None or iteration % settings.renew_every == 0:
            modes = _modes(surface, inner, root)
        gradient = evaluate(surface, inner)[1] / flat_root
        gradient = torch.where(torch.isfinite(gradient), gradient, 0.0)
        tangent = tangents(x * root[:, None])[:, 1:-1].flatten(0, 1)
        along = (gradient * tangent).sum(1, keepdim=True)
        across = gradient - along * tangent
        if bool((across.norm(dim=1) <= settings.tolerance).all()):
            break
        gap = gaps(x * root[:, None])[:, :-1].flatten()
        step = settings.relaxation * _newton(modes, across, FLOOR + 2 * along[:, 0].abs() / gap)
        step = (step - (step * tangent).sum(1, keepdim=True) * tangent) / flat_root
        step = limited(step, x.shape[-1], settings.max_move_nm)
        moved = (inner + step.reshape(inner.shape)).unflatten(0, (x.shape[0], x.shape[1] - 2))
        x = evenly_spaced(torch.cat((x[:, :1], moved, x[:, -1:]), 1), surface.rigid_motions, root)
    return _measured(surface, x, root)


def _measured(surface: Surface, x: Tensor, root: Tensor) -> Strings:
    energy, gradient = evaluate(surface, x.flatten(0, 1))
    gradient = (gradient / root.repeat_interleave(x.shape[-1])).unflatten(0, x.shape[:2])
    tangent = tangents(x * root[:, None])
    across = gradient - (gradient * tangent).sum(2, keepdim=True) * tangent
    return Strings(x, energy.unflatten(0, x.shape[:2]), across[:, 1:-1].norm(dim=2).amax(1))


def _modes(surface: Surface, x: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Curvatures and modes in the scaled coordinates y, with very stiff rigid motions."""
    scale = root.repeat_interleave(x.shape[-1])
    basis = rigid_basis(x, root.square()) if surface.rigid_motions else no_basis(x)
    values, vectors = torch.linalg.eigh(projected(surface.hessian(x) / scale / scale[:, None], basis))
    return values, vectors


def _newton(modes: tuple[Tensor, Tensor], gradient: Tensor, floor: Float[Tensor, " batch"]) -> Tensor:
    """The move -(|H| + c)^-1 g of every image."""
    values, vectors = modes
    along = (vectors.mT @ gradient.unsqueeze(2)).squeeze(2)
    return -(vectors @ (along / (values.abs() + floor.unsqueeze(1))).unsqueeze(2)).squeeze(2)


def evenly_spaced(
    x: Float[Tensor, "path image atom dim"], rigid_motions: bool, root: Float[Tensor, " atom"] | None = None
) -> Tensor:
    """The same curves with images at equal distances, each superposed on the image before it.

    The superposition moves all images but the first as rigid bodies, also the last.

    Args:
        x: Curves, nm.
        rigid_motions: Whether images are superposed.
        root: Scale of each atom's coordinates in distances; 1 if left out.
    """
    root = torch.ones_like(x[0, 0, :, 0]) if root is None else root
    if rigid_motions:
        images = [x[:, 0]]
        for k in range(1, x.shape[1]):
            images.append(superpose(x[:, k], images[-1], root.square()))
        x = torch.stack(images, 1)
    return respaced(x, root[:, None])


def peaks(energy: Float[Tensor, " image"], *, prominence: float = 0.5) -> list[int]:
    """Numbers of the images at prominent interior maxima of an energy profile, highest first.

    Args:
        energy: Energies along one path, kJ/mol.
        prominence: Least height of such a maximum above the higher of the two valleys beside it, kJ/mol.
    """
    values = energy.tolist()
    found = []
    for k in range(1, len(values) - 1):
        if not values[k - 1] <= values[k] >= values[k + 1] or values[k] == values[k - 1]:
            continue
        sides = []
        for direction in (-1, 1):
            lowest, i = values[k], k + direction
            while 0 <= i < len(values) and values[i] <= values[k]:
                lowest = min(lowest, values[i])
                i += direction
            sides.append(values[k] - lowest)
        if min(sides) >= prominence:
            found.append(k)
    return sorted(found, key=lambda k: -values[k])
