"""The rows of the tables of routes, saddles and minima, numbered by energy."""

from dataclasses import dataclass

from tpsctl.landscape.kinetics import NetworkKinetics
from tpsctl.landscape.routes import highest_saddle
from tpsctl.output.route_tables import MinimumRow, RouteRow, SaddleRow
from tpsctl.workflows.sample.routes.found import FoundRoutes


class Numbering:
    """Numbers of saddles and minima in tables, by energy, lowest first.

    Args:
        found: The search, whose own numbers are those of discovery.

    Attributes:
        saddles: The search's numbers of the saddles in the order of the table.
        minima: The search's numbers of the minima in the order of the table.
    """

    def __init__(self, found: FoundRoutes) -> None:
        network = found.search.network
        self.saddles = sorted(range(len(network.saddles)), key=lambda k: (network.saddles[k].energy, k))
        self.minima = sorted(range(len(network.minima)), key=lambda i: (network.minima[i].energy, i))
        self._saddle = {k: number for number, k in enumerate(self.saddles)}
        self._minimum = {i: number for number, i in enumerate(self.minima)}

    def saddle(self, k: int) -> int:
        """The table's number of the search's saddle k."""
        return self._saddle[k]

    def minimum(self, i: int) -> int:
        """The table's number of the search's minimum i."""
        return self._minimum[i]


@dataclass(frozen=True)
class Rows:
    """The rows of all tables, each the lowest first."""

    routes: list[RouteRow]
    saddles: list[SaddleRow]
    minima: list[MinimumRow]

    @classmethod
    def of(cls, found: FoundRoutes, numbers: Numbering, kinetics: NetworkKinetics) -> "Rows":
        """The rows about a search."""
        return cls(
            _route_rows(found, numbers, kinetics),
            _saddle_rows(found, numbers, kinetics),
            _minimum_rows(found, numbers, kinetics),
        )


def _route_rows(found: FoundRoutes, numbers: Numbering, kinetics: NetworkKinetics) -> list[RouteRow]:
    """One row per route, the lowest first."""
    network = found.search.network
    rows = []
    for number, (route, path) in enumerate(zip(found.search.routes, found.paths, strict=True)):
        assert found.verdict is not None
        top = float(path.energy.max())
        highest = highest_saddle(network, route)
        rows.append(
            RouteRow(
                number=number,
                forward=top - float(path.energy[0]),
                backward=top - float(path.energy[-1]),
                minima=tuple(map(numbers.minimum, route.minima)),
                saddles=tuple(map(numbers.saddle, route.saddles)),
                highest=numbers.saddle(highest),
                times_found=network.saddles[highest].times_found,
                valid=found.verdict.gate.verdicts[number],
                action=path.action,
                bound=path.bound,
                length=float(path.arc_length[-1]),
                largest_jump=path.largest_jump,
                free_energy_forward=kinetics.routes[number].barrier_forward,
                free_energy_backward=kinetics.routes[number].barrier_backward,
                limiting=numbers.saddle(kinetics.routes[number].limiting_saddle),
                flux_share=kinetics.routes[number].share,
            )
        )
    return rows


def _saddle_rows(found: FoundRoutes, numbers: Numbering, kinetics: NetworkKinetics) -> list[SaddleRow]:
    """One row per saddle, the lowest first."""
    rows, rates = [], kinetics.rates_per_s
    for k in numbers.saddles:
        saddle = found.search.network.saddles[k]
        rows.append(
            SaddleRow(
                energy=saddle.energy - found.zero,
                index=saddle.index,
                gradient=saddle.gradient_norm,
                wavenumbers=saddle.wavenumbers,
                minima=(numbers.minimum(saddle.ends[0]), numbers.minimum(saddle.ends[1])),
                times_found=saddle.times_found,
                routes=tuple(r for r, route in enumerate(found.search.routes) if k in route.saddles),
                free_energy=float(kinetics.free_energies_of_saddles[k]),
                copies=kinetics.copies_of_saddles[k],
                rates_per_s=(float(rates[k, 0]), float(rates[k, 1])),
                flux=float(kinetics.flux[k]),
                rate_control=float(kinetics.rate_control[k]),
            )
        )
    return rows


def _minimum_rows(found: FoundRoutes, numbers: Numbering, kinetics: NetworkKinetics) -> list[MinimumRow]:
    """One row per minimum, the lowest first."""
    search = found.search
    ends = {search.start: "A", search.end: "B"}
    return [
        MinimumRow(
            energy=m.energy - found.zero,
            times_found=m.times_found,
            searched=m.searched,
            end=ends.get(i, ""),
            free_energy=float(kinetics.free_energies_of_minima[i]),
            copies=kinetics.copies_of_minima[i],
            population=float(kinetics.populations[i]),
            committor=float(kinetics.committor[i]),
        )
        for i in numbers.minima
        for m in [search.network.minima[i]]
    ]
