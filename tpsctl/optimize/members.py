"""Paths of a batch by number, on the host and on their device, and numbers that go from one to the other.

Work is queued on a GPU and done later. Reading one number waits until everything queued before it is done, and the GPU
then idles until the next work is queued. So all numbers that decide about a path (its action, slope, damping, whether
it is finished) are kept on the host, and an optimizer reads those that it needs for a step in one copy (`read_back`).
Indices and lengths go the other way (`sent`), which does not wait. On a CPU, host and device are the same.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Members:
    """Some paths of a batch.

    Attributes:
        host: Numbers of these paths in the batch, on the host.
        there: The same numbers on the device of the paths.
    """

    host: Int[Tensor, " member"]
    there: Int[Tensor, " member"]

    @classmethod
    def of(cls, numbers: Int[Tensor, " member"], device: torch.device) -> "Members":
        """Paths by their numbers on the host."""
        return cls(numbers, sent(numbers, device))

    def __len__(self) -> int:
        return len(self.host)

    def where(self, mask: Bool[Tensor, " member"]) -> "Members":
        """The paths for which a mask on the host is true."""
        return self if bool(mask.all()) else Members.of(self.host[mask], self.there.device)

    def and_also(self, others: "Members") -> "Members":
        """These paths followed by others."""
        return Members(torch.cat([self.host, others.host]), torch.cat([self.there, others.there]))


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """Copy a few numbers from the host to a device without waiting for the device."""
    return numbers.to(device, non_blocking=True)


def read_back(*columns: Float[Tensor, " member"]) -> tuple[Float[Tensor, " member"], ...]:
    """Bring numbers of every path to the host in one copy; here a step waits for its device."""
    return torch.stack(columns).cpu().unbind()


def some(rows: Tensor, mask: Bool[Tensor, " row"]) -> Tensor:
    """The rows of a tensor on any device for which a mask on the host is true."""
    return rows if bool(mask.all()) else rows[sent(mask.nonzero().squeeze(1), rows.device)]
