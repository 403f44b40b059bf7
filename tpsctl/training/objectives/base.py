"""The interface of objectives: a network, its loss, the batches for the loss, and what is computed once before.

The loop (`tpsctl.training.loop`) minimizes objectives through this interface alone. A new objective is a new file in
this folder. All random numbers come from the generator that is handed in, which is on the CPU, so that a run can be
stored and continued exactly and draws the same batches on every device. The preparation runs on the CPU, and the steps
run on the device to which `to` has moved the objective.
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
    """A batch for a loss: tensors that can be moved to the device of the network."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""


BatchT = TypeVar("BatchT", bound=Batch)
NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)

Pause = Callable[[], None]
"""Called every few seconds within a long computation; it raises to end the computation."""


def never() -> None:
    """A `Pause` that lets everything run to its end."""


@dataclass(frozen=True)
class Piece:
    """One part of the preparation, which is computed once, before the first step.

    Attributes:
        name: Name of what it computes, for reports of progress.
        run: Computes it with random numbers from the generator, and returns a remark about the result, or "".
    """

    name: str
    run: Callable[[torch.Generator, Pause], str]


class Objective(ABC, Generic[BatchT, NetworkT]):
    """A loss whose minimizer is the wanted network, with everything that is needed to take it."""

    @property
    @abstractmethod
    def network(self) -> NetworkT:
        """The network. Its parameters and buffers belong to the stored state of a run."""

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that gradient descent changes and averages, by name: by default all parameters."""
        return dict(self.network.named_parameters())

    def preparation(self) -> Sequence[Piece]:
        """The pieces that are computed once, in order; a run may be stored between two pieces."""
        return ()

    @property
    def remark(self) -> str:
        """What a report of progress says beside the loss; "" for nothing."""
        return ""

    def to(self, device: torch.device) -> None:
        """Move the network, and all other tensors that the loss needs, to a device; `draw` still gives CPU batches."""
        self.network.to(device=device)

    @abstractmethod
    def draw(self, generator: torch.Generator) -> BatchT:
        """Draw a batch for one step, on the CPU."""

    def held_out_batch(self, generator: torch.Generator) -> BatchT | None:
        """Draw a batch, on the CPU, from data that are not learned from; None if there are none.

        It is drawn after the preparation, and must not change what later steps depend on.
        """
        return None

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """The loss, a scalar, on a batch on the network's device; differentiable by the trained parameters.

        It may update running statistics of the objective, which `store` then has to return.
        """

    def store(self) -> dict[str, Tensor]:
        """Tensors, beside those of the network, that preparation or earlier steps made and later steps need."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most objectives keep nothing)
        """Take over tensors that `store` returned."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of settings and data (`fingerprint_of`); a stored run continues only with the same fingerprint."""


def fingerprint_of(facts: Any, tensors: Iterable[Tensor | None]) -> str:
    """SHA-256, as hexadecimal digits, of facts that JSON can write, and of the bytes of tensors on the host."""
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
