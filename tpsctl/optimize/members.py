"""Paths of a batch by number, on the host and on their device, and numbers that go from one to the other.

Work is queued on a GPU and done later. Whoever reads one number waits until everything queued before it is done, and
the GPU then idles until the next work is queued. So whatever decides about a path (its action, slope, damping, whether
it is finished) lives on the host, and an optimizer reads what it needs for a step in one copy (`read_back`).
Indices and lengths go the other way (`sent`), which waits for nothing. On a CPU host and device are the same.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Members:
    """Some paths of a batch.

    Attributes:
        host: Their numbers, on the host.
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
        """Those of them for which a mask on the host is true."""
        return self if bool(mask.all()) else Members.of(self.host[mask], self.there.device)

    def and_also(self, others: "Members") -> "Members":
        """These, then others."""
        return Members(torch.cat([self.host, others.host]), torch.cat([self.there, others.there]))


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """A few numbers of the host on a device, without waiting for it."""
    return numbers.to(device, non_blocking=True)


def read_back(*columns: Float[Tensor, " member"]) -> tuple[Float[Tensor, " member"], ...]:
    """Numbers of every path brought to the host, all in one copy: the one time that a step waits for its device."""
    return torch.stack(columns).cpu().unbind()


def some(rows: Tensor, mask: Bool[Tensor, " row"]) -> Tensor:
    """The rows of a tensor on any device for which a mask on the host is true."""
    return rows if bool(mask.all()) else rows[sent(mask.nonzero().squeeze(1), rows.device)]
