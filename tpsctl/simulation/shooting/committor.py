"""The committor of an image by counting: p_B = n_B / (n_A + n_B), with an interval, a rule for stopping, and words.

The interval is Wilson's: the values p for which n_B hits in n shots are within z standard deviations of n p,

    (n_B + z^2/2) / (n + z^2)  +-  z sqrt( n_A n_B / n + z^2/4 ) / (n + z^2) .

It stays in [0, 1] and is sound for few hits, too. Shots that reach neither state are no part of p_B; the bounds that
they allow, if all of them went to A or all to B, are given beside it.

Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tpsctl.simulation.shooting.dynamics import Arrival

Z_95 = 1.959963984540054
"""Standard deviations of a 95 % interval."""

LOWEST, HIGHEST = 0.3, 0.7
"""Between these values of p_B an image belongs to the transition state."""

_MOST_UNDECIDED = 0.2
"""Fraction of shots that may reach neither state before p_B is not judged."""


def wilson_interval(hits: int, shots: int, z: float = Z_95) -> tuple[float, float]:
    """Lower and upper bound of a probability of which `hits` of `shots` were seen; (0, 1) without shots."""
    if shots == 0:
        return 0.0, 1.0
    middle = (hits + z * z / 2) / (shots + z * z)
    half = z * math.sqrt(hits * (shots - hits) / shots + z * z / 4) / (shots + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


class CommittorVerdict(StrEnum):
    """What p_B says of an image."""

    TRANSITION_STATE = "transition state"
    TOWARDS_A = "committed to A"
    TOWARDS_B = "committed to B"
    UNDECIDED = "not judged"
    NOT_ACCESSIBLE = "not accessible"


@dataclass(frozen=True)
class Committor:
    """Shots from one image, counted.

    Attributes:
        a: Shots that reached A.
        b: Shots that reached B.
        neither: Shots that reached neither within their time.
        failed: Shots whose coordinates became not finite.
    """

    a: int = 0
    b: int = 0
    neither: int = 0
    failed: int = 0

    @classmethod
    def of(cls, arrivals: Iterable[str]) -> "Committor":
        """Count arrivals."""
        found = list(arrivals)
        kinds = (Arrival.A, Arrival.B, Arrival.NEITHER, Arrival.FAILED)
        return cls(*(sum(arrival == kind for arrival in found) for kind in kinds))

    @property
    def shots(self) -> int:
        """All shots."""
        return self.a + self.b + self.neither + self.failed

    @property
    def arrived(self) -> int:
        """Shots that reached a state."""
        return self.a + self.b

    @property
    def p_b(self) -> float:
        """Fraction of those that reached a state which reached B; NaN if none did."""
        return self.b / self.arrived if self.arrived else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of p_B."""
        return wilson_interval(self.b, self.arrived)

    @property
    def bounds(self) -> tuple[float, float]:
        """p_B if all shots that reached neither state went to A, and if all of them went to B."""
        whole = max(1, self.arrived + self.neither)
        return self.b / whole, (self.b + self.neither) / whole

    @property
    def verdict(self) -> CommittorVerdict:
        """Whether the image belongs to the transition state, LOWEST <= p_B <= HIGHEST."""
        if not self.arrived or self.neither + self.failed > _MOST_UNDECIDED * self.shots:
            return CommittorVerdict.UNDECIDED
        if LOWEST <= self.p_b <= HIGHEST:
            return CommittorVerdict.TRANSITION_STATE
        return CommittorVerdict.TOWARDS_A if self.p_b < LOWEST else CommittorVerdict.TOWARDS_B

    @property
    def words(self) -> str:
        """The verdict with its reason."""
        if self.verdict is CommittorVerdict.UNDECIDED:
            lost = [f"{self.neither} of {self.shots} shots reached neither state"] * (self.neither > 0)
            lost += [f"{self.failed} of {self.shots} shots broke down"] * (self.failed > 0)
            return f"not judged: {' and '.join(lost) or 'no shots'}"
        if self.verdict is not CommittorVerdict.TRANSITION_STATE:
            return str(self.verdict)
        low, high = self.interval
        if low <= 0.5 <= high:
            return "transition state"
        return f"transition state, on the side of {'A' if high < 0.5 else 'B'}"


@dataclass(frozen=True)
class ShotRule:
    """When there are enough shots from an image.

    Attributes:
        least: Shots before anything is decided.
        most: Shots after which to stop in any case.
        width: Width of the interval of p_B that is narrow enough.
    """

    least: int
    most: int
    width: float

    def enough(self, found: Committor) -> bool:
        """Whether p_B is known well enough, or excludes 1/2, or all shots are spent."""
        if found.shots < self.least:
            return False
        low, high = found.interval
        return found.shots >= self.most or high - low <= self.width or not low <= 0.5 <= high


@dataclass(frozen=True)
class WindowRule:
    """When there are enough shots to say whether p_B lies in a window.

    Only configurations near the window get all shots: from `least` on, shots end once the 95 % interval of p_B has
    nothing in common with the window, or once the share that reaches neither state is surely too large. With
    least = 20 and most = 100 in blocks of ten, a configuration whose committor is 0.5 is given up too early with a
    chance below 1 %, and one at the edge of the window 0.4 to 0.6 with 7 %.

    Attributes:
        least: Shots before anything is decided.
        most: Shots after which to stop in any case.
        low: Lower end of the window.
        high: Upper end of the window.
    """

    least: int
    most: int
    low: float
    high: float

    def enough(self, found: Committor) -> bool:
        """Whether p_B is outside of the window, or all shots are spent."""
        if found.shots < self.least:
            return False
        low, high = found.interval
        return found.shots >= self.most or high < self.low or low > self.high or self._lost(found)

    def _lost(self, found: Committor) -> bool:
        """Whether so many shots reach neither state that p_B will not be judged."""
        return wilson_interval(found.neither + found.failed, found.shots)[0] > _MOST_UNDECIDED

    def holds(self, found: Committor) -> bool:
        """Whether p_B lies in the window; not so where too many shots reached neither state."""
        judged = found.verdict is not CommittorVerdict.UNDECIDED
        return judged and self.low <= found.p_b <= self.high
