"""The attention of `attend`, compiled (`attend.c`): float32 on a CPU.

A head of an image of 56 beads takes two dozen products and passes in a step. As operations of torch each goes through
all heads and images and so through main memory; compiled, a head of an image is done while its matrices are in the
caches. Queries, keys and values stay where one product with all weights leaves them, a row for each bead.

It is compiled when tpsctl is installed, if there is a C compiler (`hatch_build.py`). Without it, on a GPU, in float64
and for padded configurations `attend` does the same, and `tpsctl.networks.graph_transformer.attention` chooses.
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
    """Whether tensors like this one can be worked on."""
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
    """Means of values and of places over the beads of the same configuration.

    Args:
        z: Of each head the query, with the four numbers that meet places, the key and the value, without biases.
        bias: Added to the queries.
        place: (x, |x|^2) of every bead.
        beads: Beads of a configuration.
        heads: Attention heads.
        tilted: Whether queries are tilted by x (`second_order.tilted`).

    Returns:
        sum_j A_ij v_j and sum_j A_ij p_j of every head.

    Raises:
        ValueError: Sizes do not fit.
        MemoryError: Not even the matrices of one head can be had.
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
    """A function of the library: it writes results. Other Python threads go on meanwhile."""
    dense = [part.contiguous() for part in arrays]
    pointers = [ctypes.c_void_p(part.data_ptr()) for part in (*dense, *results)]
    if not getattr(_library(), name)(*pointers, *map(ctypes.c_ssize_t, shape[:-1]), ctypes.c_int(shape[-1])):
        raise MemoryError(f"{name}: out of memory")


def instructions() -> str | None:
    """The set of instructions that is used, or None if nothing was compiled, or from another source than is here."""
    sets = (torch.backends.cpu.get_cpu_capability().lower(), "default")
    name = next((name for name in sets if _path(name).is_file()), None)
    if name is None:
        return None
    digest = hashlib.sha256(Path(__file__).with_name("attend.c").read_bytes()).hexdigest()
    try:
        source = ctypes.CDLL(str(_path(name))).attend_source
    except (OSError, AttributeError):  # of another kind of machine, or older than this function
        return None
    source.restype = ctypes.c_char_p
    return name if source() == digest.encode() else None


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"_attend_{name}.so")


@functools.cache
def _library() -> ctypes.CDLL | None:
    name = instructions()
    return ctypes.CDLL(str(_path(name))) if name else None
