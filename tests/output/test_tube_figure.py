"""The figure of a tube: angles are followed over the edge, and the path is drawn in the turn of the axis."""

import numpy as np
import pytest

from tests.output.test_figures import text_of
from tpsctl.output.figures import TubeCourse, canvas, tube
from tpsctl.output.figures.tube import MOST_VARIABLES

LEVELS = np.linspace(0.2, 0.8, 7)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)


def wrapped(degrees):
    return (degrees + 180) % 360 - 180


def course(*, turns=(100.0, -30.0), start=150.0, angles=True):
    """Every variable goes from `start` by its turn, and so does the path; both are brought into half a turn."""
    progress = np.linspace(0, 1, 11)
    shown = wrapped if angles else np.array
    return TubeCourse(
        names=tuple(f"chi{k} VAL2" for k in range(len(turns))),
        angles=angles,
        levels=LEVELS,
        mean=shown(start + LEVELS[:, None] * np.array(turns)),
        deviation=np.full((7, len(turns)), 5.0),
        path_progress=progress,
        path=shown(start + progress[:, None] * np.array(turns)),
        distances={"the path": np.full(7, 0.3), "straight line": np.full(7, 1.2)},
        members=(0.4, 0.8, 1.5),
        accepted=503,
    )


@pytest.mark.parametrize("start", [150.0, -170.0, 0.0])
def test_a_path_on_the_axis_is_drawn_on_it(start):
    found = course(start=start)
    for variable in range(2):
        at_levels = np.interp(LEVELS, found.path_progress, found.along_path(variable))
        np.testing.assert_allclose(at_levels, found.axis(variable), atol=1e-9)
        assert np.abs(np.diff(found.axis(variable))).max() < 20, "no jump"


def test_only_the_variables_that_change_most_are_drawn():
    turns = tuple(float(k) for k in range(MOST_VARIABLES + 3))
    assert course(turns=turns).most_changed() == list(range(3, MOST_VARIABLES + 3))


@pytest.mark.parametrize(("turns", "angles", "unit"), [((100.0,), True, "degrees"), ((1.0, 2.0), False, "nm")])
def test_words_of_the_figure(tmp_path, turns, angles, unit):
    files = tube(tmp_path / "tube", course(turns=turns, angles=angles), title="run")
    assert {file.suffix for file in files} == {".png", ".svg", ".pdf"}
    text = text_of(tmp_path / "tube")
    assert "503 transition paths" in text
    assert f"chi0 VAL2  ({unit})" in text
    assert "straight line" in text
    assert ("with a single variable, distances say nothing" in text) == (len(turns) == 1)
