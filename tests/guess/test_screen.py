"""Screening: counted, redrawn, repaired, never fewer paths than asked for."""

import torch

from tpsctl.guess import Guess, all_of, energy_below, screened
from tpsctl.guess.base import straight_line


class Lottery(Guess):
    """Straight lines bent by one random number, 0 to 1, in the middle."""

    def draw_one(self, ends, images, generator, index):
        path = straight_line(ends, images)
        path[images // 2] += torch.rand(1, generator=generator, dtype=path.dtype)
        return path


ENDS = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])


def bend(paths):
    return paths[:, 2, 0, 1]


def too_bent(limit):
    return lambda paths: [f"bend {b:.2f} too large" if b > limit else "" for b in bend(paths).tolist()]


def generators(count):
    return [torch.Generator().manual_seed(k) for k in range(count)]


def test_good_guesses_are_drawn_once():
    paths, counts = screened(Lottery(), ENDS, 5, generators(4), faults_of=too_bent(2))
    assert paths.shape == (4, 5, 1, 2)
    assert (counts.requested, counts.drawn, counts.repaired, counts.failing) == (4, 4, 0, 0)
    assert counts.summary() == "4 guesses requested, 4 drawn, 0 rejected, 0 repaired, 0 kept though failing"


def test_bad_guesses_are_redrawn_until_good():
    paths, counts = screened(Lottery(), ENDS, 5, generators(20), faults_of=too_bent(0.5), max_draws=50)
    assert bool((bend(paths) <= 0.5).all())
    assert counts.failing == 0
    assert counts.drawn == 20 + counts.rejected["bend"]
    assert counts.rejected["bend"] > 0


def test_redraws_do_not_depend_on_other_paths():
    together, _ = screened(Lottery(), ENDS, 5, generators(20), faults_of=too_bent(0.3), max_draws=50)
    alone, _ = screened(Lottery(), ENDS, 5, generators(20)[7:8], faults_of=too_bent(0.3), max_draws=50, indices=[7])
    assert torch.equal(together[7], alone[0])


def test_hopeless_guesses_are_kept_and_marked():
    paths, counts = screened(Lottery(), ENDS, 5, generators(3), faults_of=too_bent(-1), max_draws=4)
    assert len(paths) == 3
    assert (counts.drawn, counts.failing) == (12, 3)
    assert all("too large" in fault for fault in counts.faults)
    assert counts.summary().endswith("12 rejected (bend x12), 0 repaired, 3 kept though failing")


def test_repair_comes_before_redrawing():
    def straightened(paths):
        paths = paths.clone()
        paths[:, 2, 0, 1] = 0
        return paths

    paths, counts = screened(Lottery(), ENDS, 5, generators(6), faults_of=too_bent(0.0), repair=straightened)
    assert (counts.drawn, counts.repaired, counts.failing) == (6, 6, 0)
    assert torch.equal(bend(paths), torch.zeros(6))


def test_first_of_several_checks_is_told():
    check = all_of(too_bent(0.5), lambda paths: ["other"] * len(paths))
    paths = Lottery().draw(ENDS, 5, generators(20))
    told = check(paths)
    assert {fault.split()[0] for fault in told} == {"bend", "other"}


def test_energy_check_names_the_image():
    def energies(frames):
        return 100 * frames[:, 0, 1]

    paths = straight_line(ENDS, 5).expand(2, -1, -1, -1).clone()
    paths[1, 3, 0, 1] = 0.7
    assert energy_below(energies, 50.0)(paths) == [
        "",
        "energy 70 kJ/mol above the start at image 3, expected at most 50",
    ]


def test_energy_that_is_not_a_number_is_a_fault():
    assert energy_below(lambda frames: frames[:, 0, 0] / 0, 50.0)(straight_line(ENDS, 5)[None])[0].startswith(
        "energy inf"
    )
