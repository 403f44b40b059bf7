"""Figures of routes: what they say, what they leave out, and that their numbers can be read."""

import itertools
import math

import numpy as np
import pytest
import torch

from tests.output.test_figures import assert_written, text_of
from tpsctl.output.figures import RouteMarks, RouteProfile, RouteTorsions, arc_length, canvas, disconnectivity, torsions
from tpsctl.output.figures.canvas import series_style
from tpsctl.output.figures.disconnectivity import drawn_minima
from tpsctl.output.figures.labels import Label, place_labels
from tpsctl.output.figures.merge_tree import arrange, merge_tree
from tpsctl.output.figures.torsions import wrapped_line


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)


def profile(name, stops):
    """A profile with straight lines between (arc length, energy) of minima and saddles, which alternate."""
    x, y = (torch.tensor(values) for values in zip(*stops, strict=True))
    return RouteProfile(name, x, y, tuple(range(0, len(stops), 2)), tuple(range(1, len(stops), 2)))


FIRST = profile("route 1: 36.4 kJ/mol, found 12 times", [(0.0, 0.0), (0.5, 36.4), (0.8, 2.0), (1.1, 9.1), (1.5, -3.0)])
SECOND = profile("route 2: 42.2 kJ/mol, found once", [(0.0, 0.0), (0.5, 42.2), (0.8, 2.0), (1.1, 9.1), (1.5, -3.0)])


def test_arc_length_names_routes_and_writes_the_energies_of_saddles(tmp_path):
    files = arc_length(tmp_path / "arc", [FIRST, SECOND], title="alanine dipeptide")
    assert_written(files, tmp_path / "arc")
    text = text_of(tmp_path / "arc")
    for word in (FIRST.name, SECOND.name, "36.4", "42.2", "minimum", "saddle", "arc length (√amu nm)"):
        assert f"<!-- {word} -->" in text
    assert text.count("<!-- 9.1 -->") == 1, "a saddle that two routes share has one number"


def test_arc_length_of_a_route_with_an_unknown_energy(tmp_path):
    broken = RouteProfile("route 1", torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, math.nan, 1.0]), (0, 2), (1,))
    assert_written(arc_length(tmp_path / "arc", [broken], title="unknown"), tmp_path / "arc")


def test_numbers_in_one_place_do_not_cover_one_another():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [Label(f"{30 + k}.{k}", 0.5 + 0.01 * k, 0.5, "black") for k in range(8)]
    place_labels(figure, axes, labels, lines=[(np.linspace(0, 1, 50), np.full(50, 0.5))])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the thin lines to the points
    assert [text.get_text() for text in axes.texts] == [label.text for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    middle = axes.transData.transform((0.5, 0.5))[1]
    assert all(box.y0 > middle or box.y1 < middle for box in boxes), "no number lies on the line"
    whole = axes.get_window_extent()
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)


def test_sixteen_lines_can_be_told_apart():
    styles = [str(series_style(number)) for number in range(16)]
    assert len(set(styles)) == 16


def test_torsions_have_a_row_per_route_and_a_line_per_angle(tmp_path):
    x = torch.linspace(0, 1.5, 30)
    angles = {"phi ALA2": torch.sin(x), "ring PRO3 phase, Q 0.034 to 0.038 nm": torch.where(x < 0.3, math.nan, x)}
    routes = [RouteTorsions(f"route {k}: 36.4 kJ/mol", x, angles, (0, 29), (12,)) for k in (1, 2)]
    assert_written(torsions(tmp_path / "torsions", routes, title="peptide"), tmp_path / "torsions")
    text = text_of(tmp_path / "torsions")
    for word in (*angles, "minimum", "saddle", "route 1: 36.4 kJ/mol", "route 2: 36.4 kJ/mol"):
        assert f"<!-- {word} -->" in text


def test_torsions_without_any_angle(tmp_path):
    route = RouteTorsions("route 1", torch.linspace(0, 1, 3), {})
    assert_written(torsions(tmp_path / "torsions", [route], title="water"), tmp_path / "torsions")


def test_a_torsion_over_the_edge_goes_on_at_the_other_side():
    x, y = wrapped_line(np.array([0.0, 1.0, 2.0]), np.array([170.0, -170.0, -160.0]))
    np.testing.assert_allclose(x, [0, 1, np.nan, 0, 1, 2])
    np.testing.assert_allclose(y, [170, 190, np.nan, -190, -170, -160])


def test_no_piece_of_a_torsion_s_line_is_steeper_than_the_torsion():
    """A random walk with steps of 50 degrees crosses the edge often, but no drawn step is longer than these."""
    steps = np.random.default_rng(0).uniform(-50, 50, 500).cumsum()
    _, y = wrapped_line(np.arange(500.0), (steps + 180) % 360 - 180)
    drawn = np.abs(np.diff(y))
    assert np.nanmax(drawn) <= 50 + 1e-9
    assert np.isnan(drawn).any()


def test_an_undefined_phase_leaves_a_gap():
    _, y = wrapped_line(np.arange(4.0), np.array([10.0, np.nan, np.nan, 20.0]))
    np.testing.assert_array_equal(y, [10.0, np.nan, np.nan, 20.0])


