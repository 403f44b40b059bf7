"""The page in headless Chromium, opened from a file with the network off."""

from dataclasses import replace

import numpy as np
import pytest

from tests.output.report.conftest import chain, make_report, moving_chain
from tpsctl.output.report import Shading, TubeAxis, pack_frames


def click_energy(opened, path, image):
    """Click the point of an image in the plot of energies."""
    place = opened.page.evaluate(
        """([path, image]) => {
          const line = document.querySelector(`#energy path.series[data-path="${path}"]`);
          const points = line.getAttribute("d").slice(1).split(/[ML]/).map((pair) => pair.split(",").map(Number));
          const svg = document.querySelector("#energy svg"), box = svg.getBoundingClientRect();
          const scale = box.width / svg.viewBox.baseVal.width;
          return [box.left + points[image][0] * scale, box.top + points[image][1] * scale];
        }""",
        [path, image],
    )
    opened.page.mouse.click(*place)


def test_no_complaints_and_no_requests(opened):
    page = opened(make_report())
    assert page.complaints == []
    assert len(page.requests) == 1
    assert page.requests[0].startswith("file:")


def test_the_highest_image_is_shown_first(opened):
    page = opened(make_report())
    assert page.selected().startswith("path 0, image 5 of 10; raw 30.00 kJ/mol")
    assert page.frame()[:2] == [0, 5]


def test_a_click_on_the_energy_plot_shows_that_image(opened):
    page = opened(make_report())
    x = moving_chain(3, 11, 6)
    for path, image in ((2, 7), (1, 3)):
        click_energy(page, path, image)
        found_path, frame, position = page.frame()
        assert (found_path, frame) == (path, image)
        centered = x[path, image, 0] - x[path, image].mean(0)
        assert position == pytest.approx(centered, abs=0.006)  # packed to a hundredth of an angstrom
    assert page.complaints == []


def test_bonds_are_those_of_the_topology(opened):
    """The chain zigzags so that a viewer that guessed bonds from distances would find others."""
    page = opened(make_report())
    bonds = page.page.evaluate("window.tpsctlViewer.model.selectedAtoms({}).map((atom) => Array.from(atom.bonds))")
    assert bonds == [[1], [0, 2], [1, 3], [2, 4], [3, 5], [4]]


def test_keys_choose_image_and_path(opened):
    page = opened(make_report())
    page.page.focus("#energy")
    for key, where in (
        ("ArrowRight", "path 0, image 6"),
        ("ArrowLeft", "path 0, image 5"),
        ("ArrowDown", "path 1, image 5"),
        ("ArrowUp", "path 0, image 5"),
        ("End", "path 0, image 10"),
        ("ArrowRight", "path 0, image 10"),
        ("Home", "path 0, image 0 "),
    ):
        page.page.keyboard.press(key)
        assert page.selected().startswith(where), key
    assert page.frame()[:2] == [0, 0]


def test_everything_can_be_reached_by_the_tab_key(opened):
    page = opened(make_report())
    reached = set()
    for _ in range(20):
        page.page.keyboard.press("Tab")
        reached.add(page.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"path", "play", "image", "kind", "energy"} <= reached


def test_slider_list_and_table_choose(opened):
    page = opened(make_report())
    page.page.fill("#image", "2")
    assert page.selected().startswith("path 0, image 2")
    page.page.select_option("#path", "2")
    assert page.frame()[:2] == [2, 2]
    page.page.click('button.path[data-path="1"]')
    assert page.selected().startswith("path 1, image 5")
    page.page.select_option("#kind", "minimized")
    assert page.complaints == []


def test_an_image_beside_its_committor_is_a_button_that_shows_it(opened):
    page = opened(make_report())
    page.page.click("text=image 7, the top of the path")
    assert page.selected().startswith("path 2, image 7")
    assert page.frame()[:2] == [2, 7]
    assert page.complaints == []


def test_bars_lie_where_their_numbers_are(opened):
    """The axis from 0 to 1 is as wide as the chart, so a value is a fraction of its width."""
    page = opened(make_report(), width=400)
    measured = page.page.evaluate(
        """() => {
          const box = (name) => document.querySelector(`.interval ${name}`).getBoundingClientRect();
          const all = box("svg");
          return ["bar", "dot", "band"].map((name) => box(`.${name}`)).map(({ left, right }) =>
            [left, right, (left + right) / 2].map((x) => (x - all.left) / all.width));
        }"""
    )
    (low, high, _), (_, _, middle), (first, last, _) = measured
    assert [low, high, middle, first, last] == pytest.approx([0.4, 0.6, 0.5, 0.3, 0.7], abs=0.012)  # a line has width


def test_a_free_energy_and_a_tube_lie_behind_the_paths(opened):
    grid = np.linspace(-177, 177, 60)
    free_energy = np.where(np.abs(grid) < 90, np.abs(grid) / 10, np.nan) + np.zeros((60, 1))
    axis = np.linspace(-60, 40, 5)
    panel = replace(
        make_report().panels[0],
        shading=Shading("free energy of md.dcd", grid, grid, free_energy),
        tube=TubeAxis(axis, -axis, np.full(5, 10.0), np.full(5, 20.0)),
    )
    page = opened(replace(make_report(), panels=[panel]))
    legend = " ".join(page.page.inner_text("#plot-0 + .legend").split())
    assert legend.startswith("free energy of md.dcd (kJ/mol) from 0 1 2 3 4 5 6 7 8 Dotted: mean of the ensemble")
    assert page.page.evaluate("document.querySelectorAll('#plot-0 ellipse.tube').length") == 5
    shades = page.page.evaluate("document.querySelectorAll('#plot-0 path[fill=\"var(--shade)\"]').length")
    assert shades == 9, "one for every kJ/mol"
    assert page.complaints == []


def test_play_runs_to_the_last_image_and_stops(opened):
    page = opened(make_report())
    page.page.click("#play")
    page.wait_for("image.value === '10' && play.textContent === 'Play'")
    assert page.frame()[:2] == [0, 10]


def test_thinned_images_show_the_nearest_frame(opened):
    frames = pack_frames(chain(6), moving_chain(3, 11, 6), beads=False, budget=400)
    page = opened(replace(make_report(), frames=frames))
    page.page.fill("#image", "10")
    assert page.frame()[1] == frames.n_frames - 1
    page.page.fill("#image", "0")
    assert page.frame()[1] == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["molecule", "beads", "plane"])
def test_nothing_is_wider_than_a_telephone(opened, kind, scheme):
    report = make_report(beads=kind == "beads", plane=kind == "plane", frames=kind != "plane", groups=[0, 1, 2])
    page = opened(report, width=400, scheme=scheme)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.complaints == []


def test_invalid_paths_are_dashed_and_named(opened):
    page = opened(make_report())
    dashes = page.page.evaluate(
        "[...document.querySelectorAll('#energy path.series')].map((line) => [line.dataset.path,"
        " getComputedStyle(line).strokeDasharray])"
    )
    assert {path for path, dash in dashes if dash != "none"} == {"1"}
    assert "not valid" in page.page.text_content("#path option:nth-child(2)")


def test_a_page_without_paths_shows_its_verdict(opened):
    page = opened(replace(make_report(frames=False), curves=[], panels=[], action=None, tables=[]))
    assert page.complaints == []
    assert page.page.is_visible("text=1 of 3 paths fails.")
    assert page.page.is_hidden("#bench")
