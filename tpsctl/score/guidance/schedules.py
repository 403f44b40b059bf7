"""How the strength of guidance and the bandwidth of a kernel change with diffusion time t, from data (0) to noise (1).

    exponential strength    a exp(-b t)
    sigmoid strength        a [1 - sigmoid(k (t - b))]
    sigmoid bandwidth       a + sigmoid(k (t - b))

Source: arXiv:2505.13375, where both slopes k are fixed at about 20.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ExponentialStrength:
    """a exp(-b t).

    Attributes:
        height: a, the strength at t = 0.
        decay: b.
    """

    height: float
    decay: float

    def __call__(self, t: float) -> float:
        return self.height * math.exp(-self.decay * t)


@dataclass(frozen=True)
class SigmoidStrength:
    """a [1 - sigmoid(k (t - b))]: guidance that ends above the time b.

    Attributes:
        height: a.
        slope: k.
        midpoint: b.
    """

    height: float
    slope: float
    midpoint: float

    def __call__(self, t: float) -> float:
        return self.height * _sigmoid(-self.slope * (t - self.midpoint))


@dataclass(frozen=True)
class SigmoidBandwidth:
    """a + sigmoid(k (t - b)): a kernel that is narrow below the time b and wide above it.

    Attributes:
        floor: a, the bandwidth at small times.
        slope: k.
        midpoint: b.
    """

    floor: float
    slope: float
    midpoint: float

    def __call__(self, t: float) -> float:
        return self.floor + _sigmoid(self.slope * (t - self.midpoint))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
