"""Rates and fluxes of networks that are drawn by hand, against closed forms."""

import math
import pickle

import pytest
import torch

from tests.landscape.test_routes import network, saddle
from tpsctl.errors import PathError
from tpsctl.landscape.kinetics import network_kinetics
from tpsctl.landscape.modes import PLANCK_KJ_PS_PER_MOL, Modes
from tpsctl.landscape.routes import ranked_routes
from tpsctl.units import thermal_energy

ROUNDING = 1e-12
"""Relative error that some dozens of operations in float64 may leave."""

NO_MODES = Modes(torch.zeros(0), torch.zeros(1, 0), 0.0)
"""Modes of a point without vibrations, whose free energy is its energy."""


def kinetics(net, temperature_k=300.0, *, start=0, end=1, routes=None):
    found = ranked_routes(net, start, end) if routes is None else routes
    modes = [NO_MODES] * len(net.minima), [NO_MODES] * len(net.saddles)
    return network_kinetics(net, start, end, found, *modes, temperature_k)


def eyring(barrier, temperature_k=300.0):
    kt = thermal_energy(temperature_k)
    return kt / PLANCK_KJ_PS_PER_MOL * math.exp(-barrier / kt)


def chain(minima, tops):
    """A chain of minima, the first of which is A and the last B."""
    places = [0, *range(2, len(minima)), 1]
    ordered = sorted(zip(places, minima, strict=True))
    return network(
        [(float(i), energy) for i, energy in ordered],
        [saddle((places[k], places[k + 1]), top) for k, top in enumerate(tops)],
    )


def random_network(seed, minima=12, saddles=30):
    """Energies within 25 kJ/mol, so that a plain linear solve is a fair judge."""
    generator = torch.Generator().manual_seed(seed)
    energies = (8 * torch.rand(minima, generator=generator)).tolist()
    ends = torch.randint(minima, (saddles, 2), generator=generator).tolist()
    tops = (9 + 16 * torch.rand(saddles, generator=generator)).tolist()
    return network(
        [(float(i), e) for i, e in enumerate(energies)], [saddle(tuple(e), t) for e, t in zip(ends, tops, strict=True)]
    )


def test_two_states_have_eyring_s_rates():
    found = kinetics(network([(0.0, 2.0), (1.0, 5.0)], [saddle((0, 1), 30.0)]))
    assert found.rates_per_s.tolist()[0] == pytest.approx([1e12 * eyring(28.0), 1e12 * eyring(25.0)], rel=ROUNDING)
    assert found.rate_forward_per_s == pytest.approx(1e12 * eyring(28.0), rel=ROUNDING)
    assert found.rate_backward_per_s == pytest.approx(1e12 * eyring(25.0), rel=ROUNDING)
    assert found.apparent_barrier == pytest.approx(28.0, rel=ROUNDING)
    assert found.committor.tolist() == [0.0, 1.0]
    assert found.flux.tolist() == [1.0]
    assert found.rate_control.tolist() == pytest.approx([1.0], rel=ROUNDING)
    assert found.dominant_saddle == 0


def test_three_states_in_a_row():
    """q_M = k_MB / (k_MA + k_MB), and the rate A -> B is flux / (p_A + p_M (1 - q_M))."""
    found = kinetics(chain([0.0, 4.0, -3.0], [20.0, 23.0]))
    k_ma, k_mb, k_am = eyring(16.0), eyring(19.0), eyring(20.0)
    q = k_mb / (k_ma + k_mb)
    weight = math.exp(-4.0 / thermal_energy(300.0))
    assert float(found.committor[2]) == pytest.approx(q, rel=ROUNDING)
    assert found.flux.tolist() == pytest.approx([1.0, 1.0], rel=ROUNDING)
    assert found.rate_forward_per_s == pytest.approx(1e12 * k_am * q / (1 + weight * (1 - q)), rel=ROUNDING)
    # The resistances 1/c of saddles in a row add, and each controls the rate by its part of the sum.
    parts = [math.exp(top / thermal_energy(300.0)) for top in (20.0, 23.0)]
    assert found.rate_control.tolist() == pytest.approx([part / sum(parts) for part in parts], rel=ROUNDING)
    assert found.dominant_saddle == 1


