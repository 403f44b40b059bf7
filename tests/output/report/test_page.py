"""The page as text: nothing of a user's file becomes markup, everything is inside, and it stays small."""

import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from tests.output.report.conftest import chain, make_report, moving_chain
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.output.report import Evidence, IntervalChart, IntervalRow, ReportTable, pack_frames, report_html
from tpsctl.output.report.frames import frames_kept
from tpsctl.output.report.intervals import intervals_html

EVIL = '</script><script>alert("x")</script>&{{data}}'


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def unpacked(frames):
    """The positions, angstrom, read in the way of the page's program."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(frames.text)), np.uint8).reshape(2, -1)
    whole = (planes[0].astype(np.int64) | planes[1].astype(np.int64) << 8).reshape(frames.n_paths, frames.n_frames, -1)
    signed = (whole.cumsum(1) + 2**15) % 2**16 - 2**15
    return signed.reshape(frames.n_paths, frames.n_frames, -1, 3) / frames.per_angstrom


def test_names_from_files_stay_text():
    atoms = tuple(Atom(EVIL, "C", EVIL, 1, "A", 12.0) for _ in range(2))
    frames = pack_frames(Topology(atoms, ((0, 1),)), moving_chain(1, 3, 2), beads=False)
    table = ReportTable(EVIL, (EVIL,), ((EVIL,),), EVIL, path_column=0)
    page = report_html(replace(make_report(name=EVIL), frames=frames, facts=[(EVIL, EVIL)], tables=[table]))
    assert "<script>alert" not in page
    assert page.count("<script") == 3, "data, viewer and programs"
    assert data_of(page)["frames"]["atoms"][0] == ["C", EVIL, f"{EVIL}1"]


def test_text_of_sections_and_words_stays_text():
    row = IntervalRow(EVIL, 0.5, 0.4, 0.6, EVIL, image=1)
    part = Evidence(EVIL, EVIL, None, [EVIL], [IntervalChart(EVIL, [row], 0.0, 1.0, note=EVIL)])
    page = report_html(replace(make_report(), evidence=[part], words=[(EVIL, EVIL)]))
    assert "<script>alert" not in page


def test_the_verdict_of_a_section_comes_before_its_chart():
    page = report_html(make_report())
    order = [
        page.index(text) for text in ("Committor: a test", "Half of the shots", "A sentence.", "Chance to reach B")
    ]
    assert order == sorted(order)


def test_an_unknown_number_has_no_dot():
    known, unknown = IntervalRow("a", 2.0, 1.0, 3.0, ""), IntervalRow("b", np.nan, np.nan, np.nan, "")
    chart = IntervalChart("", [known, unknown], 0.0, 4.0)
    page = intervals_html(chart)
    assert page.count('class="dot"') == page.count('class="bar"') == 1
    assert 'cx="50.0%"' in page
    assert 'x1="25.0%" x2="75.0%"' in page


def test_a_number_beyond_the_axis_stays_at_its_end():
    page = intervals_html(IntervalChart("", [IntervalRow("a", 9.0, 9.0, 9.0, "")], 0.0, 4.0))
    assert 'cx="100.0%"' in page
    assert 'class="bar"' not in page, "the interval is empty"


def test_nothing_is_loaded_from_elsewhere():
    page = report_html(make_report())
    assert not re.search(r"<(script|img|link|iframe)[^>]*\s(src|href)=", page)
    assert "default-src 'none'" in page
    assert "3Dmol.js incorporates code from" in page, "the licence of the viewer is in the page"


def test_the_verdict_comes_first():
    page = report_html(make_report())
    order = [
        page.index(text)
        for text in ("not valid", "1 of 3 paths fails.", "a reason", "a doubt", "a remedy", "Structure")
    ]
    assert order == sorted(order)


def test_unknown_numbers_are_null():
    report = make_report()
    report.curves[0].energies["raw"][3] = np.nan
    assert data_of(report_html(report))["curves"][0]["energies"]["raw"][3] is None


def test_a_model_system_has_a_page_without_the_viewer():
    page = report_html(make_report(frames=False, plane=True))
    assert "createViewer(e" not in page, "the viewer is left out"
    assert len(page) < 100_000


def test_packed_structures_are_the_given_ones_within_the_rounding():
    x = moving_chain(2, 9, 7)
    frames = pack_frames(chain(7), x, beads=True)
    assert frames.bonds == chain(7).bonds
    centered = x - x.mean(2, keepdims=True)
    assert np.abs(unpacked(frames) - centered).max() <= 0.5 / frames.per_angstrom + 1e-12  # rounded to integers


def test_a_huge_molecule_is_packed_more_coarsely():
    x = 1e3 * moving_chain(1, 3, 4)
    frames = pack_frames(chain(4), x, beads=True)
    assert frames.per_angstrom < 100
    centered = x - x.mean(2, keepdims=True)
    assert np.abs(unpacked(frames) - centered).max() <= 0.5 / frames.per_angstrom * (1 + 1e-9)


def test_images_are_thinned_where_they_do_not_fit():
    x = moving_chain(2, 40, 50)
    whole = len(pack_frames(chain(50), x, beads=True).text)
    frames = pack_frames(chain(50), x, beads=True, budget=whole // 3)
    assert frames.stride > 1
    assert len(frames.text) <= whole // 3
    kept = frames_kept(40, frames.stride)
    assert kept[-1] == 39
    centered = x - x.mean(2, keepdims=True)
    assert np.abs(unpacked(frames) - centered[:, kept]).max() <= 0.5 / frames.per_angstrom + 1e-12


@pytest.mark.parametrize("n_atoms", [304, 1500])
def test_sixteen_paths_of_a_hundred_images_stay_below_5_mb(n_atoms):
    """Trp-cage with all its hydrogens, and a protein five times as large."""
    page = report_html(make_report(16, 100, n_atoms))
    assert len(page.encode()) <= 5_000_000
