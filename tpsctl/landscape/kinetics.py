"""Free energies, rate constants and the steady flux from A to B on a network of minima and saddles.

    F = U + harmonic vibrations + rigid rotation - kT ln g           of every minimum and saddle (`Modes.free_energy`)
    k = (kT/h) exp(-(F_saddle - F_minimum) / kT)                     over every saddle, in both directions (Eyring)
    p_i = exp(-F_i / kT) / Z                                         populations, so that p_i k_ij = p_j k_ji

where g counts equivalent labelings (`tpsctl.landscape.degeneracy`). With the committor q and the backward committor
1 - q, which here are those of the jump process between minima, the transitions from A to B have per unit of time

    flux = sum over saddles of p_i k_ij (q_j - q_i)  through any cut between A and B
    rate constant A -> B = flux / sum_i p_i (1 - q_i)                transitions per time spent coming from A

Assumptions: classical harmonic vibrations and rigid rotation at every point, no recrossing of saddles, equilibrium
within each minimum before it is left, and a network that holds all saddles that matter: a saddle that the search missed
carries no flux. The harmonic entropy of a mode below about 50 cm^-1 is too large, because the molecule does not move as
far along it as its curvature would allow: with its mode of 7 cm^-1, the half-chair of cyclohexane comes out several
kJ/mol too low. So the softest mode of every state is reported. A state joined to neither A nor B takes no part. If
labels are kept, every labeling is a state of its own, and only those that were found count.

A reactive path belongs to the first route, in the order given, whose highest saddle it passes; a saddle with the energy
of that one counts as well. So the shares of all routes and the share of paths over none of these saddles sum to 1.

The degree of rate control of a saddle is d ln flux / d(-F_saddle / kT) = f^2 / (c flux), with the current f and the
conductance c of the saddle; all degrees sum to 1, and the saddle with the largest one decides the rate.

Sources: Eyring, J. Chem. Phys. 3 (1935) 107; Metzner, Schuette and Vanden-Eijnden, Multiscale Model. Simul. 7 (2009)
1192 (flux, rate, paths); Campbell, J. Catal. 204 (2001) 520 (degree of rate control).
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.landscape.degeneracy import distinct_copies
from tpsctl.landscape.modes import NOTICEABLE_WAVENUMBER, PLANCK_KJ_PS_PER_MOL, Modes, normal_modes
from tpsctl.landscape.network import Minimum, Network, Saddle
from tpsctl.landscape.reactive_flux import ReactiveFlux, reactive_flux
from tpsctl.landscape.routes import Route, saddles_as_high
from tpsctl.landscape.surface import Surface
from tpsctl.units import thermal_energy

LOG_PS_PER_S = math.log(1e12)

SMALLEST_CURRENT = 1e-12
"""Currents below this fraction of the flux are rounding errors, and paths do not follow them."""


@dataclass(frozen=True)
class RouteKinetics:
    """What one route contributes.

    Attributes:
        share: Fraction of the flux whose paths belong to this route, 0 to 1.
        limiting_saddle: Number of the saddle with the highest free energy on the route, which limits its rate.
        barrier_forward: Free energy of that saddle above A, kJ/mol.
        barrier_backward: Free energy of that saddle above B, kJ/mol.
        softest_wavenumber: Lowest stable wavenumber of that saddle, cm^-1.
    """

    share: float
    limiting_saddle: int
    barrier_forward: float
    barrier_backward: float
    softest_wavenumber: float


@dataclass(frozen=True)
class NetworkKinetics:
    """Free energies, rate constants and the flux from A to B of a whole network.

    Logarithms are natural ones; the properties without `log` may be 0 where the numbers are too small for a float.

    Attributes:
        temperature_k: Temperature, K.
        start: Number of A in the network.
        end: Number of B.
        copies_of_minima: Degeneracy g of every minimum.
        copies_of_saddles: Degeneracy g of every saddle.
        free_energies_of_minima: Harmonic free energies above that of A, kJ/mol.
        free_energies_of_saddles: The same for the saddles, their unstable modes left out.
        softest_of_minima: Lowest wavenumber of every minimum, cm^-1; infinite for a state without vibrations.
        softest_of_saddles: Lowest stable wavenumber of every saddle, cm^-1.
        populations: Equilibrium populations of all minima that saddles join to A or B; 0 for the others.
        log_rates: ln of the rate constants over every saddle, in 1/ps: from its first minimum to its second, and back.
            For a saddle between equivalent copies of one minimum both are equal, and their sum is the rate constant
            of the exchange.
        committor: Probability q to reach B before A from every minimum; NaN if saddles join it to neither.
        flux: Net reactive flux through every saddle from its first minimum to its second, as a fraction of the whole.
        rate_control: Degree of rate control of every saddle.
        log_rate_forward: ln of the rate constant A -> B, in 1/ps; -inf if no saddles join A and B.
        log_rate_backward: ln of the rate constant B -> A, in 1/ps.
        routes: What every given route contributes, in the order given.
        other_share: Fraction of the flux whose paths pass none of the routes' highest saddles.
    """

    temperature_k: float
    start: int
    end: int
    copies_of_minima: tuple[int, ...]
    copies_of_saddles: tuple[int, ...]
    free_energies_of_minima: Float[Tensor, " minimum"]
    free_energies_of_saddles: Float[Tensor, " saddle"]
    softest_of_minima: Float[Tensor, " minimum"]
    softest_of_saddles: Float[Tensor, " saddle"]
    populations: Float[Tensor, " minimum"]
    log_rates: Float[Tensor, "saddle 2"]
    committor: Float[Tensor, " minimum"]
    flux: Float[Tensor, " saddle"]
    rate_control: Float[Tensor, " saddle"]
    log_rate_forward: float
    log_rate_backward: float
    routes: tuple[RouteKinetics, ...]
    other_share: float

    @property
    def rates_per_s(self) -> Float[Tensor, "saddle 2"]:
        """Rate constants over every saddle from its first minimum to its second, and back, 1/s."""
        return (self.log_rates + LOG_PS_PER_S).exp()

    @property
    def rate_forward_per_s(self) -> float:
        """Rate constant A -> B, 1/s."""
        return math.exp(self.log_rate_forward + LOG_PS_PER_S)

    @property
    def rate_backward_per_s(self) -> float:
        """Rate constant B -> A, 1/s."""
        return math.exp(self.log_rate_backward + LOG_PS_PER_S)

    @property
    def apparent_barrier(self) -> float:
        """Free energy, kJ/mol, of the one saddle above A over which Eyring's rate would be that of the network."""
        kt = thermal_energy(self.temperature_k)
        return kt * (math.log(kt / PLANCK_KJ_PS_PER_MOL) - self.log_rate_forward)

    @property
    def dominant_saddle(self) -> int | None:
        """Number of the saddle with the largest degree of rate control; None if no saddles join A and B."""
        return int(self.rate_control.argmax()) if math.isfinite(self.log_rate_forward) else None


