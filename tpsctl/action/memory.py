"""Work on images in chunks that fit a memory budget: planned before, mended when the plan was too bold.

What a backward pass needs is what autograd saved in the forward pass. Counting the saved tensors for
two small batches gives the bytes one image adds, on any device; weights, which do not grow with the
batch, cancel in the difference. The product itself allocates about as much again.

If memory runs out all the same (other programs take it too), the chunk is halved and that piece done again.
On a CPU the chunks of all lanes (`action.lanes`) share the budget; larger ones would only leave its caches.
"""

import ctypes
import functools
import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tpsctl.action.lanes import in_lanes, lanes_for
from tpsctl.errors import TpsctlError
from tpsctl.score.base import Score

_TRANSIENT = 2.0
_CPU_BYTES = 2e8
_GPU_SHARE = 0.5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST_KEPT, _LARGEST_KEPT = 2**31 - 1, 2**25  # bytes; glibc takes no more
_Part = TypeVar("_Part")


class Chunks:
    """Slices of a batch of images, as many images at a time as the budget allows.

    Args:
        score: Whose derivatives are taken.
        budget_bytes: What the graphs of the chunks at work may take; None for `default_budget` of the images' device.
    """

    def __init__(self, score: Score, budget_bytes: float | None) -> None:
        self._score = score
        self._budget = budget_bytes
        self.images: int | None = None

    def map(self, work: Callable[..., _Part], *arrays: Tensor) -> list[_Part]:
        """work(slices of all arrays) for every chunk, in order; on a CPU several at once (`action.lanes`).

        Raises:
            TpsctlError: Not even one image fits.
        """
        lanes = lanes_for(self._score, arrays[0].device)

        def piece(images: slice) -> _Part | None:
            return _unless_out_of_memory(work, [array[images] for array in arrays])

        parts: dict[int, _Part] = {}
        missing = [slice(0, len(arrays[0]))]
        while missing:
            size = self._planned(arrays[0], lanes)
            chunks = [slice(k, min(k + size, m.stop)) for m in missing for k in range(m.start, m.stop, size)]
            found = list(zip(chunks, in_lanes(piece, chunks, lanes if size > 1 else 1), strict=True))
            parts |= {chunk.start: part for chunk, part in found if part is not None}
            missing = [chunk for chunk, part in found if part is None]
            if missing:
                self._halve(arrays[0])
        return [parts[start] for start in sorted(parts)]

    def _planned(self, x: Tensor, lanes: int) -> int:
        if self.images is None:
            if x.device.type == "cpu" and self._score.parallel:
                _keep_freed_memory()
            budget = default_budget(x.device) if self._budget is None else self._budget
            each = _unless_out_of_memory(partial(bytes_per_image, self._score), [x]) or budget
            rounds = math.ceil(len(x) / max(1, budget / lanes // each) / lanes)
            self.images = math.ceil(len(x) / rounds / lanes)  # chunks of like size, and as many for every lane
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
    """Bytes for the graphs of the chunks at work: what keeps a CPU's cores busy, or half of a GPU's memory."""
    if device.type == "cuda":
        return _GPU_SHARE * torch.cuda.get_device_properties(device).total_memory
    return _CPU_BYTES


@functools.cache
def _keep_freed_memory() -> None:
    """Tell glibc not to hand freed memory back: every chunk would fault it in again, page by page."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


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
