"""Several processes that train one model together, each on its own GPU, as `torchrun` starts them.

Every process draws the same batch and takes its share of it; gradients are averaged by DistributedDataParallel. The
loss is a mean over the batch, so the result depends on the number of processes by rounding only, and a state that one
number of processes has stored can be continued by another. Process 0 prepares, saves and judges; the others follow.

Source: Li et al., PVLDB 13 (2020) 3005, arXiv:2006.15704 (DistributedDataParallel).
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, distributed, nn

from tpsctl.errors import DataError

_LONGEST_WAIT = timedelta(days=7)
"""Followers wait for the preparation of process 0, which may take long."""


@runtime_checkable
class DivisibleBatch(Protocol):
    """A batch whose loss is a mean over its members, so that a team can share it."""

    def __len__(self) -> int:
        """Number of members."""

    def part(self, first: int, step: int) -> Self:
        """Every `step`-th member, from the member `first` on."""


class Team:
    """This process as a member of a team; `Team.joined` makes it and `leave` ends it.

    Attributes:
        rank: Number of this process; 0 leads.
        size: Number of processes.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def joined(cls, *, gpus: bool) -> "Team | None":
        """Join the team that the environment variables of `torchrun` describe; None for a process on its own."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return None
        if not distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
            distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        """End the connections, whose threads would otherwise run while the process ends and could abort it."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def shared(self, message: Any = None) -> Any:
        """The message of process 0, in all processes; those of the others are ignored.

        Raises:
            DataError: Process 0 has ended.
        """
        box = [message]
        try:
            distributed.broadcast_object_list(box, src=0)
        except RuntimeError as error:
            raise _ended(error) from None
        return box[0]

    def largest(self, value: int) -> int:
        """The largest of the values of all processes.

        Raises:
            DataError: Another process has ended.
        """
        return int(self._reduced(torch.tensor([value]), distributed.ReduceOp.MAX)[0])

    def mean(self, value: float) -> float:
        """The mean of the values of all processes; errors as `largest`."""
        total = self._reduced(torch.tensor([value], dtype=torch.float64), distributed.ReduceOp.SUM)
        return float(total[0]) / self.size

    def part_of(self, batch: Any) -> Any:
        """The share of this process of a batch.

        Raises:
            DataError: The batch cannot be shared, or not evenly.
        """
        if not isinstance(batch, DivisibleBatch):
            raise DataError("this kind of training runs in one process; start it without torchrun.")
        if len(batch) % self.size:
            raise DataError(
                f"optimize.batch: got {len(batch)}, expected a multiple of the number of processes, {self.size}."
            )
        return batch.part(self.rank, self.size)

    def averaging(self, loss: Callable[[Any], Tensor], network: nn.Module) -> nn.Module:
        """A module that computes the loss of a batch, and averages gradients over the team in its backward pass."""
        module = _LossModule(loss, network)
        return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)

    def _reduced(self, value: Tensor, operation: Any) -> Tensor:
        try:
            distributed.all_reduce(value, operation)
        except RuntimeError as error:
            raise _ended(error) from None
        return value


class _LossModule(nn.Module):
    """A loss as a module, so that DistributedDataParallel can wrap it."""

    def __init__(self, loss: Callable[[Any], Tensor], network: nn.Module) -> None:
        super().__init__()
        self._loss, self.network = loss, network

    def forward(self, batch: Any) -> Tensor:
        return self._loss(batch)


def _ended(error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"another process of this training has ended ({reason}); see its message.")
