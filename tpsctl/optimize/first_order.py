"""Adam and SGD with momentum: one value and gradient a step, no line search.

Robust and slow; the published protocol. Kept for comparison, for stochastic actions, and for networks whose
gradient is too noisy for anything better. Each coordinate (Adam) or each path (SGD) is on its own, so
a batch gives what its paths give one by one. A path that turns non-finite stops at its last finite state.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action
from tpsctl.optimize.base import Convergence, Monitor, Optimizer, Outcome, StepCallback


@dataclass
class FirstOrderState:
    """Moments of the gradient, shaped like the paths.

    Attributes:
        step: Steps taken.
        first: Mean gradient (Adam) or velocity (SGD).
        second: Mean squared gradient (Adam only).
    """

    step: int
    first: Float[Tensor, "path image bead dim"]
    second: Float[Tensor, "path image bead dim"]


class FirstOrder(Optimizer):
    """The loop that Adam and SGD share."""

    def minimize(self, action: Action, paths: Tensor, *, on_step: StepCallback | None = None) -> tuple[Tensor, Outcome]:
        monitor = Monitor(paths, self.convergence, on_step)
        state = FirstOrderState(0, torch.zeros_like(paths), torch.zeros_like(paths))
        current = paths.clone()
        for _ in range(self.max_steps + 1):
            index = monitor.begin_step()
            if len(index) == 0:
                break
            terms, gradient = action.value_and_gradient(current[index])
            monitor.accept(index, current[index], terms, gradient)
            monitor.report()
            state.step += 1
            step = self._step(state, index, gradient)
            current[index, 1:-1] -= step[:, 1:-1]
        return monitor.record.good, monitor.outcome()

    @abstractmethod
    def _step(self, state: FirstOrderState, index: Tensor, gradient: Tensor) -> Tensor:
        """What to subtract from the paths `index`, nm; updates the state."""


class Adam(FirstOrder):
    """Adam with bias correction.

    Args:
        learning_rate_nm: Length of a first step, nm.
        max_steps: Most steps any path takes.
        convergence: When a path is finished.
        betas: Memory of the two moments.

    Source: Kingma and Ba, arXiv:1412.6980, algorithm 1.
    """

    method = "adam"

    def __init__(
        self,
        *,
        learning_rate_nm: float,
        max_steps: int,
        convergence: Convergence | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self._rate, self._betas = learning_rate_nm, betas

    def _step(self, state: FirstOrderState, index: Tensor, gradient: Tensor) -> Tensor:
        b1, b2 = self._betas
        state.first[index] = b1 * state.first[index] + (1 - b1) * gradient
        state.second[index] = b2 * state.second[index] + (1 - b2) * gradient.square()
        mean = state.first[index] / (1 - b1**state.step)
        spread = (state.second[index] / (1 - b2**state.step)).sqrt()
        return self._rate * mean / (spread + 1e-8)


class SGD(FirstOrder):
    """Gradient descent with heavy-ball momentum.

    Args:
        learning_rate_nm2: Step per unit gradient, nm^2.
        max_steps: Most steps any path takes.
        convergence: When a path is finished.
        momentum: Fraction of the velocity kept.
    """

    method = "sgd"

    def __init__(
        self,
        *,
        learning_rate_nm2: float,
        max_steps: int,
        convergence: Convergence | None = None,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self._rate, self._momentum = learning_rate_nm2, momentum

    def _step(self, state: FirstOrderState, index: Tensor, gradient: Tensor) -> Tensor:
        state.first[index] = self._momentum * state.first[index] + gradient
        return self._rate * state.first[index]
