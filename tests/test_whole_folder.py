"""A folder of results appears complete or not at all, and never takes the place of another unasked."""

import pytest

from tpsctl.errors import OutputError
from tpsctl.files import whole_folder


def test_a_folder_appears_at_the_end(tmp_path):
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "out").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/a").read_text() == "a"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path, error):
    def fail():
        with whole_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_only_if_asked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    message = "a folder of this name exists already; nothing was changed. Try another."
    with pytest.raises(OutputError, match=message), whole_folder(tmp_path / "out", remedy="Try another."):
        raise AssertionError("this is never reached")
    with pytest.raises(ValueError, match="no luck"), whole_folder(tmp_path / "out", overwrite=True):
        raise ValueError("no luck")
    assert (tmp_path / "out/old").read_text() == "old"
    with whole_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["new"]


def test_a_file_or_a_link_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(OutputError, match="exists already"), whole_folder(tmp_path / name, overwrite=True):
            raise AssertionError("this is never reached")
    assert (tmp_path / "file").read_text() == "precious"
