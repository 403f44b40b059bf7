"""The clock of guidance, the same for every noise schedule: t = (2/pi) atan(s / spread).

t = 0 is data, t = 1/2 is where noise is as wide as the data, t = 1 is noise. In x = y cos(pi t / 2), which is the
variance-preserving process with this clock, data and noise together keep the spread of the data at all times.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GuidanceClock:
    """Turns noise widths into times.

    Attributes:
        spread: Standard deviation of the data in a coordinate, in the length unit of the law.
    """

    spread: float

    def time(self, width: float) -> float:
        """t of a noise width."""
        return 2 / math.pi * math.atan(width / self.spread)

    def alpha(self, width: float) -> float:
        """cos(pi t / 2), by which y is multiplied to keep the spread of the data."""
        return 1 / math.sqrt(1 + (width / self.spread) ** 2)
