"""routes.csv, saddles.csv and minima.csv: what a search for routes has found, energies in kJ/mol above the start.

Saddles and minima are numbered by energy, lowest first; row k of a table is frame k of the file of structures beside
it. Lists within a cell are separated by blanks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tpsctl.output.tables import Column

WAVENUMBERS = 3
"""Lowest wavenumbers of a saddle that are listed."""


@dataclass(frozen=True)
class RouteRow:
    """One route; it is path number `number`.

    Attributes:
        number: Number of the route, 0 the lowest.
        forward: Energy of its highest saddle above A, kJ/mol.
        backward: The same above B, kJ/mol.
        minima: Numbers of its minima, from A to B.
        saddles: Numbers of its saddles, from A to B.
        highest: Number of its highest saddle.
        times_found: How often the search found the highest saddle.
        valid: "valid", or what is wrong with the path.
        action: Action of its path.
        bound: Least possible action, sum |dU| / 2kT over its ups and downs.
        length: Length of its path in mass-weighted coordinates, sqrt(amu) nm.
        largest_jump: Largest over mean distance of neighboring images.
        free_energy_forward: Free energy of the saddle that limits the rate above A, kJ/mol.
        free_energy_backward: The same above B, kJ/mol.
        limiting: Number of that saddle.
        flux_share: Fraction of the flux from A to B that takes this route.
    """

    number: int
    forward: float
    backward: float
    minima: tuple[int, ...]
    saddles: tuple[int, ...]
    highest: int
    times_found: int
    valid: str
    action: float
    bound: float
    length: float
    largest_jump: float
    free_energy_forward: float
    free_energy_backward: float
    limiting: int
    flux_share: float


@dataclass(frozen=True)
class SaddleRow:
    """One saddle.

    Attributes:
        energy: Energy above A, kJ/mol.
        index: Number of negative curvatures.
        gradient: |grad U|, kJ/mol/nm.
        wavenumbers: Lowest wavenumbers, cm^-1; negative for unstable modes.
        minima: Numbers of the two minima that it joins.
        times_found: How often the search found it.
        routes: Numbers of the routes that it lies on.
        free_energy: Harmonic free energy above A, kJ/mol.
        copies: Number of equivalent copies that are counted as this one.
        rates_per_s: Rate constants from its first minimum to its second, and back, 1/s.
        flux: Net flux from its first minimum to its second, as a fraction of the flux from A to B.
        rate_control: Degree of rate control.
    """

    energy: float
    index: int
    gradient: float
    wavenumbers: tuple[float, ...]
    minima: tuple[int, int]
    times_found: int
    routes: tuple[int, ...]
    free_energy: float
    copies: int
    rates_per_s: tuple[float, float]
    flux: float
    rate_control: float


@dataclass(frozen=True)
class MinimumRow:
    """One minimum.

    Attributes:
        energy: Energy above A, kJ/mol.
        times_found: How often the search reached it.
        searched: How many local searches began there.
        end: "A" or "B" if it is an end, "" otherwise.
        free_energy: Harmonic free energy above A, kJ/mol.
        copies: Number of equivalent copies that are counted as this one.
        population: Equilibrium population.
        committor: Probability to reach B before A.
    """

    energy: float
    times_found: int
    searched: int
    end: str
    free_energy: float
    copies: int
    population: float
    committor: float


def route_columns(rows: Sequence[RouteRow]) -> dict[str, Column]:
    """The columns of routes.csv by name, one row per route, the lowest first."""
    return {
        "route": [str(row.number) for row in rows],
        "barrier_forward_kj_per_mol": _numbers([row.forward for row in rows]),
        "barrier_backward_kj_per_mol": _numbers([row.backward for row in rows]),
        "saddles": [_list(row.saddles) for row in rows],
        "highest_saddle": [str(row.highest) for row in rows],
        "minima": [_list(row.minima) for row in rows],
        "times_found": [str(row.times_found) for row in rows],
        "valid": [row.valid for row in rows],
        "free_energy_barrier_forward_kj_per_mol": _numbers([row.free_energy_forward for row in rows]),
        "free_energy_barrier_backward_kj_per_mol": _numbers([row.free_energy_backward for row in rows]),
        "rate_limiting_saddle": [str(row.limiting) for row in rows],
        "flux_share": _numbers([row.flux_share for row in rows]),
        "action": _numbers([row.action for row in rows]),
        "action_bound": _numbers([row.bound for row in rows]),
        "length_sqrt_amu_nm": _numbers([row.length for row in rows]),
        "largest_over_mean_gap": _numbers([row.largest_jump for row in rows]),
    }


def saddle_columns(rows: Sequence[SaddleRow]) -> dict[str, Column]:
    """The columns of saddles.csv by name, one row per saddle, the lowest first."""
    modes = [[*row.wavenumbers, *[float("nan")] * WAVENUMBERS][:WAVENUMBERS] for row in rows]
    return {
        "saddle": [str(k) for k in range(len(rows))],
        "energy_above_start_kj_per_mol": _numbers([row.energy for row in rows]),
        "index": [str(row.index) for row in rows],
        "gradient_kj_per_mol_per_nm": _numbers([row.gradient for row in rows]),
        **{f"wavenumber_{k + 1}_per_cm": _numbers([mode[k] for mode in modes]) for k in range(WAVENUMBERS)},
        "minimum_1": [str(row.minima[0]) for row in rows],
        "minimum_2": [str(row.minima[1]) for row in rows],
        "times_found": [str(row.times_found) for row in rows],
        "routes": [_list(row.routes) for row in rows],
        "free_energy_above_start_kj_per_mol": _numbers([row.free_energy for row in rows]),
        "copies": [str(row.copies) for row in rows],
        "rate_1_to_2_per_s": _numbers([row.rates_per_s[0] for row in rows]),
        "rate_2_to_1_per_s": _numbers([row.rates_per_s[1] for row in rows]),
        "flux_1_to_2": _numbers([row.flux for row in rows]),
        "rate_control": _numbers([row.rate_control for row in rows]),
    }


def minimum_columns(rows: Sequence[MinimumRow]) -> dict[str, Column]:
    """The columns of minima.csv by name, one row per minimum, the lowest first."""
    return {
        "minimum": [str(k) for k in range(len(rows))],
        "energy_above_start_kj_per_mol": _numbers([row.energy for row in rows]),
        "end": [row.end for row in rows],
        "times_found": [str(row.times_found) for row in rows],
        "searches_from_it": [str(row.searched) for row in rows],
        "free_energy_above_start_kj_per_mol": _numbers([row.free_energy for row in rows]),
        "copies": [str(row.copies) for row in rows],
        "population": _numbers([row.population for row in rows]),
        "committor": _numbers([row.committor for row in rows]),
    }


def _numbers(values: Sequence[float]) -> Column:
    return torch.tensor(values, dtype=torch.float64)


def _list(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
