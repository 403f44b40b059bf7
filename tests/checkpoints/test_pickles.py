"""Nothing in a pickle of arguments runs; whatever is no plain argument is refused by name, in one sentence."""

import argparse
import builtins
import collections
import contextlib
import os
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsctl.checkpoints.pickles import MAX_BYTES, read_arguments
from tpsctl.errors import PriorError

HONEST = argparse.Namespace(mol="CHIGNOLIN", layers=3, rate=4e-4, flags=[15, 20], nothing=None, order=None)
PLAIN = {"mol": "CHIGNOLIN", "layers": 3, "rate": 4e-4, "flags": [15, 20], "nothing": None, "order": None}


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def written(folder, data: bytes) -> Path:
    path = folder / "args.pickle"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_honest_arguments_are_read(tmp_path, protocol):
    assert read_arguments(written(tmp_path, pickle.dumps(HONEST, protocol=protocol))) == PLAIN


def test_an_activation_stays_a_name(tmp_path):
    """As in the published files, which are of protocol 4: the module is an inert stub, whatever its state."""
    arguments = argparse.Namespace(activation=torch.nn.Tanh(), order=collections.OrderedDict(a=1))
    found = read_arguments(written(tmp_path, pickle.dumps(arguments, protocol=4)))
    assert found == {"activation": "torch.nn.modules.activation.Tanh", "order": "collections.OrderedDict"}


HOSTILE = {
    "posix.system": Call(os.system, "touch ran"),
    "builtins.eval": Call(eval, "open('ran', 'w')"),
    "builtins.exec": Call(exec, "open('ran', 'w')"),
    "builtins.getattr": Call(getattr, os, "system"),
    "builtins.__import__": Call(builtins.__import__, "os"),
    "subprocess.Popen": Call(subprocess.Popen, ["touch", "ran"]),
    "collections.Counter": collections.Counter("abc"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", HOSTILE)
def test_everything_else_is_refused_by_name(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    hidden = argparse.Namespace(inner=[{"deep": (HOSTILE[name],)}]) if name != "builtins.getattr" else None
    data = b"cbuiltins\ngetattr\n(cos\nsystem\nVmro\ntR." if hidden is None else pickle.dumps(hidden, protocol=protocol)
    short = name.rpartition(".")[2]
    with pytest.raises(PriorError, match=rf"refused, nothing was run.*\b{short}"):
        read_arguments(written(tmp_path, data))
    assert not (tmp_path / "ran").exists()


def test_nested_calls_do_not_run(tmp_path, monkeypatch):
    """A call whose function is itself the result of a call."""
    monkeypatch.chdir(tmp_path)
    data = b"cargparse\nNamespace\n(cposix\nsystem\n(Vtouch ran\ntRtR."
    with pytest.raises(PriorError, match=r"posix\.system"):
        read_arguments(written(tmp_path, data))
    assert not (tmp_path / "ran").exists()


def test_a_name_put_together_through_the_memo_is_still_seen(tmp_path):
    """STACK_GLOBAL takes its two texts from the memo, stored there out of order."""
    data = b"\x80\x04\x8c\x06system\x940\x8c\x05posix\x940h\x01h\x00\x93\x8c\x01a\x85R."
    with pytest.raises(PriorError, match="not a readable pickle|posix"):
        read_arguments(written(tmp_path, data))
    data = b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x94h\x01h\x00\x93\x8c\x01a\x85\x86\x86\x86R."
    with pytest.raises(PriorError):
        read_arguments(written(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"(dp0\nI1\nI2\ns.", "no argparse.Namespace"),
        (b"\x80\x04N.", "no argparse.Namespace"),
        (b"cargparse\nNamespace\n.", "no argparse.Namespace"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"(cos\nsystem\nVls\no.", "instruction OBJ"),
        (b"(Vls\nios\nsystem\n.", "instruction INST"),
        (b"]2.", "instruction DUP"),
        (b"}(]]u.", "a dictionary key of type list"),
        (b"}((t)u.", "a dictionary key of type tuple"),
        (b"Vx\nVy\nR.", "a call of a str"),
        (b"t.", "a group without a start"),
        (b"j\xff\xff\xff\xff.", "malformed"),
        (b"NN.", "does not end with one object"),
        (b"]a.", "malformed"),
        (b"", "not a readable pickle"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", "not a readable pickle"),
    ],
)
def test_malformed_pickles_get_one_sentence(tmp_path, data, why):
    with pytest.raises(PriorError, match=why):
        read_arguments(written(tmp_path, data))


def test_large_and_missing_files_are_refused_before_reading(tmp_path):
    path = tmp_path / "args.pickle"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(PriorError, match="expected at most"):
        read_arguments(path)
    with pytest.raises(PriorError, match="cannot be read"):
        read_arguments(tmp_path / "none.pickle")


def test_structures_that_double_with_every_instruction_take_no_time(tmp_path):
    """t = (t, t) sixty times over has 2^60 leaves when walked, and as many when hashed as a key."""
    doubling = b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60
    with pytest.raises(PriorError):
        read_arguments(written(tmp_path, b"}" + doubling + b"K\x01s."))


def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path):
    with pytest.raises(PriorError) as error:
        read_arguments(written(tmp_path, b"c\x1b[31mevil\nname\n."))
    assert "\x1b" not in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_truncated_and_flipped_files_never_end_in_a_traceback(tmp_path_factory, data):
    honest = pickle.dumps(HONEST, protocol=data.draw(st.integers(2, 5)))
    damaged = bytearray(honest)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = damaged[: data.draw(st.integers(1, len(damaged)))]
    path = tmp_path_factory.mktemp("damaged") / "args.pickle"
    path.write_bytes(damaged)
    with contextlib.suppress(PriorError):
        assert isinstance(read_arguments(path), dict)
