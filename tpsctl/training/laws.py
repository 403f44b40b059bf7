"""How the learning rate and the decay of the running average change with the steps of a training run.

Both laws are functions of the number of steps already done, n. Training on molecules and training on points use
slightly different laws, which the fields describe, so that a recipe keeps giving the same model.
"""

import math
from dataclasses import dataclass

WARM_UP_STEPS = 200
"""Number of steps over which the learning rate rises linearly."""


@dataclass(frozen=True)
class WarmUpThenCosine:
    """Linear warm-up over `WARM_UP_STEPS` steps, times a cosine that falls from 1 to 0.01 over all steps.

    Attributes:
        peak: Learning rate without either factor.
        steps: Number of steps of the whole run.
        ahead: Number of steps by which the cosine is ahead of n: 0, or 1 to end at 0.01 exactly.
    """

    peak: float
    steps: int
    ahead: int = 0

    def __call__(self, steps_done: int) -> float:
        progress = (steps_done + self.ahead) / self.steps
        rate = self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        return rate * min(1.0, (steps_done + 1) / WARM_UP_STEPS)


@dataclass(frozen=True)
class RampedDecay:
    """Decay min(largest, (n + gained) / (n + span)), whose memory is short at first and grows with the run.

    Attributes:
        largest: Decay after the ramp, below 1.
        gained: Offset of the numerator. With gained = 0 and span = 1 the average is the plain mean of all steps so far.
        span: Offset of the denominator.
    """

    largest: float
    gained: int = 1
    span: int = 10

    def __call__(self, steps_done: int) -> float:
        return min(self.largest, (steps_done + self.gained) / (steps_done + self.span))
