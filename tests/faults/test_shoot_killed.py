"""`tpsctl shoot` killed with SIGKILL at random moments: it goes on, and its tables are those of an unbroken run."""

import random
import time
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "mueller_brown.yaml"
NEAR = "validation.states={A: [{kind: point, within_nm: 5}], B: [{kind: point, within_nm: 6}]}"
WORDS = ("--images", "14,18", "--least", "40", "--most", "60", "--threads", "1", "--set", NEAR)


def test_killed_at_four_moments_it_gives_the_tables_of_an_unbroken_run(start, tmp_path):
    run = tmp_path / "run"
    assert start("sample", RECIPE, "--set", "prior.temperature_k=240", "--out", run).wait() == 0
    began = time.monotonic()
    assert start("shoot", run, *WORDS, "--out", tmp_path / "whole").wait() in (0, 3)
    seconds, chance, kills = time.monotonic() - began, random.Random(1), 0
    for _ in range(4):
        running = start("shoot", run, *WORDS, "--out", tmp_path / "again")
        kills += running.kill_after(chance.uniform(0, seconds)) < 0
    assert start("shoot", run, *WORDS, "--out", tmp_path / "again").wait() in (0, 3)
    assert kills > 0
    for name in ("shots.csv", "committor.csv"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "whole" / name).read_text()
