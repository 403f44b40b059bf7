"""The attention of `attend` as a compiled library (`attend.c`), for float32 on a CPU.

The attention of one head needs about two dozen matrix products and other passes over its matrices. As operations of
torch, each of them runs over all heads and configurations, so its data come from main memory. The compiled code instead
finishes one head of one configuration (of, say, 56 beads) while its matrices are in the caches. Queries, keys and
values are the rows of one matrix product with all weights, and they are not copied.

The library is compiled when tpsctl is installed, if there is a C compiler (`hatch_build.py`). Without it, on a GPU, in
float64 and for padded configurations, `attend` computes the same; `tpsctl.networks.graph_transformer.attention`
chooses between the two.
"""

import ctypes
import functools
import hashlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from tpsctl.networks.graph_transformer.second_order import refuse_third_derivatives


def usable(like: Tensor) -> bool:
    """Whether the library is there and can compute with tensors of this device and precision."""
    return like.device.type == "cpu" and like.dtype == torch.float32 and _library() is not None


def attend(
    z: Float[Tensor, "row channel"],
    bias: Float[Tensor, " query"],
    place: Float[Tensor, "row 4"],
    *,
    beads: int,
    heads: int,
    tilted: bool,
) -> tuple[Float[Tensor, "row value"], Float[Tensor, "row place"]]:
    """Attention-weighted means of values and of positions over the beads of the same configuration.

    Args:
        z: Queries, keys and values of all heads, without biases. The last four columns of each head's query are
            multiplied with `place`.
        bias: Bias of the queries; it gets no gradient.
        place: (x, |x|^2) of every bead.
        beads: Number of beads in a configuration.
        heads: Number of attention heads.
        tilted: Whether positions tilt the queries (`second_order.tilted`).

    Returns:
        sum_j A_ij v_j and sum_j A_ij p_j of every head, with attention weights A and p = `place`.

    Raises:
        ValueError: The sizes of the arguments do not fit.
        MemoryError: There is not enough memory for the matrices of one head.
        NotImplementedError: A third derivative is requested.
    """
    channels = (z.shape[-1] // heads - 4) // 3
    sizes = [list(part.shape) for part in (z, bias, place)]
    if sizes != [[len(z) // beads * beads, heads * (3 * channels + 4)], [heads * (channels + 4)], [len(z), 4]]:
        raise ValueError(f"z, bias and place of sizes {sizes} do not fit {heads} heads and {beads} beads")
    return _Attend.apply(z, bias, place, (len(z) // beads, beads, heads, channels, int(tilted)))


class _Attend(Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        z, bias, place, shape = inputs
        images, beads, heads, channels, _ = shape
        weights = z.new_empty(images, heads, beads, beads)
        seen, mean = z.new_empty(len(z), heads * channels), z.new_empty(len(z), heads * 4)
        _call("attend_value", (z, bias, place), (weights, seen, mean), shape)
        ctx.save_for_backward(z, bias, place, weights)
        ctx.shape = shape
        return seen, mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        by_z, by_place = _Slope.apply(*grads, *ctx.saved_tensors, ctx.shape)
        return by_z, None, by_place, None


class _Slope(Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        *arrays, shape = inputs
        _, _, z, _, place, _ = arrays
        by_z, by_place = torch.empty_like(z), torch.empty_like(place)
        _call("attend_slope", arrays, (by_z, by_place), shape)
        ctx.save_for_backward(*arrays)
        ctx.shape = shape
        return by_z, by_place

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        refuse_third_derivatives()
        g_seen, g_mean, z, _, place, _ = arrays = ctx.saved_tensors
        again = [torch.empty_like(part) for part in (g_seen, g_mean, z, place)]
        _call("attend_slope_derivative", (*grads, *arrays), again, ctx.shape)
        g_seen_again, g_mean_again, z_again, place_again = again
        return g_seen_again, g_mean_again, z_again, None, place_again, None, None


def _call(name: str, arrays: Any, results: Any, shape: tuple[int, ...]) -> None:
    """Call a function of the library, which writes `results`; other Python threads can run during the call."""
    dense = [part.contiguous() for part in arrays]
    pointers = [ctypes.c_void_p(part.data_ptr()) for part in (*dense, *results)]
    if not getattr(_library(), name)(*pointers, *map(ctypes.c_ssize_t, shape[:-1]), ctypes.c_int(shape[-1])):
        raise MemoryError(f"{name}: out of memory")


def instructions() -> str | None:
    """Name of the CPU instruction set that the library was compiled for.

    None if there is no library that fits this machine and was compiled from the present `attend.c`.
    """
    sets = (torch.backends.cpu.get_cpu_capability().lower(), "default")
    name = next((name for name in sets if _path(name).is_file()), None)
    if name is None:
        return None
    digest = hashlib.sha256(Path(__file__).with_name("attend.c").read_bytes()).hexdigest()
    try:
        source = ctypes.CDLL(str(_path(name))).attend_source
    except (OSError, AttributeError):  # it was compiled for another kind of machine, or before `attend_source` existed
        return None
    source.restype = ctypes.c_char_p
    return name if source() == digest.encode() else None


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"_attend_{name}.so")


@functools.cache
def _library() -> ctypes.CDLL | None:
    name = instructions()
    return ctypes.CDLL(str(_path(name))) if name else None
