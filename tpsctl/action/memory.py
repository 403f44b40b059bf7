"""Work on images in chunks that fit a memory budget: planned before, mended when the plan was too bold.

What a backward pass needs is what autograd saved in the forward pass. Counting the saved tensors for
two small batches gives the bytes one image adds, on any device; weights, which do not grow with the
batch, cancel in the difference. The product itself allocates about as much again.

If memory runs out all the same (other programs take it too), the chunk is halved and that piece done again.
On a CPU the chunks of all lanes (`action.lanes`) share the budget; larger ones would only leave its caches.

How many images fit is planned once and stored with the state of a minimization, because a GPU's free memory changes.
How a batch is cut follows from that number and the batch alone, so a resumed run cuts it as the unbroken one did.
"""

import ctypes
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "_ALLOC_FAILED")
"""What messages of the CPU's allocator, of CUDA, and of cuBLAS, cuSOLVER and cuDNN have in common."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST_KEPT, _LARGEST_KEPT = 2**31 - 1, 2**25  # bytes; glibc takes no more
_Part = TypeVar("_Part")


class Chunks:
    """Slices of a batch of images, as many images at a time as the budget allows.

    Args:
        score: Whose derivatives are taken.
        budget_bytes: What the graphs of the chunks at work may take; None for `default_budget` of the images' device.

    Attributes:
        images: Most images in a chunk; None until the first batch is planned.
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
            return unless_out_of_memory(work, [array[images] for array in arrays])

        parts: dict[int, _Part] = {}
        missing = [slice(0, len(arrays[0]))]
        most = self.images or self._planned(arrays[0], lanes)
        while missing:
            size = _even_size(len(arrays[0]), most, lanes)
            chunks = [slice(k, min(k + size, m.stop)) for m in missing for k in range(m.start, m.stop, size)]
            found = list(zip(chunks, in_lanes(piece, chunks, lanes if most > 1 else 1), strict=True))
            parts |= {chunk.start: part for chunk, part in found if part is not None}
            missing = [chunk for chunk, part in found if part is None]
            if missing:
                most = self.images = self._halved(min(size, most), arrays[0])
        return [parts[start] for start in sorted(parts)]

    def store(self, device: torch.device) -> dict[str, Tensor]:
        """The plan, under the kind of device that it was made for."""
        return {} if self.images is None else {device.type: torch.tensor(self.images)}

    def restore(self, plan: dict[str, Tensor], device: torch.device) -> None:
        """Take over a stored plan; one for another kind of device is made anew at the first batch."""
        stored = plan.get(device.type)
        self.images = None if stored is None else int(stored)

    def _planned(self, x: Tensor, lanes: int) -> int:
        """Most images in a chunk. If not even the trial fits, one at a time now, and the next batch plans again."""
        if x.device.type == "cpu" and self._score.parallel:
            _keep_freed_memory()
        each = unless_out_of_memory(partial(bytes_per_image, self._score), [x])
        if each is None:
            _empty_cache(x.device)
            return 1
        budget = default_budget(x.device) if self._budget is None else self._budget
        self.images = int(max(1, budget / lanes // each))
        return self.images

    def _halved(self, size: int, x: Tensor) -> int:
        if size == 1:
            beads = x.shape[1]
            raise TpsctlError(
                f"out of memory on {x.device} with one image of {beads} beads at a time. Use fewer beads "
                "(endpoints.select), another device (--device), or a machine with more memory."
            )
        _empty_cache(x.device)
        return size // 2


def _even_size(count: int, most: int, lanes: int) -> int:
    """Images in a chunk: chunks of like size, and as many for every lane."""
    rounds = math.ceil(count / most / lanes)
    return math.ceil(count / rounds / lanes)


def _empty_cache(device: torch.device) -> None:
    """Hand back what torch keeps of freed memory: it may be in pieces too small to be of use."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def default_budget(device: torch.device) -> float:
    """Bytes for the graphs of the chunks at work: what keeps a CPU's cores busy, or half of a GPU's free memory."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # free, for this process
        return _GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + kept)
    return _CPU_BYTES


@functools.cache
def _keep_freed_memory() -> None:
    """Tell glibc not to hand freed memory back: every chunk would fault it in again, page by page."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


def bytes_per_image(score: Score, x: Tensor) -> float:
    """Peak bytes one image adds to `score.with_vjp` and its product; x: images like those to come, at least one."""
    four = x[:4] if len(x) >= 4 else x.repeat(4, *[1] * (x.ndim - 1))[:4]
    own = 8 * x[0].numel() * x.element_size()
    return max(0.0, _TRANSIENT * (_saved_bytes(score, four) - _saved_bytes(score, four[:2])) / 2) + own


def _saved_bytes(score: Score, x: Tensor) -> int:
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score.with_vjp(x)
    return sum(sizes.values())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory of the host or of a GPU ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def unless_out_of_memory(work: Callable[..., _Part], arrays: list[Tensor]) -> _Part | None:
    """The work's result; None if memory ran out. Returning drops what the failed attempt held."""
    try:
        return work(*arrays)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None
        raise


@contextmanager
def explained_out_of_memory(doing: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory into an error that says what was being done, and the remedy.

    Raises:
        TpsctlError: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or ["no further words"])[0]
        raise TpsctlError(f"out of memory while {doing} ({reason}). {remedy}") from error
