"""The script for a GPU runs on the CPU from end to end at a small size, and a part that fails does not end it."""

import time

import pytest

from benchmarks.gpu_check import Check, Sizes, compared, run
from benchmarks.gpu_wheels import needed

SMALL = Sizes(device="cpu", beads=(10,), paths=1, images=8, recipes=())


def test_parts_are_done_and_told():
    check = run(SMALL, minutes=30.0, with_tests=False)
    names = ["doctor", "peak", "step of 10 beads", "chunks of 10 beads", "CUDA graph of 10 beads, 8 images"]
    assert [name for name, _, _ in check.rows] == names
    assert "8 images at a time" in check.rows[-1][1]
    assert "no CUDA graph: " in check.rows[-1][1], "there is none on a CPU, and the row says so"
    assert not [sentence for _, sentence, _ in check.rows if sentence.startswith(("FAILED", "not run"))]
    assert check.results["step of 10 beads"]["differs_from_cpu"] == 0  # it is the CPU
    assert set(check.results["chunks of 10 beads"]["seconds"]) == {7}


@pytest.mark.slow  # two whole commands
def test_a_recipe_is_sampled_on_both_devices_and_compared():
    few = ("path.paths=1", "path.images=10", "optimize.max_steps=3")
    check = run(Sizes("cpu", (), 1, 8, ("mueller_brown.yaml",), few), minutes=30.0, with_tests=False)
    assert check.results["mueller_brown.yaml"]["differ"] == {"action": 0, "barrier_kj_per_mol": 0}


def test_a_part_that_fails_is_told_and_the_next_is_done():
    check = Check(time.monotonic() + 1000)
    check.part("first", lambda left: 1 / 0)
    check.part("second", lambda left: (left > 900, "done"))
    assert [row[1] for row in check.rows] == ["FAILED: division by zero", "done"]
    assert check.results == {"first": {"error": "division by zero"}, "second": True}


def test_no_part_begins_when_the_time_is_over():
    check = Check(time.monotonic() - 1)
    check.part("late", lambda left: pytest.fail("was begun"))
    assert check.rows == [("late", "not run: no time left", 0.0)]


def test_actions_are_compared_relatively_and_barriers_in_their_unit():
    def path(action, barrier):
        return {"action": {"total": action}, "raw": {"barrier_forward_kj_per_mol": barrier}}

    apart = compared([path(10.0, 30.0), path(20.0, 40.0)], [path(10.1, 30.0), path(20.0, 39.5)])
    assert apart == {"action": pytest.approx(0.01), "barrier_kj_per_mol": pytest.approx(0.5)}


def test_the_list_of_wheels_names_what_is_imported_and_not_torch():
    found = needed()
    assert {"numpy", "openmm", "mdtraj", "pytest", "safetensors", "typer"} <= set(found)
    assert not {"torch", "sympy", "tpsctl"} & set(found)