def test_the_mean_first_passage_time_of_a_birth_death_chain_is_the_inverse_rate():
    """Three minima behind A: 1/rate = sum over saddles of (resistance x weight before it), with A's own time."""
    energies, tops = [0.0, 3.0, 1.0, 2.0, -6.0], [15.0, 18.0, 14.0, 17.0]
    found = kinetics(chain(energies, tops))
    kt = thermal_energy(300.0)
    resistances = [math.exp(top / kt) for top in tops]
    q = [sum(resistances[:i]) / sum(resistances) for i in range(5)]
    time = sum(math.exp(-u / kt) * (1 - c) for u, c in zip(energies, q, strict=True))
    expected = kt / PLANCK_KJ_PS_PER_MOL / sum(resistances) / time
    assert found.rate_forward_per_s == pytest.approx(1e12 * expected, rel=ROUNDING)
    assert found.committor[[0, 2, 3, 4, 1]].tolist() == pytest.approx(q, rel=ROUNDING)


def test_detailed_balance_between_populations_and_rates():
    net = random_network(1)
    found = kinetics(net)
    for s, rates in zip(net.saddles, found.rates_per_s.tolist(), strict=True):
        i, j = s.ends
        there, back = found.populations[i] * rates[0], found.populations[j] * rates[1]
        assert float(there) == pytest.approx(float(back), rel=ROUNDING)
    assert float(found.populations.sum()) == pytest.approx(1.0, rel=ROUNDING)
    ratio = found.rate_forward_per_s / found.rate_backward_per_s
    committor, p = found.committor, found.populations
    assert ratio == pytest.approx(float((p * committor).sum() / (p * (1 - committor)).sum()), rel=ROUNDING)


@pytest.mark.parametrize("seed", range(8))
def test_committor_and_currents_are_those_of_a_linear_solve(seed):
    """Within 25 kJ/mol the matrix has a condition number up to 1e7, and the judge loses as many digits."""
    net = random_network(seed)
    found = kinetics(net)
    kt = thermal_energy(300.0)
    laplacian = torch.zeros(12, 12)
    conductances = [math.exp(-s.energy / kt) for s in net.saddles]
    for s, c in zip(net.saddles, conductances, strict=True):
        i, j = s.ends
        laplacian[i, i] -= c
        laplacian[j, j] -= c
        laplacian[i, j] += c
        laplacian[j, i] += c
    inner = [i for i in range(2, 12) if not math.isnan(float(found.committor[i]))]
    q = torch.zeros(12)
    q[1] = 1.0
    q[inner] = torch.linalg.solve(laplacian[inner][:, inner], -laplacian[inner, 1])
    assert found.committor[inner].tolist() == pytest.approx(q[inner].tolist(), rel=1e-8)
    currents = torch.tensor(
        [c * float(q[s.ends[1]] - q[s.ends[0]]) for s, c in zip(net.saddles, conductances, strict=True)]
    )
    currents[[k for k, s in enumerate(net.saddles) if math.isnan(float(found.committor[s.ends[0]]))]] = 0.0
    out = sum(
        float(f) * (1 if s.ends[0] == 0 else -1) for f, s in zip(currents, net.saddles, strict=True) if 0 in s.ends
    )
    assert found.flux.tolist() == pytest.approx((currents / out).tolist(), abs=1e-8)


@pytest.mark.parametrize("temperature_k", [5.0, 300.0])
@pytest.mark.parametrize("seed", range(4))
def test_current_is_conserved_and_degrees_of_rate_control_sum_to_one(seed, temperature_k):
    net = random_network(seed)
    found = kinetics(net, temperature_k)
    excess = torch.zeros(12)
    for s, f in zip(net.saddles, found.flux.tolist(), strict=True):
        excess[s.ends[0]] += f
        excess[s.ends[1]] -= f
    expected = torch.zeros(12)
    expected[0], expected[1] = 1.0, -1.0
    assert excess.tolist() == pytest.approx(expected.tolist(), abs=1e-14)
    assert float(found.rate_control.sum()) == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("temperature_k", [20.0, 300.0])
