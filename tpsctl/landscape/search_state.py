"""A search between two rounds: its settings, its network, the record of every round, and its outcome."""

from dataclasses import dataclass, field

from tpsctl.landscape.network import Network
from tpsctl.landscape.routes import Route


@dataclass(frozen=True)
class SearchSettings:
    """Size of the rounds and criteria for the end of a search; none of them depends on the molecule.

    Attributes:
        attempts: Attempts per round; so many variants of the best route's top are sought before it may stop, too,
            and half as many of each of the next two.
        block: Most attempts in a block.
        most_rounds: Most rounds.
        most_evaluations: Number of force evaluations after which no new round begins: about five minutes of one core
            for 30 atoms, ten for 60.
        stable_rounds: Rounds without change of both routes' highest saddles before the search may stop.
        searches_per_minimum: Local searches from each minimum of the smaller of S_A and S_B before it may stop.
        missing: Largest probability that the next saddle below the top is new (Good and Turing) at which it may stop;
            and that below the top of the best alternative.
        most_routes: Most routes that are returned.
    """

    attempts: int = 16
    block: int = 16
    most_rounds: int = 60
    most_evaluations: float = 3e6
    stable_rounds: int = 4
    searches_per_minimum: int = 4
    missing: float = 0.1
    most_routes: int = 8


@dataclass(frozen=True)
class RoundRecord:
    """State of the search after a round, for tables and for the decision to stop.

    Attributes:
        top: Energy of the best route's highest saddle after the round, kJ/mol; infinite while A and B are not
            connected.
        second_top: Energy of the best alternative's highest saddle, kJ/mol; infinite while there is none.
        minima: Number of minima known.
        saddles: Number of saddles known.
        missing: Estimated probability that the next saddle below the top is new (`missing_fraction`).
        second_missing: The same below the alternative's top.
        evaluations: Number of force evaluations so far.
    """

    top: float
    second_top: float
    minima: int
    saddles: int
    missing: float
    second_missing: float
    evaluations: int


@dataclass
class SearchState:
    """A search between two rounds.

    Attributes:
        network: Minima and saddles found so far.
        start: Number of A in the network.
        end: Number of B in the network.
        rounds: Record of every round so far.
    """

    network: Network
    start: int
    end: int
    rounds: list[RoundRecord] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Number of force evaluations that all rounds have spent."""
        return self.rounds[-1].evaluations if self.rounds else 0


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        network: Minima (with times found) and saddles (with ends and times found).
        start: Number of A in the network.
        end: Number of B in the network.
        routes: Routes, lowest first; empty if A and B could not be connected.
        rounds: Record of every round.
        complete: Whether the criteria for completeness were met; if not, the budget ended the search.
        missing: Estimated probability that the next saddle below the best route's top is new (`missing_fraction`).
    """

    network: Network
    start: int
    end: int
    routes: tuple[Route, ...]
    rounds: tuple[RoundRecord, ...]
    complete: bool
    missing: float