def network_modes(surface: Surface, network: Network) -> tuple[list[Modes], list[Modes]]:
    """The modes of all minima and of all saddles, from a Hessian at each.

    Args:
        surface: The energy surface of the network.
        network: Minima and saddles.
    """
    minima, saddles = (
        [
            normal_modes(
                state.x,
                surface.hessian(state.x[None])[0],
                surface.masses_amu,
                rigid_motions=surface.rigid_motions,
            )
            for state in states
        ]
        for states in (network.minima, network.saddles)
    )
    return minima, saddles


def network_kinetics(
    network: Network,
    start: int,
    end: int,
    routes: Sequence[Route],
    modes_of_minima: Sequence[Modes],
    modes_of_saddles: Sequence[Modes],
    temperature_k: float,
) -> NetworkKinetics:
    """Compute free energies, rate constants and the flux from A to B.

    Args:
        network: Minima and saddles.
        start: Number of A.
        end: Number of B.
        routes: Ranked routes among which the flux is divided, as from `ranked_routes`; may be empty.
        modes_of_minima: Modes of every minimum, as from `network_modes`.
        modes_of_saddles: Modes of every saddle.
        temperature_k: Temperature, K, > 0.

    Raises:
        PathError: A and B are the same state of the network.
        ValueError: There are not as many modes as states.
    """
    _require_two_states(start, end)
    kt = thermal_energy(temperature_k)
    minima, copies_of_minima = _free_energies(network, network.minima, modes_of_minima, temperature_k)
    saddles, copies_of_saddles = _free_energies(network, network.saddles, modes_of_saddles, temperature_k)
    minima, saddles = minima - minima[start], saddles - minima[start]
    log_frequency = math.log(kt / PLANCK_KJ_PS_PER_MOL)
    log_conductances = log_frequency - saddles / kt
    found = reactive_flux(
        len(minima), [s.ends for s in network.saddles], log_conductances.tolist(), start=start, end=end
    )
    log_weights = torch.where(found.log_committor.isnan(), -math.inf, -minima / kt)
    softest = _softest(modes_of_saddles)
    divided, other = _divided(network, start, end, routes, found)
    return NetworkKinetics(
        temperature_k=temperature_k,
        start=start,
        end=end,
        copies_of_minima=copies_of_minima,
        copies_of_saddles=copies_of_saddles,
        free_energies_of_minima=minima,
        free_energies_of_saddles=saddles,
        softest_of_minima=_softest(modes_of_minima),
        softest_of_saddles=softest,
        populations=torch.softmax(log_weights, 0),
        log_rates=log_frequency - _barriers(network, minima, saddles) / kt,
        committor=found.log_committor.exp(),
        flux=found.currents,
        rate_control=_rate_control(found, log_conductances),
        log_rate_forward=found.log_conductance - _log_time_share(log_weights, found.log_backward_committor),
        log_rate_backward=found.log_conductance - _log_time_share(log_weights, found.log_committor),
        routes=tuple(
            _route_kinetics(route, share, minima, saddles, softest)
            for route, share in zip(routes, divided, strict=True)
        ),
        other_share=other,
    )


