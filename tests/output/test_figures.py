"""What can be told of figures without eyes: they are written, complete, twice the same, and nothing is cut."""

import numpy as np
import pytest
import torch

from tpsctl.output.figures import Background, action_history, canvas, contour, energy_profile, ramachandran
from tpsctl.output.figures.canvas import ceiling_of
from tpsctl.output.figures.ramachandran import unwrapped_pieces
from tpsctl.prior.potentials import mueller_brown


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)


def text_of(stem):
    """All words of the vector figure, one per line (matplotlib keeps them as comments beside the outlines)."""
    return stem.with_suffix(".svg").read_text(encoding="utf-8")


def profile(tops):
    return torch.sin(torch.linspace(0, np.pi, 21)) * torch.tensor(tops).unsqueeze(1)


def assert_written(files, stem):
    assert [file.name for file in files] == [f"{stem.name}.{kind}" for kind in ("png", "svg", "pdf")]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert text_of(stem).rstrip().endswith("</svg>")
    assert sorted(files) == sorted(stem.parent.iterdir())


def test_energy_profile_of_raw_and_minimized_energies(tmp_path):
    kinds = {"raw": profile([40.0, 42.0]), "minimized": profile([36.0, 36.5])}
    assert_written(energy_profile(tmp_path / "energy", kinds, title="alanine"), tmp_path / "energy")
    assert "highest: median 41.0, worst 42.0 kJ/mol" in text_of(tmp_path / "energy")
    assert "highest: median 36.2, worst 36.5 kJ/mol" in text_of(tmp_path / "energy")


def test_a_broken_path_does_not_rule_the_axis_but_is_counted(tmp_path):
    energy = profile([40.0, 42.0, 1e8, 41.0])
    energy[3, 5] = torch.nan
    energy_profile(tmp_path / "energy", {"raw": energy}, title="alanine")
    assert "1 path beyond this axis" in text_of(tmp_path / "energy")
    assert "1 path with images without an energy" in text_of(tmp_path / "energy")
    assert ceiling_of(energy.numpy()) < 43


def test_each_channel_has_its_own_median_and_no_median_mixes_channels(tmp_path):
    kinds = {"raw": profile([40.0, 42.0, 90.0, 41.0])}
    energy_profile(tmp_path / "energy", kinds, title="alanine", groups=[0, 0, 1, 0])
    text = text_of(tmp_path / "energy")
    assert "channel 0 (3 paths): median 41.0, worst 42.0 kJ/mol" in text
    assert "channel 1: 90.0 kJ/mol" in text
    assert "highest: median" not in text
    assert all(canvas.SERIES[group].lower() in text for group in (0, 1))


def test_an_invalid_path_is_dashed_and_counts_in_no_median(tmp_path):
    kinds = {"raw": profile([40.0, 42.0, 70.0])}
    energy_profile(tmp_path / "whole", kinds, title="alanine")
    energy_profile(tmp_path / "energy", kinds, title="alanine", valid=[True, True, False])
    text = text_of(tmp_path / "energy")
    assert "highest: median 41.0, worst 42.0 kJ/mol" in text
    assert "1 path not valid (dashed)" in text
    assert text.count("stroke-dasharray") == text_of(tmp_path / "whole").count("stroke-dasharray") + 1


def test_free_energies_of_frames_follow_from_their_counts():
    """Nine frames in one cell and three in another: the free energies differ by kT ln 3."""
    phi = np.array([-61.0] * 9 + [61.0] * 3)
    background = Background.of_frames(phi, 0 * phi + 1.0, kT=2.5, cells=60)
    known = background.values[np.isfinite(background.values)]
    np.testing.assert_allclose(sorted(known), [0.0, 2.5 * np.log(3)], rtol=1e-14)
    assert background.values[19, 30] == 0.0  # the cell from -66 to -60 in phi, and from 0 to 6 in psi


