"""Work on images in chunks whose size is planned from a memory budget and halved when memory still runs out.

A backward pass needs what autograd saved in the forward pass. Counting the saved tensors for two small batches gives
the bytes that one image adds, on any device; weights, which do not grow with the batch, cancel in the difference. The
product with the Jacobian allocates about as much again.

If memory runs out all the same (other programs use it, too), the chunk is halved and that piece is done again. On a CPU
the chunks of all lanes (`action.lanes`) share the budget; larger chunks would not fit its caches.

The number of images that fit is planned once and stored with the state of a minimization, because a GPU's free memory
changes. This number and the batch alone decide how a batch is cut, so a resumed run cuts it as the unbroken run did.
"""

import ctypes
import functools
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tpsctl.action.lanes import in_lanes, lanes_for
from tpsctl.errors import MemoryShortageError
from tpsctl.score.base import Score

_TRANSIENT = 2.0
_CPU_BYTES = 2e8
_GPU_SHARE = 0.5
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "_ALLOC_FAILED")
"""Parts of the messages by which the CPU's allocator, CUDA, cuBLAS, cuSOLVER and cuDNN say that memory ran out."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST_KEPT, _LARGEST_KEPT = 2**31 - 1, 2**25  # bytes; glibc takes no more
_Part = TypeVar("_Part")


class Chunks:
    """Slices of a batch of images, as many images at a time as the budget allows.

    Args:
        score: The score whose derivatives are taken.
        budget_bytes: Bytes that the autograd graphs of the chunks at work may take together; None for `default_budget`
            of the images' device.

    Attributes:
        images: Most images in a chunk; None until the first batch is planned.
    """

    def __init__(self, score: Score, budget_bytes: float | None) -> None:
        self._score = score
        self._budget = budget_bytes
        self.images: int | None = None

    def map(self, work: Callable[..., _Part], *arrays: Tensor) -> list[_Part]:
        """Apply `work` to the slices of all arrays, chunk by chunk, and return the results in order.

        On a CPU several chunks are worked on at once (`action.lanes`).

        Raises:
            MemoryShortageError: The memory does not suffice for one image.
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
        """The planned number of images by the kind of device that it was made for; empty before there is a plan."""
        return {} if self.images is None else {device.type: torch.tensor(self.images)}

    def restore(self, plan: dict[str, Tensor], device: torch.device) -> None:
        """Take over a stored plan; if it has none for this kind of device, the first batch makes a new one."""
        stored = plan.get(device.type)
        self.images = None if stored is None else int(stored)

    def _planned(self, x: Tensor, lanes: int) -> int:
        """Plan the most images in a chunk; if the trial for that runs out of memory, 1 now and a new plan next time."""
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
            raise MemoryShortageError(
                f"out of memory on {x.device} with one image of {beads} beads at a time. Use fewer beads "
                "(endpoints.select), another device (--device), or a machine with more memory."
            )
        _empty_cache(x.device)
        return size // 2


def _even_size(count: int, most: int, lanes: int) -> int:
    """The number of images in a chunk for which all chunks are about equal and every lane gets as many of them."""
    rounds = math.ceil(count / most / lanes)
    return math.ceil(count / rounds / lanes)


def _empty_cache(device: torch.device) -> None:
    """Give freed memory that torch has kept back to the GPU, since its pieces may be too small to be used again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_memory(device: torch.device) -> None:
    """Free what only an error that was caught still held, and give it back to the GPU."""
    gc.collect()
    _empty_cache(device)


def default_budget(device: torch.device) -> float:
    """Bytes for the graphs of the chunks at work: 2e8 on a CPU, which keeps it busy; half of a GPU's free memory."""
    if device.type == "cuda":
        return _GPU_SHARE * free_bytes(device)
    return _CPU_BYTES


def free_bytes(device: torch.device) -> float:
    """Memory of a GPU that this process may still take: what no program uses, and what torch keeps of freed memory."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + kept)


@functools.cache
def _keep_freed_memory() -> None:
    """Tell glibc not to hand freed memory back: every chunk would fault it in again, page by page."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)


def bytes_per_image(score: Score, x: Tensor) -> float:
    """Peak bytes that one image adds to `score.with_vjp` and its product; x holds at least one such image."""
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
    """The result of the work, or None if memory ran out; on return the memory of the failed attempt is free again."""
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
        MemoryShortageError: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or ["no further words"])[0]
        raise MemoryShortageError(f"out of memory while {doing} ({reason}). {remedy}") from error