@pytest.mark.parametrize("seed", range(4))
def test_exchange_of_the_ends_turns_the_flux_around(seed, temperature_k):
    net = random_network(seed)
    there, back = kinetics(net, temperature_k), kinetics(net, temperature_k, start=1, end=0)
    assert there.log_rate_forward == pytest.approx(back.log_rate_backward, rel=ROUNDING)
    assert there.log_rate_backward == pytest.approx(back.log_rate_forward, rel=ROUNDING)
    assert there.flux.tolist() == pytest.approx((-back.flux).tolist(), abs=1e-14)
    assert there.rate_control.tolist() == pytest.approx(back.rate_control.tolist(), abs=1e-13)
    joined = ~there.committor.isnan()
    assert (there.committor + back.committor)[joined].tolist() == pytest.approx([1.0] * int(joined.sum()), rel=ROUNDING)


def test_rate_control_is_the_derivative_of_the_flux():
    """Central differences over 2e-4 kJ/mol leave 1e-7."""
    net = random_network(3)
    found = kinetics(net)
    kt = thermal_energy(300.0)
    populations = math.log(float(torch.exp(-found.free_energies_of_minima / kt).sum()))

    def log_flux(k, shift):
        changed = random_network(3)
        changed.saddles[k] = saddle(changed.saddles[k].ends, changed.saddles[k].energy + shift)
        other = kinetics(changed)
        time = float((other.populations * (1 - other.committor)).sum())
        return other.log_rate_forward + math.log(time) + populations

    for k in range(6):
        slope = (log_flux(k, -1e-4) - log_flux(k, 1e-4)) / (2e-4 / kt)
        assert float(found.rate_control[k]) == pytest.approx(slope, abs=1e-7)


def test_nothing_underflows_at_a_temperature_of_one_kelvin():
    """Rates of exp(-7000) are kept as logarithms, and a deep trap behind B does not spoil the rate out of A."""
    net = chain([0.0, 20.0, 10.0], [60.0, 45.0])
    net.minima.append(network([(9.0, -80.0)], []).minima[0])
    net.saddles.append(saddle((1, 3), 30.0))
    found = kinetics(net, 1.0)
    kt = thermal_energy(1.0)
    assert found.log_rate_forward == pytest.approx(math.log(kt / PLANCK_KJ_PS_PER_MOL) - 60.0 / kt, rel=ROUNDING)
    assert found.apparent_barrier == pytest.approx(60.0, rel=ROUNDING)
    assert found.log_rate_backward == pytest.approx(math.log(kt / PLANCK_KJ_PS_PER_MOL) - 140.0 / kt, rel=ROUNDING)
    assert found.flux.tolist() == [1.0, 1.0, 0.0]
    assert found.committor.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert found.rate_forward_per_s == 0.0
    assert found.populations.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_currents_between_states_in_fast_exchange_keep_their_digits():
    """Two minima exchange 1e24 times faster than the rest; their committors agree in all digits of a float."""
    found = kinetics(chain([0.0, 0.0, 0.0, 0.0], [140.0, 2.0, 140.0]))
    assert float(found.committor[2]) == float(found.committor[3]) == pytest.approx(0.5, rel=ROUNDING)
    assert found.flux.tolist() == pytest.approx([1.0, 1.0, 1.0], rel=ROUNDING)


def test_vibrations_make_the_saddle_with_the_higher_energy_carry_more():
    """At equal energies a saddle that is softer by a factor of two carries twice the current."""
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 1), 20.0), saddle((0, 1), 20.0)])
    stiff, soft = (Modes(torch.tensor([-100.0, w]), torch.zeros(2, 2), 0.0) for w in (200.0, 100.0))
    well = Modes(torch.tensor([50.0, 60.0]), torch.zeros(2, 2), 0.0)
    found = network_kinetics(net, 0, 1, [], [well, well], [stiff, soft], 300.0)
    assert found.flux.tolist() == pytest.approx([1 / 3, 2 / 3], rel=ROUNDING)
    assert found.other_share == 1.0
    assert found.softest_of_saddles.tolist() == [200.0, 100.0]
    assert found.softest_of_minima.tolist() == [50.0, 50.0]


