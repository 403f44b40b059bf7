"""The string method: images slide down across the path and are spread evenly along it.

    x_i <- x_i - 0.7 (P_i)^-1 g_i,   less the part along the path;   then images at equal distances on a spline

P is a model Hessian, or |H| + c where nothing is known of the molecule. The limit of the string is a minimum-energy path;
a few dozen iterations are enough to show where its peaks are, which eigenvector following then makes saddles of.

Sources: E, Ren and Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103 (simplified string); preconditioning as in
Makri et al., J. Chem. Phys. 150 (2019) 094109.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import FLOOR, Coordinates
from tpsctl.landscape.stationary import curvatures, evaluate, limited
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.geometry import superpose


@dataclass(frozen=True)
class StringSettings:
    """How strings are optimized.

    Attributes:
        iterations: Moves of all images.
        relaxation: Fraction of Newton's step that is taken.
        max_move_nm: Farthest an atom moves in an iteration.
        renew_every: Iterations between preconditioners.
        tolerance: Largest |grad U| across the path at which a string is done, kJ/mol/nm.
    """

    iterations: int = 40
    relaxation: float = 0.7
    max_move_nm: float = 0.01
    renew_every: int = 4
    tolerance: float = 1.0


@dataclass(frozen=True)
class Strings:
    """Optimized strings.

    Attributes:
        x: Images (path, image, atom, dim), nm; the ends are those given.
        energy: (path, image), kJ/mol.
        across: Largest |grad U| across the path of each string, kJ/mol/nm.
    """

    x: Float[Tensor, "path image atom dim"]
    energy: Float[Tensor, "path image"]
    across: Float[Tensor, " path"]


def relax_strings(
    surface: Surface,
    paths: Float[Tensor, "path image atom dim"],
    coordinates: Coordinates,
    settings: StringSettings | None = None,
) -> Strings:
    """Strings from guesses; both ends of each stay where they are.

    Args:
        surface: The energy.
        paths: Guesses, nm, at least three images; neighbors superposed.
        coordinates: Gives the preconditioner.
        settings: Number and size of the moves.
    """
    settings = settings or StringSettings()
    x = evenly_spaced(paths, surface.rigid_motions)
    shape = x.shape
    inverse = None
    for iteration in range(settings.iterations):
        inner = x[:, 1:-1].flatten(0, 1)
        if inverse is None or iteration % settings.renew_every == 0:
            inverse = _preconditioner(surface, inner, coordinates)
        _, gradient = evaluate(surface, inner)
        gradient = torch.where(torch.isfinite(gradient), gradient, 0.0)
        tangent = tangents(x)[:, 1:-1].flatten(0, 1)
        across = gradient - (gradient * tangent).sum(1, keepdim=True) * tangent
        if bool((across.norm(dim=1) <= settings.tolerance).all()):
            break
        step = -settings.relaxation * (inverse @ across.unsqueeze(2)).squeeze(2)
        step = limited(step, shape[-1], settings.max_move_nm)
        moved = (inner + step.reshape(inner.shape)).unflatten(0, (shape[0], shape[1] - 2))
        x = evenly_spaced(torch.cat((x[:, :1], moved, x[:, -1:]), 1), surface.rigid_motions)
    return _measured(surface, x)


def _measured(surface: Surface, x: Tensor) -> Strings:
    energy, gradient = evaluate(surface, x.flatten(0, 1))
    gradient = gradient.unflatten(0, x.shape[:2])
    tangent = tangents(x)
    across = gradient - (gradient * tangent).sum(2, keepdim=True) * tangent
    return Strings(x, energy.unflatten(0, x.shape[:2]), across[:, 1:-1].norm(dim=2).amax(1))


def _preconditioner(surface: Surface, x: Tensor, coordinates: Coordinates) -> Float[Tensor, "batch n n"]:
    guess = coordinates.model_hessian(x)
    if guess is not None:
        return torch.linalg.inv(guess)
    values, vectors = curvatures(surface, x, surface.hessian(x))
    return vectors @ (vectors / (values.abs() + FLOOR).unsqueeze(1)).mT


def tangents(x: Float[Tensor, "path image atom dim"]) -> Float[Tensor, "path image n"]:
    """Unit vectors from the image before to the image behind; one-sided at the ends."""
    flat = x.flatten(2)
    ahead = torch.cat((flat[:, 1:], flat[:, -1:]), 1) - torch.cat((flat[:, :1], flat[:, :-1]), 1)
    return ahead / ahead.norm(dim=2, keepdim=True).clamp_min(1e-30)


def evenly_spaced(x: Float[Tensor, "path image atom dim"], rigid_motions: bool) -> Tensor:
    """The same curves with images at equal distances; each image superposed on the one before it.

    The superposition moves all images but the first as rigid bodies, the last included.
    """
    if rigid_motions:
        images = [x[:, 0]]
        for k in range(1, x.shape[1]):
            images.append(superpose(x[:, k], images[-1]))
        x = torch.stack(images, 1)
    flat = x.flatten(2)
    length = (flat[:, 1:] - flat[:, :-1]).norm(dim=2)
    along = torch.cat((torch.zeros_like(length[:, :1]), length.cumsum(1)), 1)
    count = x.shape[1]
    wanted = torch.linspace(0, 1, count).to(x) * along[:, -1:]
    upper = torch.searchsorted(along.contiguous(), wanted.contiguous()).clamp(1, count - 1)
    span = (along.gather(1, upper) - along.gather(1, upper - 1)).clamp_min(1e-30)
    weight = ((wanted - along.gather(1, upper - 1)) / span).unsqueeze(2)
    before = flat.gather(1, (upper - 1).unsqueeze(2).expand_as(flat))
    behind = flat.gather(1, upper.unsqueeze(2).expand_as(flat))
    new = before + weight * (behind - before)
    new[:, 0], new[:, -1] = flat[:, 0], flat[:, -1]
    return new.reshape(x.shape)


def peaks(energy: Float[Tensor, " image"], *, prominence: float = 0.5) -> list[int]:
    """Interior local maxima of a profile that rise above the lower of both valleys beside them, highest first.

    Args:
        energy: Along one path, kJ/mol.
        prominence: Smallest rise above the higher of the two valleys, kJ/mol.
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
