"""The verdict in a checkpoint: read, missing, malformed."""

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
