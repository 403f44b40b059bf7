"""The interface of initial paths: images between two fixed ends, one draw per random generator."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.molecule.geometry import superpose


class Guess(ABC):
    """A way to draw initial paths. Each path has its own generator and never depends on the others drawn with it.

    Attributes:
        together: How many paths, whose numbers differ only by the remainder, cost hardly more than one.
    """

    together: int = 1

    def draw(
        self,
        ends: Float[Tensor, "*path 2 bead dim"],
        images: int,
        generators: Sequence[torch.Generator],
        indices: Sequence[int] | None = None,
    ) -> Float[Tensor, "path image bead dim"]:
        """Draw one path per generator, nm; its first and last image are the ends, bit for bit.

        Args:
            ends: Start and superposed end of all paths, or of each path, nm.
            images: Images per path, both ends included, at least 3.
            generators: Source of randomness of each path, on the CPU; advanced by the draw.
            indices: Number of each path in the run; 0, 1, 2, ... if left out.

        Raises:
            PathError: There are fewer than 3 images, or the ends are not two finite configurations.
        """
        if images < 3:
            raise PathError(f"path.images: got {images}, expected at least 3 (both ends and one between).")
        if ends.ndim not in (3, 4) or ends.shape[-3] != 2 or not bool(torch.isfinite(ends).all()):
            raise PathError(f"ends: got shape {tuple(ends.shape)}, expected two finite configurations (2, bead, dim).")
        numbers = list(range(len(generators)) if indices is None else indices)
        of_paths = ends.expand(len(numbers), *ends.shape[-3:])
        paths = self.draw_all(of_paths, images, generators, numbers)
        return torch.stack(
            [torch.cat([pair[:1], path[1:-1].to(pair), pair[1:]]) for path, pair in zip(paths, of_paths, strict=True)]
        )

    def draw_all(
        self,
        ends: Float[Tensor, "path 2 bead dim"],
        images: int,
        generators: Sequence[torch.Generator],
        indices: Sequence[int],
    ) -> Sequence[Float[Tensor, "image bead dim"]]:
        """Draw the paths with these numbers, nm; `draw` then replaces their first and last images by the ends."""
        return [
            self.draw_one(pair, images, generator, index)
            for pair, generator, index in zip(ends, generators, indices, strict=True)
        ]

    @abstractmethod
    def draw_one(
        self, ends: Float[Tensor, "2 bead dim"], images: int, generator: torch.Generator, index: int
    ) -> Float[Tensor, "image bead dim"]:
        """Draw path number `index`, nm; `draw` then replaces its first and last image by the ends."""


def blocks_of(numbers: Sequence[int], together: int) -> list[list[int]]:
    """Numbers of paths in the blocks that `Guess.together` draws at the cost of one, in their order."""
    blocks: dict[int, list[int]] = {}
    for number in numbers:
        blocks.setdefault(number // together, []).append(number)
    return list(blocks.values())


def straight_line(ends: Float[Tensor, "2 bead dim"], images: int) -> Float[Tensor, "image bead dim"]:
    """Images, nm, equally spaced on straight lines between the ends."""
    s = fractions(ends, images).reshape(-1, 1, 1)
    return (1 - s) * ends[0] + s * ends[1]


def fractions(ends: Tensor, images: int) -> Float[Tensor, " image"]:
    """Progress of every image along the path, from 0 to 1 in equal steps."""
    return torch.linspace(0, 1, images, dtype=ends.dtype, device=ends.device)


def fix_gauge(path: Float[Tensor, "image bead dim"], ends: Float[Tensor, "2 bead dim"]) -> Tensor:
    """Superpose every image on the straight line between the ends, so that the path neither drifts nor jumps at an end.

    Model systems (fewer than 3 dimensions or 3 beads) live in a fixed potential and stay as they are.
    """
    if path.shape[-1] != 3 or path.shape[-2] < 3:
        return path
    return superpose(path, straight_line(ends, len(path)))


def normal(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers, drawn in float64 on the CPU, so that device and precision do not change them."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(like)
