"""`tpsctl sample` killed at random moments, again and again: it goes on, and the result is that of an unbroken run."""

import random
import time

import pytest

from tpsctl.jobs.plan import read_plan


def killed_until_done(start, recipe, out, kills, longest_s, seed):
    """Start a run, kill it, start it again ...; the number of kills, fewer than `kills` if it was done before."""
    chance = random.Random(seed)
    for count in range(kills):
        running = start("sample", recipe, "--out", out, "--threads", 1, "--save-every", 0)
        code = running.kill_after(chance.uniform(0, longest_s))
        if code >= 0:
            assert code in (0, 3), running.text
            return count
    running = start("sample", recipe, "--out", out, "--threads", 1, "--save-every", 0)
    assert running.wait() in (0, 3), running.text
    return kills


def unbroken(start, recipe, out):
    """Seconds of a run that is left alone."""
    began = time.monotonic()
    assert start("sample", recipe, "--out", out, "--threads", 1).wait() in (0, 3)
    return time.monotonic() - began


def campaign(start, content, recipe, tmp_path, record_property, kills, each):
    """Runs, each killed up to `each` times, until so many kills are done; all results are compared."""
    unbroken(start, recipe, tmp_path / "whole")
    seconds = unbroken(start, recipe, tmp_path / "again")  # the first one fills the disk cache
    expected, done, runs = content(tmp_path / "whole"), 0, 0
    while done < kills:
        out = tmp_path / f"run_{runs}"
        done += killed_until_done(start, recipe, out, min(each, kills - done), seconds, seed=runs)
        runs += 1
        assert content(out) == expected
        assert read_plan(out) is None
    left = {"whole", "again", recipe.name, *(f"run_{k}" for k in range(runs))}
    assert {p.name for p in tmp_path.iterdir()} == left, "nothing lies beside the run directories"
    record_property("kills", done)
    record_property("runs", runs)
    record_property("seconds_unbroken", round(seconds, 1))


def test_killed_at_five_moments_it_gives_the_result_of_an_unbroken_run(
    start, content, recipe, tmp_path, record_property
):
    campaign(start, content, recipe, tmp_path, record_property, kills=5, each=5)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("each", [1, 8])
def test_killed_at_forty_moments_it_gives_the_result_of_an_unbroken_run(
    start, content, recipe, tmp_path, record_property, each
):
    campaign(start, content, recipe, tmp_path, record_property, kills=20, each=each)


@pytest.mark.slow
@pytest.mark.campaign
def test_a_peptide_killed_at_twenty_moments_gives_the_result_of_an_unbroken_run(
    start, content, peptide, tmp_path, record_property
):
    campaign(start, content, peptide, tmp_path, record_property, kills=20, each=4)
