"""Archives of tensors: looked at before they are loaded, and nothing in them is believed."""

import contextlib
import os
import shutil
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpsctl.checkpoints import archive
from tpsctl.checkpoints.build import build
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.errors import PriorError


class Call:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture
def honest(tmp_path):
    """A small file in the layout of the Mueller-Brown diffusion network."""
    path = tmp_path / "net.pt"
    torch.save(perceptron(), path)
    return path


def perceptron():
    widths, state = [3, 4, 4, 4, 4, 2], {}
    for i in range(5):
        state[f"fc{i + 1}.weight"] = torch.randn(widths[i + 1], widths[i], dtype=torch.float32)
        state[f"fc{i + 1}.bias"] = torch.randn(widths[i + 1], dtype=torch.float32)
    return state


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The archive with its entries passed through `change(name, data)`, which yields (name, data) pairs."""
    target = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            for name, data in change(entry.filename, old.read(entry)):
                new.writestr(name, data)
    return target


def test_an_honest_file_is_read(honest):
    assert build(read_published(honest)).n_dims == 2
    assert archive.scan(honest).dangerous == ()


def test_a_call_in_the_pickle_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"fc1.weight": torch.zeros(2), "more": [{"x": Call()}]}, tmp_path / "evil.pt")
    with pytest.raises(PriorError, match=r"refused, nothing was run.*posix\.system"):
        read_published(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(PriorError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_published(tmp_path / "module.pt")


def test_compressed_entries_are_refused(honest):
    """A zip bomb is small only because it is compressed; torch.save never compresses."""
    bomb = rewritten(honest, lambda name, data: [(name, data), (name + "x", b"\0" * 10_000_000)], zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 500_000
    with pytest.raises(PriorError, match="claim more than the file's"):
        read_published(bomb)
    small = rewritten(honest, lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED)
    with pytest.raises(PriorError, match="compressed|claim more"):
        read_published(small)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "net/../../evil", "..\\evil", "C:evil"])
def test_names_that_leave_the_archive_are_refused(honest, name):
    with pytest.raises(PriorError, match="points outside"):
        read_published(rewritten(honest, lambda n, data: [(n, data)] + ([(name, b"x")] if "pkl" in n else [])))


def test_several_pickles_are_refused(honest):
    changed = rewritten(honest, lambda n, d: [(n, d)] + ([("other/data.pkl", d)] if "pkl" in n else []))
    with pytest.raises(PriorError, match="holds 2 data.pkl"):
        read_published(changed)


def test_tensors_larger_than_their_storage_are_refused(tmp_path):
    """A view with stride 0 claims any size without storing it."""
    state = perceptron() | {"fc1.weight": torch.zeros(1, dtype=torch.float32).expand(100_000, 100_000)}
    torch.save(state, tmp_path / "view.pt")
    with pytest.raises(PriorError, match="more than the file stores"):
        read_published(tmp_path / "view.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = perceptron()
    state["fc3.weight"][1, 1] = value
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(PriorError, match=r"fc3\.weight has values that are not finite"):
        read_published(tmp_path / "nan.pt")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"fc2.weight": torch.zeros(4, 5)},
            r"do not fit the arguments; layers\.1\.weight has shape \(4, 5\)",
        ),
        ({"fc9.weight": torch.zeros(2)}, r"fc9\.weight has shape \(2,\), expected no such tensor"),
        ({"fc2.weight": "text"}, r"fc2\.weight is a str, expected a dense tensor"),
        ({"fc1.weight": torch.zeros(3)}, "not a perceptron of 5 layers"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, change, why):
    torch.save(perceptron() | change, tmp_path / "wrong.pt")
    with pytest.raises(PriorError, match=why):
        build(read_published(tmp_path / "wrong.pt"))


def test_unknown_layouts_list_what_was_found_and_what_is_supported(tmp_path):
    torch.save({"encoder.weight": torch.zeros(2), "decoder.bias": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(PriorError, match=r"unknown layout. Found 2 entries: encoder.weight, decoder.bias. Supported: "):
        read_published(tmp_path / "other.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(PriorError, match="holds a list, expected a dictionary"):
        read_published(tmp_path / "list.pt")


def test_missing_and_ambiguous_checkpoints(tmp_path, honest):
    with pytest.raises(PriorError, match="no such checkpoint"):
        read_published(tmp_path / "none.pt")
    found = read_published(tmp_path).weights.values()
    assert sum(tensor.numel() for tensor in found) == sum(tensor.numel() for tensor in perceptron().values())
    shutil.copy(honest, tmp_path / "second.pt")
    with pytest.raises(PriorError, match=r"holds 2 checkpoints \(\*\.pt\): net.pt, second.pt"):
        read_published(tmp_path)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_never_end_in_a_traceback(honest, data):
    content = bytearray(honest.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    damaged = honest.with_name("damaged.pt")
    damaged.write_bytes(content)
    with contextlib.suppress(PriorError):
        build(read_published(damaged))
