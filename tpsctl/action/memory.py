"""How many images fit a memory budget, measured instead of guessed.

What a backward pass needs is what autograd saved in the forward pass. Counting the saved tensors for
two small batches gives the bytes one image adds, on any device; weights, which do not grow with the
batch, cancel in the difference. The product itself allocates about as much again.
"""

import torch
from torch import Tensor

from tpsctl.score import Score

_TRANSIENT = 2.0


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
