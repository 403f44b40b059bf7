"""Caps stand where ideal geometry puts them."""

import gemmi
import numpy as np
import pytest

from tpsctl.workflows.prepare.caps import add_caps, placed, torsion_deg

HEAVY = """\
ATOM      1  N   {name} A   7       3.555   3.970   0.000  1.00  0.00           N
ATOM      2  CA  {name} A   7       4.853   4.614   0.000  1.00  0.00           C
ATOM      3  CB  {name} A   7       5.661   4.221   1.232  1.00  0.00           C
ATOM      4  C   {name} A   7       5.661   4.221  -1.232  1.00  0.00           C
ATOM      5  O   {name} A   7       5.123   3.521  -2.131  1.00  0.00           O
END
"""


@pytest.mark.parametrize("angle", [70.0, 109.5, 150.0])
@pytest.mark.parametrize("torsion", [-170.0, -60.0, 0.0, 33.0, 180.0])
def test_a_point_is_placed_by_its_internal_coordinates(angle, torsion):
    a, b, c = np.random.default_rng(0).normal(size=(3, 3))
    d = placed(a, b, c, 1.7, angle, torsion)
    cosine = np.dot(b - c, d - c) / np.linalg.norm(b - c) / np.linalg.norm(d - c)
    assert np.linalg.norm(d - c) == pytest.approx(1.7, abs=1e-12)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(angle, abs=1e-9)
    # rounding of the arc tangent, and 180 = -180
    assert abs((torsion_deg(a, b, c, d) - torsion + 180) % 360 - 180) < 1e-9


def test_caps_are_trans_and_planar():
    structure = gemmi.read_pdb_string(HEAVY.format(name="ALA"))
    assert [str(change.place) for change in add_caps(structure)] == ["A:NME8", "A:ACE6"]
    ace, ala, nme = structure[0][0]
    x = {(r.name, atom.name): np.array(atom.pos.tolist()) for r in (ace, ala, nme) for atom in r}
    before = torsion_deg(x["ACE", "CH3"], x["ACE", "C"], x["ALA", "N"], x["ALA", "CA"])
    behind = torsion_deg(x["ALA", "CA"], x["ALA", "C"], x["NME", "N"], x["NME", "C"])
    assert abs(before) == pytest.approx(180, abs=1e-6)
    assert abs(behind) == pytest.approx(180, abs=1e-6)
    planar = torsion_deg(x["ALA", "O"], x["ALA", "CA"], x["ALA", "C"], x["NME", "N"])
    assert abs(abs(planar) - 180) < 1e-6
    assert np.linalg.norm(x["ALA", "C"] - x["NME", "N"]) == pytest.approx(1.329)


def test_a_capped_chain_is_left_alone():
    structure = gemmi.read_pdb_string(HEAVY.format(name="ALA"))
    assert len(list(add_caps(structure))) == 2
    assert list(add_caps(structure)) == []
