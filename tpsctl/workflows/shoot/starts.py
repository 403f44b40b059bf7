"""The configurations that shots start from: images of the path, and the top of the straight line as a control."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.base import straight_line
from tpsctl.simulation.shooting.committor import Committor, CommittorVerdict
from tpsctl.units import thermal_energy

LINEAR = 1_000_000
"""Number of the straight line's top among the seeds; images of a path have numbers from 0."""

AWAY = 0.1
"""Images at this fraction of the path before and after the top are controls, which should be committed."""


@dataclass(frozen=True)
class Start:
    """Where shots start.

    Attributes:
        name: In words, e.g. "image 47".
        role: "top", "neighbor", "control", or "chosen" if the user named the image.
        number: Its number for the seeds; that of the image on a path.
        x: The configuration (bead, dim), nm.
        excess_kj_per_mol: Its energy above the highest image of the path; NaN if energies are unknown.
        most_excess_kj_per_mol: The largest excess that thermal motion reaches (`thermal_excess`).
    """

    name: str
    role: str
    number: int
    x: Float[Tensor, "bead dim"]
    excess_kj_per_mol: float = math.nan
    most_excess_kj_per_mol: float = math.inf

    @property
    def accessible(self) -> bool:
        """Whether thermal motion reaches this configuration."""
        return not self.excess_kj_per_mol > self.most_excess_kj_per_mol

    def verdict(self, found: Committor) -> CommittorVerdict:
        """What the shots say of this start; a configuration that is never visited is no transition state."""
        return found.verdict if self.accessible else CommittorVerdict.NOT_ACCESSIBLE

    def words(self, found: Committor) -> str:
        """The verdict with its reason."""
        if self.accessible:
            return found.words
        return f"not accessible: {self.excess_kj_per_mol:.0f} kJ/mol above the path's top"


def thermal_excess(degrees_of_freedom: int, temperature_k: float) -> float:
    """The energy above a saddle, kJ/mol, that a configuration near it has with a chance below exp(-10).

    With n harmonic degrees of freedom the energy is a chi-squared variable times kT/2, with mean n kT/2. It exceeds
    (n + 10) kT with a chance of at most exp(-10 - n (1 - ln 2) / 2) times a small power of n (Chernoff's bound).
    """
    return (degrees_of_freedom + 10) * thermal_energy(temperature_k)


def starts_on_path(path: Float[Tensor, "image bead dim"], top: int | None, images: Sequence[int] | None) -> list[Start]:
    """The images that are wanted; without a wish, the top, its neighbors, and those a tenth of the path away.

    Raises:
        RecipeError: There is no such image, or an image is named twice.
    """
    count = len(path)
    if images is not None:
        outside = [image for image in images if not 0 <= image < count]
        if outside:
            raise RecipeError(f"--images: no image {outside[0]}; the path has the images 0 to {count - 1}.")
        if len(set(images)) < len(images):
            raise RecipeError("--images: an image is named twice. Name each once.")
        return [_image(path, image, "top" if image == top else "chosen") for image in images]
    assert top is not None
    away = max(2, round(AWAY * (count - 1)))
    roles = {top - away: "control", top - 1: "neighbor", top: "top", top + 1: "neighbor", top + away: "control"}
    return [_image(path, image, role) for image, role in roles.items() if 0 < image < count - 1]


def linear_top(path: Float[Tensor, "image bead dim"], energies: Float[Tensor, " image"] | None) -> Start:
    """The highest image of the straight line between the ends of a path; its middle if energies are unknown.

    Args:
        path: A path with these ends, nm.
        energies: Energies of `straight_images(path)`.
    """
    line = straight_images(path)
    highest = len(line) // 2 if energies is None else int(torch.nan_to_num(energies, nan=-torch.inf).argmax())
    return Start("top of the straight line", "straight line", LINEAR, line[highest])


def straight_images(path: Float[Tensor, "image bead dim"]) -> Float[Tensor, "image bead dim"]:
    """The straight line between the ends of a path, with as many images, nm."""
    return straight_line(path[[0, -1]], len(path))


def _image(path: Tensor, image: int, role: str) -> Start:
    return Start(f"image {image}", role, image, path[image])
