"""Work on images in chunks that fit a memory budget: planned before, mended when the plan was too bold.

What a backward pass needs is what autograd saved in the forward pass. Counting the saved tensors for
two small batches gives the bytes one image adds, on any device; weights, which do not grow with the
batch, cancel in the difference. The product itself allocates about as much again.

If memory runs out all the same (other programs take it too), the chunk is halved and that piece done again.
Larger chunks are no faster once every core is busy: on a CPU they only leave its caches.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tpsctl.errors import TpsctlError
from tpsctl.score import Score

_TRANSIENT = 2.0
_CPU_BYTES = 2e8
_GPU_SHARE = 0.5
_Part = TypeVar("_Part")


class Chunks:
    """Slices of a batch of images, as many images at a time as the budget allows.

    Args:
        score: Whose derivatives are taken.
        budget_bytes: What the graphs of one chunk may take; None for `default_budget` of the images' device.
    """

    def __init__(self, score: Score, budget_bytes: float | None) -> None:
        self._score = score
        self._budget = budget_bytes
        self.images: int | None = None

    def map(self, work: Callable[..., _Part], *arrays: Tensor) -> list[_Part]:
        """work(slices of all arrays) for one chunk after the other.

        Raises:
            TpsctlError: Not even one image fits.
        """
        parts: list[_Part] = []
        done, total = 0, len(arrays[0])
        while done < total:
            size = self._planned(arrays[0])
            part = _unless_out_of_memory(work, [array[done : done + size] for array in arrays])
            if part is not None:
                parts.append(part)
                done += size
            else:
                self._halve(arrays[0])
        return parts

    def _planned(self, x: Tensor) -> int:
        if self.images is None:
            budget = default_budget(x.device) if self._budget is None else self._budget
            each = _unless_out_of_memory(partial(bytes_per_image, self._score), [x]) or budget
            rounds = math.ceil(len(x) / max(1, budget // each))
            self.images = math.ceil(len(x) / rounds)  # chunks of like size
        return self.images

    def _halve(self, x: Tensor) -> None:
        if self.images == 1:
            beads = x.shape[1]
            raise TpsctlError(
                f"out of memory on {x.device} with one image of {beads} beads at a time. Use fewer beads "
                "(endpoints.select), another device (--device), or a machine with more memory."
            )
        self.images = max(1, min(self.images or 1, len(x)) // 2)
        if x.device.type == "cuda":
            torch.cuda.empty_cache()


def default_budget(device: torch.device) -> float:
    """Bytes for the graphs of one chunk: what keeps a CPU's cores busy, or half of a GPU's memory."""
    if device.type == "cuda":
        return _GPU_SHARE * torch.cuda.get_device_properties(device).total_memory
    return _CPU_BYTES


def bytes_per_image(score: Score, x: Tensor) -> float:
    """Peak bytes one image adds to `score.with_vjp` and its product; x: a batch like those to come."""
    own = 8 * x[0].numel() * x.element_size()
    if len(x) < 4:
        return _TRANSIENT * (_saved_bytes(score, x[:1]) + own)
    return max(0.0, _TRANSIENT * (_saved_bytes(score, x[:4]) - _saved_bytes(score, x[:2])) / 2) + own


def _saved_bytes(score: Score, x: Tensor) -> int:
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score.with_vjp(x)
    return sum(sizes.values())


def _unless_out_of_memory(work: Callable[..., _Part], arrays: list[Tensor]) -> _Part | None:
    """The work's result; None if memory ran out. Returning drops what the failed attempt held."""
    try:
        return work(*arrays)
    except MemoryError:
        return None
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            return None
        raise
