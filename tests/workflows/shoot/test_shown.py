"""What shooting found is shown: in the report, and as the figure of the tube."""

import json

import numpy as np
import pytest

from tests.output.test_figures import text_of
from tpsctl.errors import RecipeError
from tpsctl.output.figures import canvas
from tpsctl.progress import Progress
from tpsctl.workflows.plot import plot_run
from tpsctl.workflows.report.run import report_run
from tpsctl.workflows.shoot.run import shoot
from tpsctl.workflows.stored_run import StoredRun
from tpsctl.workflows.tube import stored_tube


def page_of(run):
    report_run(run, out=None, density=None, overwrite=True)
    return (run / "report.html").read_text()


def replace_path(run):
    """Change the last bit of the last coordinate of the path."""
    path = run / "paths" / "path_0000.dcd"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def test_committors_are_a_section_and_in_the_verdict_until_the_path_is_replaced(run, wanted):
    shoot(wanted(run), Progress())
    page, found = page_of(run), json.loads((run / "shooting" / "manifest.json").read_text())
    assert page.count(found["verdict"].replace("'", "&#x27;")) == 2, "in the verdict of the run, and in the section"
    assert "No committor was computed" not in page
    for start in found["starts"]:
        words = f"{start['p_b']:.2f} ({start['p_b_low']:.2f} to {start['p_b_high']:.2f}), {start['shots']} shots"
        assert words in page
    assert 'data-path="0" data-image="14"' in page
    replace_path(run)
    page = page_of(run)
    assert "There are shots from earlier paths" in page
    assert "No committor was computed" in page
    assert '<section class="card evidence' not in page


def test_an_ensemble_is_a_section_a_figure_and_the_middle_on_the_map(run, few, tmp_path, monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)
    manifest = shoot(few(run), Progress())
    page = page_of(run)
    assert page.count(manifest["verdict"].replace("'", "&#x27;")) == 2
    assert f"{manifest['ensemble']['accepted']} transition paths were accepted" in page
    assert '"tube":{"x":[' in page
    done = plot_run(run, out=tmp_path / "figures", density=None, overwrite=False)
    assert "tube" in done["figures"]
    assert "progress from A to B" in text_of(tmp_path / "figures" / "tube")
    course, table = stored_tube(StoredRun.read(run)).course, StoredRun.read(run).table("ensemble/tube.csv")
    assert course.names == ("coordinate 1", "coordinate 2")
    assert (course.path_progress[0], course.path_progress[-1]) == (0.0, 1.0)
    np.testing.assert_array_equal(course.mean[:, 1], table.numbers("coordinate_2_mean_nm"))
    replace_path(run)
    assert stored_tube(StoredRun.read(run)) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"inputs": {}}'])
def test_a_damaged_manifest_of_shots_is_named(run, content):
    (run / "shooting").mkdir()
    (run / "shooting" / "manifest.json").write_text(content)
    with pytest.raises(RecipeError, match=r"shooting/manifest\.json: damaged"):
        page_of(run)