def test_flux_is_divided_among_routes_by_the_highest_saddle_they_pass():
    """Two ways side by side share as their conductances do; a detour within the first counts to the first."""
    net = network(
        [(0.0, 0.0), (3.0, 0.0), (1.0, 1.0), (2.0, 1.0)],
        [saddle((0, 2), 10.0), saddle((2, 0), 12.0), saddle((2, 1), 26.0), saddle((0, 3), 13.0), saddle((3, 1), 28.0)],
    )
    found = kinetics(net)
    kt = thermal_energy(300.0)
    upper = 1 / (1 / (math.exp(-10 / kt) + math.exp(-12 / kt)) + math.exp(26 / kt))
    lower = 1 / (math.exp(13 / kt) + math.exp(28 / kt))
    shares = [route.share for route in found.routes]
    assert shares == pytest.approx([upper / (upper + lower), lower / (upper + lower)], rel=ROUNDING)
    assert found.other_share == pytest.approx(0.0, abs=1e-15)
    assert [route.limiting_saddle for route in found.routes] == [2, 4]
    assert [route.barrier_forward for route in found.routes] == pytest.approx([26.0, 28.0], rel=ROUNDING)
    assert found.dominant_saddle == 2


def test_shares_of_crossing_routes_and_of_the_rest_sum_to_one():
    for seed in range(6):
        net = random_network(seed)
        routes = ranked_routes(net, 0, 1)
        whole = kinetics(net, routes=routes)
        assert sum(r.share for r in whole.routes) + whole.other_share == pytest.approx(1.0, abs=1e-12)
        assert all(0 <= r.share <= 1 for r in whole.routes)
        first = kinetics(net, routes=routes[:1])
        assert first.routes[0] == whole.routes[0]
        assert first.other_share == pytest.approx(1 - first.routes[0].share, abs=1e-12)


def test_saddles_related_by_symmetry_count_to_one_route():
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 1), 25.0), saddle((1, 0), 25.0)])
    found = kinetics(net)
    assert [route.share for route in found.routes] == [1.0]
    assert found.flux.tolist() == pytest.approx([0.5, -0.5], rel=ROUNDING)
    assert found.rate_forward_per_s == pytest.approx(2e12 * eyring(25.0), rel=ROUNDING)


def test_ends_that_no_saddles_join():
    net = network([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0)], [saddle((0, 2), 5.0), saddle((3, 3), 5.0)])
    found = kinetics(net)
    assert found.rate_forward_per_s == 0.0
    assert found.dominant_saddle is None
    assert found.committor.tolist()[:3] == [0.0, 1.0, 0.0]
    assert math.isnan(float(found.committor[3]))
    assert found.routes == ()


def test_a_network_without_saddles():
    found = kinetics(network([(0.0, 0.0), (1.0, 0.0)], []))
    assert found.rate_forward_per_s == 0.0
    assert found.rates_per_s.shape == (0, 2)


def test_equal_ends_and_missing_modes_are_refused():
    net = network([(0.0, 0.0), (1.0, 0.0)], [saddle((0, 1), 5.0)])
    with pytest.raises(PathError, match="equivalent_atoms: keep"):
        kinetics(net, start=1, end=1, routes=[])
    with pytest.raises(ValueError, match="modes of 1 states"):
        network_kinetics(net, 0, 1, [], [NO_MODES], [NO_MODES], 300.0)


def test_kinetics_can_be_stored():
    found = kinetics(chain([0.0, 4.0, -3.0], [20.0, 23.0]))
    again = pickle.loads(pickle.dumps(found))
    assert again.routes == found.routes
    assert torch.equal(again.flux, found.flux)


def test_hundreds_of_states_take_seconds():
    """A grid of 16 x 16 minima, whose elimination creates many new edges."""
    side = 16
    places = [(i, j) for i in range(side) for j in range(side)]
    number = {place: k for k, place in enumerate(places)}
    generator = torch.Generator().manual_seed(1)
    edges = [
        (number[i, j], number[i + a, j + b]) for i, j in places for a, b in ((0, 1), (1, 0)) if (i + a, j + b) in number
    ]
    tops = (10 + 60 * torch.rand(len(edges), generator=generator)).tolist()
    net = network(
        [(float(k), 0.0) for k in range(len(places))], [saddle(e, t) for e, t in zip(edges, tops, strict=True)]
    )
    found = kinetics(net, start=0, end=side * side - 1, routes=[])
    assert float(found.rate_control.sum()) == pytest.approx(1.0, abs=1e-11)
