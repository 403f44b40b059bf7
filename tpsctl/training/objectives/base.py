"""What an objective is: a network, a loss of it, batches to take the loss on, and what is computed once before.

The loop (`tpsctl.training.loop`) knows nothing else of what it minimizes. A new objective is a new file in this folder.
All random numbers come from the generator that is handed in, on the CPU, so that a run can be stored and continued
exactly, and draws the same batches on every device. The preparation runs on the CPU, the steps where `to` has put the
objective.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor


class Batch(Protocol):
    """What a loss is taken on: tensors that can be moved to the device of the network."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""


BatchT = TypeVar("BatchT", bound=Batch)
NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)

Pause = Callable[[], None]
"""Called every few seconds within a long computation; it raises where the computation is to be given up."""


def never() -> None:
    """A `Pause` that lets everything run to its end."""


@dataclass(frozen=True)
class Piece:
    """One part of what is computed once, before the first step.

    Attributes:
        name: What it computes, for whoever watches.
        run: Computes it, with random numbers from the generator, and returns what there is to say about the result.
    """

    name: str
    run: Callable[[torch.Generator, Pause], str]


class Objective(ABC, Generic[BatchT, NetworkT]):
    """A loss whose minimum is the network that is wanted."""

    @property
    @abstractmethod
    def network(self) -> NetworkT:
        """The network. Its parameters and buffers belong to the stored state of a run."""

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """What gradient descent changes and a running average is kept of: by default all parameters."""
        return dict(self.network.named_parameters())

    def preparation(self) -> Sequence[Piece]:
        """What is computed once, in order; a run may be stored between two pieces."""
        return ()

    def to(self, device: torch.device) -> None:
        """Put on a device what the loss is computed with; `draw` goes on to give batches on the CPU."""
        self.network.to(device=device)

    @abstractmethod
    def draw(self, generator: torch.Generator) -> BatchT:
        """A batch for one step, on the CPU."""

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """The loss on a batch that lies on the network's device: a scalar, differentiable by the trained parameters.

        It may update running statistics of the objective, which `store` then has to return.
        """

    def store(self) -> dict[str, Tensor]:
        """The tensors, beside the network's, that preparation or earlier steps have left."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most objectives keep nothing)
        """Take back what `store` gave."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of settings and data, see `fingerprint_of`; a stored run continues only with the same."""


def fingerprint_of(facts: Any, tensors: Iterable[Tensor | None]) -> str:
    """SHA-256 of facts that JSON can write, and of tensors."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for tensor in tensors:
        if tensor is not None:
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def seeded(seed: int, make: Callable[[], NetworkT]) -> NetworkT:
    """A network whose initial parameters depend on the seed alone; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
