"""What the report says of a comparison follows from comparison.json alone."""

import json

import pytest

from tpsctl.errors import RecipeError
from tpsctl.workflows.report.comparison import FILE, comparison_of
from tpsctl.workflows.stored_run import StoredRun


def ensemble(name, value, low, high):
    measured = {"order_difference": {"value": value, "low": low, "high": high}}
    highest = {} if name == "simulation" else {"highest_above_start": {"raw": {"median_kj_per_mol": 5.0}}, "tops": {}}
    return {"name": name, "about": "", "paths": 4, "valid": 3, "measures": measured} | highest


def comparison(*, discriminates="both controls", like=True):
    rows = [("run", 0.1, 0.05, 0.15), ("straight line", 0.4, 0.3, 0.5), ("simulation", 0.08, 0.06, 0.12)]
    return {
        "ensembles": [ensemble(*row) for row in rows],
        "measures": {"order_difference": {"discriminates": discriminates, "run_like_simulation": like}},
        "simulation": {"frames": 1000, "transitions": 30, "microstates": 20},
        "settings": {"lag_frames": 4},
        "notes": ["4 paths are few"],
    }


def evidence(folder, found):
    (folder / "comparison").mkdir(exist_ok=True)
    (folder / FILE).write_text(found if isinstance(found, str) else json.dumps(found))
    return comparison_of(StoredRun(folder, {}))


@pytest.mark.parametrize(
    ("discriminates", "like", "speaks_for", "words"),
    [
        ("both controls", True, True, "1 measure of 1 can tell a control from the simulation; by 1 of these"),
        ("straight line", False, False, "by 0 of these the paths of this run cannot be told"),
        ("no", True, None, "No measure tells a control from the simulation"),
        ("both controls", None, None, "No measure tells a control from the simulation"),
    ],
)
def test_the_verdict_counts_only_measures_that_tell_a_control_apart(tmp_path, discriminates, like, speaks_for, words):
    found = evidence(tmp_path, comparison(discriminates=discriminates, like=like))
    assert found.speaks_for is speaks_for
    assert words in found.verdict


def test_the_band_of_a_chart_is_the_interval_of_the_simulation(tmp_path):
    (chart,) = evidence(tmp_path, comparison()).charts
    assert chart.band == (0.06, 0.12)
    assert [(row.kind, row.text) for row in chart.rows] == [
        ("own", "0.10 (0.05 to 0.15)"),
        ("control", "0.40 (0.30 to 0.50)"),
        ("reference", "0.08 (0.06 to 0.12)"),
    ]
    assert chart.least == 0
    assert chart.most > 0.5


def test_a_comparison_without_a_simulation_decides_nothing(tmp_path):
    found = comparison()
    del found["measures"], found["simulation"], found["settings"]
    part = evidence(tmp_path, found)
    assert (part.speaks_for, part.charts) == (None, [])
    assert part.tables[0].rows[0][-1] == "5.0"


def test_a_damaged_comparison_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"comparison\.json: damaged"):
        evidence(tmp_path, "{")


def test_without_a_comparison_there_is_no_section(tmp_path):
    assert comparison_of(StoredRun(tmp_path, {})) is None
