"""Every fault of a path comes with something to do about it."""

import pytest

from tpsctl.validation.geometry import CHECKS
from tpsctl.validation.remedies import GATE, gate_remedy, saddle_remedy
from tpsctl.validation.tops import NextSaddle, PathTops, Peak, TopVerdict

SADDLE = NextSaddle(69.75, 1e-6, 0.06, ("A", "+6.05"))


def tops(verdict, **values):
    return PathTops((Peak(34, verdict, 75.2, 41.3, **values),), SADDLE)


def test_every_check_of_the_gate_has_a_remedy():
    assert set(GATE) == set(CHECKS)
    for name in CHECKS:
        assert gate_remedy(f"{name} at image 3 (and 2 more): text") == f"{name}: {GATE[name]}"


def test_each_fault_of_a_path_is_remedied_once():
    text = gate_remedy("bonds at image 3: a; jump at image 4: b; jump: the action is low")
    assert text == f"bonds: {GATE['bonds']} jump: {GATE['jump']}"
    assert gate_remedy("valid") == ""


@pytest.mark.parametrize("verdict", sorted(set(TopVerdict) - {TopVerdict.SADDLE, TopVerdict.NOT_JUDGED}))
def test_every_verdict_but_saddle_has_a_remedy(verdict):
    found = {"prior": PathTops((), None, verdict)}
    if verdict not in (TopVerdict.NO_PEAK, TopVerdict.UNKNOWN):
        found = {"prior": tops(verdict, index=3)}
    text = saddle_remedy(found)
    assert text.startswith(f"the top is no saddle of the prior's energy: {verdict}")
    assert any(word in text for word in ("route", "path.images", "action.dt_ps"))


def test_a_remedy_names_the_saddle_next_to_the_top():
    text = saddle_remedy({"force_field": tops(TopVerdict.NOT_STATIONARY)})
    assert "at 75.20 kJ/mol, |grad U| 41.3 kJ/mol/nm" in text
    assert text.endswith("The saddle found from there: 69.75 kJ/mol, between A and +6.05.")


def test_a_saddle_of_the_prior_alone_blames_the_prior():
    text = saddle_remedy({"prior": tops(TopVerdict.SADDLE, index=1), "force_field": tops(TopVerdict.INDEX_2, index=2)})
    assert "no saddle of the force field: index 2" in text
    assert "the prior differs from the force field here" in text


def test_saddles_need_no_remedy():
    assert saddle_remedy({"prior": tops(TopVerdict.SADDLE, index=1)}) == ""
    assert saddle_remedy({"prior": PathTops((), None, TopVerdict.NOT_JUDGED)}) == saddle_remedy({}) == ""
