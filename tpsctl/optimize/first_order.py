"""Adam and SGD with momentum: one value and gradient a step, no line search.

Both are robust and slow. Adam is the method of the published protocol (Raja et al., arXiv:2504.18506). They serve for
comparison, for stochastic actions, and for networks whose gradient is too noisy for other methods. Each coordinate
is treated on its own, so a batch gives the same result as its paths one by one. A path that becomes non-finite ends at
its last finite state.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Reading


@dataclass
class FirstOrderState:
    """Present paths and running moments of their gradients.

    Attributes:
        current: Paths of the next evaluation, nm.
        first: Running mean of the gradient (Adam) or velocity (SGD), 1/nm.
        second: Running mean of the squared gradient, 1/nm^2 (Adam only).
    """

    current: Float[Tensor, "path image bead dim"]
    first: Float[Tensor, "path image bead dim"]
    second: Float[Tensor, "path image bead dim"]


class FirstOrder(Optimizer):
    """The loop that Adam and SGD share."""

    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        return _Run(self, action, paths, monitor)

    @abstractmethod
    def move(self, state: FirstOrderState, index: Tensor, gradient: Tensor, steps: int) -> Tensor:
        """Update the moments of the paths `index`, and return what to subtract from these paths, nm.

        Args:
            state: Holds the moments.
            index: Numbers of the paths.
            gradient: dS/dx of these paths, 1/nm.
            steps: Number of this step, counted from 1.
        """


class _Run(Minimization):
    """One minimization by Adam or SGD."""

    def __init__(self, options: FirstOrder, action: Action, paths: Tensor, monitor: Monitor) -> None:
        self.options, self.action, self.monitor = options, action, monitor
        self.state = FirstOrderState(paths.clone(), torch.zeros_like(paths), torch.zeros_like(paths))

    def step(self) -> bool:
        members, current = self.monitor.begin_step(), self.state.current
        if len(members) == 0:
            return False
        here = current[members.there]
        terms, gradient = self.action.value_and_gradient(here)
        step = self.options.move(self.state, members.there, gradient, self.monitor.step + 1)
        current[members.there, 1:-1] -= step[:, 1:-1]  # queued on a GPU before the host waits for numbers
        self.monitor.accept(members, here, Reading.of(terms, gradient))
        self.monitor.end_step()
        return True


class Adam(FirstOrder):
    """Adam with bias correction.

    Args:
        learning_rate_nm: Length of the first step of every coordinate, nm.
        max_steps: Most steps any path takes.
        convergence: When a path is finished.
        betas: Decay per step of the running means of gradient and squared gradient.

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

    def move(self, state: FirstOrderState, index: Tensor, gradient: Tensor, steps: int) -> Tensor:
        b1, b2 = self._betas
        state.first[index] = b1 * state.first[index] + (1 - b1) * gradient
        state.second[index] = b2 * state.second[index] + (1 - b2) * gradient.square()
        mean = state.first[index] / (1 - b1**steps)
        spread = (state.second[index] / (1 - b2**steps)).sqrt()
        return self._rate * mean / (spread + 1e-8)


class SGD(FirstOrder):
    """Gradient descent with heavy-ball momentum.

    Args:
        learning_rate_nm2: Step per unit gradient, nm^2.
        max_steps: Most steps any path takes.
        convergence: When a path is finished.
        momentum: Fraction of the velocity kept from step to step.

    Source: Polyak, USSR Comput. Math. Math. Phys. 4 (1964) 1.
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

    def move(self, state: FirstOrderState, index: Tensor, gradient: Tensor, steps: int) -> Tensor:
        state.first[index] = self._momentum * state.first[index] + gradient
        return self._rate * state.first[index]
