"""The verdict in a checkpoint: read, missing, malformed."""

import math

import pytest

from tpsctl.checkpoints import stored_verdict
from tpsctl.checkpoints.stored_verdict import StoredVerdict, read_verdict
from tpsctl.errors import PriorError


@pytest.fixture
def card(monkeypatch, tmp_path):
    """`card({...})` is read as the card of a checkpoint."""

    def read(entries):
        monkeypatch.setattr(stored_verdict.native, "read_card", lambda path: entries)
        return read_verdict(tmp_path / "prior.safetensors")

    return read


def test_it_is_read(card):
    entries = {"verdict": {"fit_for_paths": True, "words": "fit."}, "diffusion_times": [0.1, 0.2]}
    assert card(entries) == StoredVerdict(True, "fit.", (0.1, 0.2))


def test_older_and_foreign_checkpoints_have_none(card, tmp_path):
    assert card({}) == StoredVerdict()
    assert card({"diffusion_times": [0.1, 0.2]}) == StoredVerdict(None, "", (0.1, 0.2))
    assert read_verdict(tmp_path / "published.pt") == StoredVerdict()


@pytest.mark.parametrize("entry", [True, [], {"fit_for_paths": "yes", "words": "x"}, {"fit_for_paths": False}])
def test_a_malformed_one_is_refused(card, entry):
    with pytest.raises(PriorError, match="entry verdict of its model card is malformed"):
        card({"verdict": entry})


@pytest.mark.parametrize("entry", [0.1, [0.1], ["0.1", "0.2"], [0.3, 0.1], [0.1, 2], {"a": 1}])
def test_malformed_times_are_refused(card, entry):
    with pytest.raises(PriorError, match=r"diffusion_times is .*, expected \[smallest, largest\]"):
        card({"diffusion_times": entry})


REGIONS = {"torsions": ["phi"], "radius_deg": 30, "centers_deg": [[90], [-90]], "largest_error_kj_per_mol": 0.5}


def with_regions(**changes):
    return {"verdict": {"fit_for_paths": True, "words": "fit.", "regions": REGIONS | changes}}


def test_regions_are_read(card):
    found = card(with_regions()).regions
    assert (found.torsions, found.largest_error_kj_per_mol) == (("phi",), 0.5)
    assert found.cover.radius == pytest.approx(math.radians(30))
    assert found.cover.centers.tolist() == [[math.radians(90)], [math.radians(-90)]]
    assert card(with_regions(largest_error_kj_per_mol=None)).regions.largest_error_kj_per_mol is None


@pytest.mark.parametrize(
    "change",
    [
        {"torsions": [1]},
        {"torsions": 3},
        {"torsions": ["phi", "psi"]},
        {"radius_deg": -1},
        {"radius_deg": "wide"},
        {"radius_deg": None},
        {"centers_deg": []},
        {"centers_deg": [[1, 2]]},
        {"centers_deg": [["a"]]},
        {"centers_deg": [[math.inf]]},
        {"largest_error_kj_per_mol": "small"},
        {"largest_error_kj_per_mol": math.nan},
    ],
)
def test_malformed_regions_are_refused(card, change):
    with pytest.raises(PriorError, match=r"entry regions of its verdict is malformed: .* inspect --judge"):
        card(with_regions(**change))


@pytest.mark.parametrize("regions", [[], "everywhere", {}, {"torsions": []}])
def test_regions_of_another_form_are_refused(card, regions):
    with pytest.raises(PriorError, match="entry regions of its verdict is malformed"):
        card({"verdict": {"fit_for_paths": True, "words": "fit.", "regions": regions}})
