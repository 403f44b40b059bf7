"""L-BFGS with a weak Wolfe line search, for functions whose Hessian is near the identity, as in relaxing a guess.

The optimizers of torch and scipy are not used, because importing them (with a compiler, or all other optimizers) takes
longer than the relaxation.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4; Lewis and Overton, Math. Program. 141, 135
(2013), algorithm 2.6 (the search).
"""

import math
from collections import deque
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

_PAIRS = 10
_SUFFICIENT, _FLATTER = 1e-4, 0.9
_MOST_TRIALS = 30

Pairs = deque[tuple[Tensor, Tensor]]


def minimized(
    value_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]],
    z: Float[Tensor, " n"],
    *,
    max_steps: int,
    tolerance: float = 1e-6,
) -> Float[Tensor, " n"]:
    """The last point of a minimization by L-BFGS.

    It ends when no derivative is above the tolerance, when no step along the direction lowers the value, or after
    `max_steps` steps.

    Args:
        value_and_gradient: The function: z (n,) -> its value, a scalar, and its gradient (n,).
        z: Starting point.
        max_steps: Most steps.
        tolerance: Largest |derivative| at which the minimization ends.
    """
    pairs: Pairs = deque(maxlen=_PAIRS)
    value, gradient = value_and_gradient(z)
    for _ in range(max_steps):
        if float(gradient.abs().max()) < tolerance:
            break
        direction = _direction(gradient, pairs)
        slope, length, low, high = direction @ gradient, 1.0, 0.0, math.inf
        for _ in range(_MOST_TRIALS):
            trial = z + length * direction
            new_value, new_gradient = value_and_gradient(trial)
            if new_value > value + _SUFFICIENT * length * slope:
                high = length
            elif direction @ new_gradient < _FLATTER * slope:
                low = length
            else:
                break
            length = (low + high) / 2 if high < math.inf else 2 * low
        if not new_value < value:
            break
        change, turn = trial - z, new_gradient - gradient
        if change @ turn > 0:
            pairs.append((change, turn))
        z, value, gradient = trial, new_value, new_gradient
    return z


def _direction(gradient: Float[Tensor, " n"], pairs: Pairs) -> Float[Tensor, " n"]:
    """The search direction: minus the inverse Hessian that follows from the pairs, times the gradient."""
    q, along = -gradient, []
    for change, turn in reversed(pairs):
        along.append((change @ q) / (change @ turn))
        q = q - along[-1] * turn
    if pairs:
        change, turn = pairs[-1]
        q = q * (change @ turn) / (turn @ turn)
    for (change, turn), a in zip(pairs, reversed(along), strict=True):
        q = q + (a - (turn @ q) / (change @ turn)) * change
    return q