def test_paths_of_a_ramachandran_plot_have_the_colors_of_their_channels(tmp_path):
    angle = torch.linspace(-3, 3, 21).repeat(3, 1)
    ramachandran(tmp_path / "rama", angle, angle, title="ALA2", groups=[0, 1, 1], valid=[True, True, False])
    text = text_of(tmp_path / "rama")
    assert all(canvas.SERIES[group].lower() in text for group in (0, 1))
    assert "stroke-dasharray: 20" in text, "the dashes of the invalid path, 4 line widths of 5 points"


def test_the_style_is_one_that_matplotlib_takes():
    import matplotlib.style

    with matplotlib.style.context(canvas.STYLE):
        assert matplotlib.rcParams["pdf.fonttype"] == 42
        colors = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [f"#{color.lstrip('#')}".lower() for color in colors] == [color.lower() for color in canvas.SERIES]


@pytest.mark.parametrize("value", [0.0, torch.nan, -3.0])
def test_energies_without_any_top_are_drawn_too(value, tmp_path):
    energy = torch.full((2, 5), value)
    energy_profile(tmp_path / "energy", {"raw": energy}, title="flat")
    ramachandran(tmp_path / "rama", energy * 0, energy * 0, title="flat", above_start=energy)


def test_action_history_marks_stages(tmp_path):
    down = torch.logspace(4, 2, 30).unsqueeze(1) * torch.tensor([1.0, 1.2])
    terms = {"total": 2 * down, "kinetic": down, "drift": down}
    files = action_history(tmp_path / "action", range(30), terms, title="run", stages=[(0, "repair"), (10, "converge")])
    assert_written(files, tmp_path / "action")
    assert all(word in text_of(tmp_path / "action") for word in ("repair", "converge", "kinetic", "drift"))


@pytest.mark.parametrize("shift", [0.0, -1e5, 1.0])
def test_action_history_of_any_sign(shift, tmp_path):
    total = torch.linspace(3, 1, 5).unsqueeze(1)
    total[0] = torch.nan
    terms = {"total": total + shift, "kinetic": total, "divergence": total * 0 + shift}
    assert_written(action_history(tmp_path / "action", range(5), terms, title="run"), tmp_path / "action")


def test_ramachandran_with_background_and_energy(tmp_path):
    angle = torch.linspace(-3, 3, 21).repeat(2, 1)
    edges = np.linspace(-180, 180, 13)
    background = Background(edges, edges, np.where(np.eye(12) > 0, np.nan, 5.0))
    files = ramachandran(
        tmp_path / "rama", angle, angle, title="ALA2", above_start=profile([40.0, 41.0]), background=background
    )
    assert_written(files, tmp_path / "rama")
    assert "free energy (kJ/mol)" in text_of(tmp_path / "rama")


def test_a_path_over_the_periodic_edge_is_drawn_on_both_sides():
    x, y = unwrapped_pieces(np.array([170.0, -170.0, -160.0]), np.array([0.0, 0.0, 0.0]))
    np.testing.assert_allclose(x, [170, 190, np.nan, -190, -170, -160])
    np.testing.assert_allclose(y, [0, 0, np.nan, 0, 0, 0])


def test_a_path_inside_the_square_is_one_line():
    x, _ = unwrapped_pieces(np.array([-10.0, 0.0, 100.0]), np.array([0.0, 5.0, 10.0]))
    np.testing.assert_array_equal(x, [-10.0, 0.0, 100.0])


def test_contours_of_a_plane_model(tmp_path):
    line = torch.linspace(0, 1, 10).unsqueeze(1)
    path = torch.tensor([23.0, 31.0]) + line * torch.tensor([19.0, -23.0])
    files = contour(tmp_path / "contour", path.reshape(1, 10, 1, 2), mueller_brown, title="Müller–Brown")
    assert_written(files, tmp_path / "contour")


def test_equal_figures_are_equal_files(tmp_path):
    for name in ("a", "b"):
        energy_profile(tmp_path / name / "energy", {"raw": profile([40.0])}, title="alanine")
    for kind in ("png", "svg", "pdf"):
        first, second = ((tmp_path / name / f"energy.{kind}").read_bytes() for name in ("a", "b"))
        assert first == second