def _require_two_states(start: int, end: int) -> None:
    if start == end:
        raise PathError(
            "kinetics: A and B are the same state up to labels of equivalent atoms, so that there is no rate between "
            "them. Set endpoints.equivalent_atoms: keep to tell them apart."
        )


def _free_energies(
    network: Network, states: Sequence[Minimum | Saddle], modes: Sequence[Modes], temperature_k: float
) -> tuple[Float[Tensor, " state"], tuple[int, ...]]:
    """Free energies of minima or saddles, kJ/mol, with an additive constant that all states share; degeneracies."""
    if len(modes) != len(states):
        raise ValueError(f"got modes of {len(modes)} states, expected those of all {len(states)}")
    copies, values = [], []
    for state, vibrations in zip(states, modes, strict=True):
        copies.append(distinct_copies(network.equivalence, state.x))
        values.append(vibrations.free_energy(state.energy, temperature_k, copies=copies[-1]))
    return torch.tensor(values, dtype=torch.float64), tuple(copies)


def _barriers(network: Network, minima: Tensor, saddles: Tensor) -> Float[Tensor, "saddle 2"]:
    """Free energy of every saddle above its first and its second minimum, kJ/mol."""
    ends = torch.tensor([s.ends for s in network.saddles], dtype=torch.long).reshape(-1, 2)
    return saddles[:, None] - minima[ends]


def _log_time_share(log_weights: Tensor, log_probability: Tensor) -> float:
    """ln of sum_i w_i P_i, the weight of the time in which the last visited end was a given one."""
    taking_part = ~log_probability.isnan()
    return float(torch.logsumexp((log_weights + log_probability)[taking_part], 0))


def _rate_control(found: ReactiveFlux, log_conductances: Float[Tensor, " saddle"]) -> Float[Tensor, " saddle"]:
    """f^2 / (c flux) of every saddle, with its current f in the unit of the flux."""
    if not math.isfinite(found.log_conductance):
        return torch.zeros_like(found.currents)
    return (2 * found.currents.abs().log() + found.log_conductance - log_conductances).exp()


def _softest(modes: Sequence[Modes]) -> Float[Tensor, " state"]:
    """Lowest stable wavenumber of every state, cm^-1; infinite where there is none."""
    stable = [each.wavenumbers[each.wavenumbers > NOTICEABLE_WAVENUMBER].tolist() for each in modes]
    return torch.tensor([min(values, default=math.inf) for values in stable], dtype=torch.float64)


def _route_kinetics(route: Route, share: float, minima: Tensor, saddles: Tensor, softest: Tensor) -> RouteKinetics:
    limiting = max(route.saddles, key=lambda k: (float(saddles[k]), k))
    forward, backward = (float(saddles[limiting] - minima[i]) for i in (route.minima[0], route.minima[-1]))
    return RouteKinetics(share, limiting, forward, backward, float(softest[limiting]))


def _divided(
    network: Network, start: int, end: int, routes: Sequence[Route], found: ReactiveFlux
) -> tuple[list[float], float]:
    """Shares of the routes in the flux, and the share of paths that pass none of their highest saddles."""
    if not math.isfinite(found.log_conductance):
        return [0.0] * len(routes), 0.0
    closed: set[int] = set()
    left, shares = 1.0, []
    for route in routes:
        closed |= saddles_as_high(network, route)
        beside = _share_beside(network, start, end, found.currents, closed)
        shares.append(max(left - beside, 0.0))
        left = beside
    return shares, left


def _share_beside(network: Network, start: int, end: int, currents: Tensor, closed: Set[int]) -> float:
    """Fraction of the flux whose paths pass none of the closed saddles.

    Reactive paths follow the currents, and choose at every minimum among the saddles out of it in proportion to these.
    """
    steps: dict[int, list[tuple[int, int, float]]] = {}
    entries: dict[int, int] = {}
    for number, (saddle, current) in enumerate(zip(network.saddles, currents.tolist(), strict=True)):
        if abs(current) > SMALLEST_CURRENT:
            here, there = saddle.ends if current > 0 else saddle.ends[::-1]
            steps.setdefault(here, []).append((there, number, abs(current)))
            entries[there] = entries.get(there, 0) + 1
    arriving, ready = {start: 1.0}, [start]
    while ready:
        here = ready.pop()
        out = steps.get(here, [])
        whole = sum(current for _, _, current in out)
        for there, number, current in out:
            passed = 0.0 if number in closed else arriving[here] * current / whole
            arriving[there] = arriving.get(there, 0.0) + passed
            entries[there] -= 1
            if entries[there] == 0:
                ready.append(there)
    return arriving.get(end, 0.0)
