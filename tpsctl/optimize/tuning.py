"""The least value of a costly function of a few numbers, by a Gaussian process (Bayesian optimization).

After evenly spread points, a Gaussian process with a Matern-5/2 kernel of one length per number and a noise term is
fitted to all values, and the next point is where the improvement expected from it is largest,

    E[max(best - f, 0)] = (best - m) Phi(z) + s phi(z) ,     z = (best - m) / s ,

with mean m and standard deviation s of the process. The function has to be the same in every evaluation: a random one
must use the same random numbers (common random numbers). Everything follows from the values and a seed, so that an
interrupted search goes on as if it had not been interrupted.

Source: Jones, Schonlau, Welch, J. Global Optim. 13 (1998) 455, eq. 15; Rasmussen and Williams, Gaussian Processes for
Machine Learning (2006), eq. 4.17.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import MissingDependencyError

_CANDIDATES = 2048
_RESTARTS = 2


@dataclass(frozen=True)
class Interval:
    """The range of one number.

    Attributes:
        low: Lower end.
        high: Upper end.
        logarithmic: Whether equal ratios, not equal differences, are equally far; then both ends must be above 0.
    """

    low: float
    high: float
    logarithmic: bool = False


Box = Sequence[Interval]
"""The ranges of all numbers."""


def require_gaussian_processes(what: str) -> None:
    """Refuse what needs Gaussian processes where their package is missing.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        import sklearn.gaussian_process  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            f'{what} needs the package scikit-learn, which is not installed. Install: pip install "tpsctl[guide]"'
        ) from None


def spread_points(box: Box, count: int, seed: int) -> list[list[float]]:
    """Evenly spread points of a box (scrambled Sobol)."""
    return _in_box(box, _sobol(len(box), count, seed)).tolist()


def next_point(box: Box, points: Sequence[Sequence[float]], values: Sequence[float], seed: int) -> list[float]:
    """The point where the largest improvement is expected, after at least two values."""
    process = _fitted(box, points, values, seed)
    candidates = _sobol(len(box), _CANDIDATES, seed + len(points))
    mean, deviation = (torch.tensor(part) for part in process.predict(candidates.numpy(), return_std=True))
    return _in_box(box, candidates[int(_improvement(mean, deviation, min(values)).argmax())]).tolist()


def _fitted(box: Box, points: Sequence[Sequence[float]], values: Sequence[float], seed: int) -> Any:
    require_gaussian_processes("tuning")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = Matern([0.5] * len(box), (0.05, 10.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * lengths + WhiteKernel(1e-3, (1e-6, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=_RESTARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound means that a number does not matter
        return process.fit(_to_unit(box, points).numpy(), torch.tensor(values, dtype=torch.float64).numpy())


def _improvement(mean: Tensor, deviation: Tensor, best: float) -> Tensor:
    s = deviation.clamp_min(1e-12)
    z = (best - mean) / s
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return (best - mean) * torch.special.ndtr(z) + s * density


def _sobol(dimensions: int, count: int, seed: int) -> Tensor:
    return torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed).draw(count, dtype=torch.float64)


def _in_box(box: Box, unit: Tensor) -> Tensor:
    return torch.stack([_scaled(side, unit[..., k]) for k, side in enumerate(box)], -1)


def _to_unit(box: Box, points: Sequence[Sequence[float]]) -> Tensor:
    given = torch.tensor(points, dtype=torch.float64)
    return torch.stack([_unscaled(side, given[..., k]) for k, side in enumerate(box)], -1)


def _scaled(side: Interval, unit: Tensor) -> Tensor:
    if side.logarithmic:
        return side.low * (side.high / side.low) ** unit
    return side.low + unit * (side.high - side.low)


def _unscaled(side: Interval, values: Tensor) -> Tensor:
    if side.logarithmic:
        return (values / side.low).log() / math.log(side.high / side.low)
    return (values - side.low) / (side.high - side.low)