def random_network(seed, minima=9, saddles=16):
    generator = np.random.default_rng(seed)
    energies = generator.uniform(0, 10, minima).tolist()
    ends = generator.integers(minima, size=(saddles, 2)).tolist()
    return energies, [(i, j, float(e)) for (i, j), e in zip(ends, generator.uniform(10, 40, saddles), strict=True)]


def minimax(minima, saddles):
    """Lowest highest saddle between all pairs of minima, by relaxation until nothing changes."""
    barrier = np.full((minima, minima), np.inf)
    np.fill_diagonal(barrier, -np.inf)
    for i, j, energy in saddles:
        barrier[i, j] = barrier[j, i] = min(barrier[i, j], energy)
    for k in range(minima):
        barrier = np.minimum(barrier, np.maximum(barrier[:, k : k + 1], barrier[k : k + 1]))
    return barrier


@pytest.mark.parametrize("seed", range(5))
def test_kept_minima_join_at_the_lowest_possible_energy(seed):
    energies, saddles = random_network(seed)
    barrier = minimax(len(energies), saddles)
    leaves, roots = merge_tree(energies, saddles, [0, 2, 3, 7])
    for i, j in itertools.combinations(leaves, 2):
        together = [
            branch.energy for root in roots for branch in root.all() if {leaves[i], leaves[j]} <= set(branch.all())
        ]
        assert min(together, default=math.inf) == barrier[i, j]


def test_leaves_have_places_of_their_own_with_a_left_and_b_right_of_it():
    energies, saddles = random_network(0)
    leaves, roots = merge_tree(energies, saddles, range(9))
    arrange(roots, leaves[4], leaves[5])
    assert sorted(leaf.x for leaf in leaves.values()) == list(range(9))
    assert leaves[4].x == 0
    for root in roots:
        for branch in root.all():
            inside = [b.x for b in branch.all() if b.minimum is not None]
            assert max(inside) - min(inside) == len(inside) - 1, "a basin is in one piece"


def test_saddles_of_equal_energy_join_at_one_point():
    leaves, (root,) = merge_tree([0.0, 1.0, 2.0], [(0, 1, 5.0), (1, 2, 5.0)], range(3))
    assert root.parts == [leaves[0], leaves[1], leaves[2]]
    assert leaves[2].at(4.9) is leaves[2]
    assert leaves[2].at(5.0) is root


def test_a_large_network_is_cut_to_what_matters_and_says_so(tmp_path):
    energies, saddles = random_network(1, minima=200, saddles=500)
    order = np.argsort(energies)
    high = order[-3:].tolist()
    route = RouteMarks("route 1: 33.0 kJ/mol", (high[0], high[1], high[2]), (0, 1))
    saddles[0], saddles[1] = (high[0], high[1], 33.0), (high[1], high[2], 12.0)
    drawn = drawn_minima(energies, high[0], high[2], [route], 40)
    assert drawn == sorted([*order[:40].tolist(), *high])
    files = disconnectivity(tmp_path / "tree", energies, saddles, high[0], high[2], [route], title="large")
    assert_written(files, tmp_path / "tree")
    text = text_of(tmp_path / "tree")
    for word in ("43 of 200 minima: the lowest 40, A, B and those on the routes", "33.0", "12.0", route.name, "A", "B"):
        assert word in text


def test_a_small_network_is_drawn_whole(tmp_path):
    saddles = [(0, 1, 13.7), (1, 2, 18.4), (0, 2, 10.5)]
    routes = [RouteMarks("first", (0, 1), (0,)), RouteMarks("second", (0, 2, 1), (2, 1))]
    disconnectivity(tmp_path / "tree", [0.0, 3.3, 5.1, 9.0], saddles, 0, 1, routes, title="butane")
    text = text_of(tmp_path / "tree")
    assert "<!-- 4 minima; 2 parts that no known saddle joins -->" in text
    assert all(f"<!-- {number} -->" in text for number in ("13.7", "18.4"))
    assert "<!-- 10.5 -->" not in text, "of an alternative only the highest saddle has a number"


def test_two_saddles_at_one_point_have_one_number(tmp_path):
    """Gauche+ to gauche- of butane by way of anti: both saddles have the same energy."""
    saddles, route = [(0, 2, 10.47), (2, 1, 10.47)], RouteMarks("first", (0, 2, 1), (0, 1))
    disconnectivity(tmp_path / "tree", [0.0, 0.0, -3.3], saddles, 0, 1, [route], title="butane")
    assert text_of(tmp_path / "tree").count("<!-- 10.5 -->") == 1


def test_ends_without_any_saddle(tmp_path):
    assert_written(disconnectivity(tmp_path / "tree", [0.0, 1.0], [], 0, 1, title="apart"), tmp_path / "tree")


def test_equal_figures_of_routes_are_equal_files(tmp_path):
    for name in ("a", "b"):
        arc_length(tmp_path / name / "arc", [FIRST, SECOND], title="alanine")
    assert (tmp_path / "a" / "arc.svg").read_bytes() == (tmp_path / "b" / "arc.svg").read_bytes()
