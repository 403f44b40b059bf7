"""Reads pickles without running anything in them.

A pickle is a program for a stack machine. Two of its instructions make it dangerous: "import this name" and "call
it". This reader is such a machine, but both instructions only make a `Stub`, which remembers the name that would
have been imported or called. No name is looked up, no object that the file names is built, and Python's own
unpickler is not used. Instructions that a file of plain values does not need are refused, except for persistent
ids, which tensor archives use.

The amount of work is bounded by the length of the file: dictionary keys must be plain values, so no nested structure
is ever hashed or traversed.
"""

import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpsctl.errors import PriorError

ADMITTED = frozenset(
    {"argparse.Namespace", "collections.OrderedDict", "torch.nn.modules.activation.Tanh"}
)  # all that the arguments of published models name
MAX_BYTES = 1 << 20
"""Largest file of arguments; the published ones have 1 to 2 kB."""


@dataclass(eq=False)
class Stub:
    """A placeholder for an imported name, or for the object that a call of it would have made.

    Attributes:
        name: Full name, e.g. "argparse.Namespace".
        called: Whether it stands for the result of a call.
        state: The state that the file assigns to the object; None if it assigns none.
    """

    name: str
    called: bool = False
    state: Any = None


@dataclass
class Inert:
    """The content of a pickle, with stubs for everything that is not plain data.

    Attributes:
        value: The top object.
        names: Every imported name, in order of appearance.
    """

    value: Any
    names: tuple[str, ...]


class _Mark:
    """Marks the start of a group on the stack."""


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def group(self) -> list[Any]:
        """Remove the objects above the topmost mark and the mark itself, and return the objects."""
        for i in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[i], _Mark):
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise ValueError("a group without a start")

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"expected a {kind.__name__} on the stack")
        return self.stack[-1]

    def name(self, full: str) -> Stub:
        self.names[full] = None
        return Stub(full)

    def call(self) -> None:
        self.stack.pop()  # the arguments, which are ignored because the result of every call is a stub
        function = self.stack.pop()
        if not isinstance(function, Stub):
            raise ValueError(f"a call of a {type(function).__name__}")
        self.stack.append(Stub(function.name, called=True))

    def assign(self, items: list[Any]) -> None:
        """Put key, value, key, value ... into the dictionary on top of the stack (or its stub)."""
        pairs = {_plain_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}
        target = self.stack[-1]
        if isinstance(target, Stub):  # an OrderedDict
            target.state = {**target.state, **pairs} if isinstance(target.state, dict) else pairs
        else:
            self.top(dict).update(pairs)


def _plain_key(key: Any) -> str | int | float | bool | None:
    if not isinstance(key, str | int | float | bool | None):
        raise ValueError(f"a dictionary key of type {type(key).__name__}")
    return key


_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT"} | {
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}
_MEMO_PUT, _MEMO_GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}  # sets are not hashed


def _step(machine: _Machine, code: str, argument: Any) -> None:  # noqa: C901 (one instruction set)
    stack = machine.stack
    if code in _VALUES:
        stack.append(argument)
    elif code in _LITERALS:
        stack.append(_LITERALS[code])
    elif code in _EMPTY:
        stack.append(_EMPTY[code]())
    elif code in _MEMO_PUT:
        machine.memo[argument] = stack[-1]
    elif code == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif code in _MEMO_GET:
        stack.append(machine.memo[argument])
    elif code == "MARK":
        stack.append(_Mark())
    elif code in _TUPLES:
        n = _TUPLES[code]
        stack[-n:] = [tuple(stack[-n:])]
    elif code in ("TUPLE", "LIST"):
        stack.append((tuple if code == "TUPLE" else list)(machine.group()))
    elif code == "DICT":
        items = machine.group()
        stack.append({})
        machine.assign(items)
    elif code == "SETITEM":
        value, key = stack.pop(), stack.pop()
        machine.assign([key, value])
    elif code == "SETITEMS":
        machine.assign(machine.group())
    elif code == "APPEND":
        value = stack.pop()
        machine.top(list).append(value)
    elif code in ("APPENDS", "ADDITEMS"):
        values = machine.group()
        machine.top(list).extend(values)
    elif code == "GLOBAL":
        stack.append(machine.name(argument.replace(" ", ".")))
    elif code == "STACK_GLOBAL":
        name, module = stack.pop(), stack.pop()
        stack.append(machine.name(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?"))
    elif code in ("REDUCE", "NEWOBJ"):
        machine.call()
    elif code == "BUILD":
        state = stack.pop()
        machine.top(Stub).state = state
    elif code == "BINPERSID":
        stack[-1] = Stub("persistent id", called=True)
    elif code not in ("PROTO", "FRAME", "STOP"):
        raise ValueError(f"instruction {code}, which plain data does not need")


def read_inert(data: bytes) -> Inert:
    """Read the content of a pickle without running it.

    Raises:
        ValueError: The pickle is truncated or malformed, or uses instructions that plain data does not need.
    """
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(data):
            _step(machine, code.name, argument)
    except (IndexError, KeyError, AttributeError, TypeError, OverflowError, UnicodeError) as error:
        raise ValueError(f"malformed: {error!r}") from None
    if len(machine.stack) != 1:
        raise ValueError("malformed: it does not end with one object")
    return Inert(machine.stack[0], tuple(machine.names))


def read_arguments(path: Path) -> dict[str, Any]:
    """Read the training arguments beside a published checkpoint: a pickled `argparse.Namespace` of plain values.

    A value that is no number, text, None, or list of these (e.g. an activation) is replaced by its name.

    Raises:
        PriorError: The file is missing, too large or damaged, holds no arguments, or names anything not in `ADMITTED`.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PriorError(f"{path}: {size} bytes, expected at most {MAX_BYTES} for a file of arguments.")
        data = path.read_bytes()
    except OSError as error:
        raise PriorError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        inert = read_inert(data)
    except ValueError as error:
        raise PriorError(f"{path}: not a readable pickle of arguments ({error}). Fetch the file again.") from None
    refuse(path, [name for name in inert.names if name not in ADMITTED], sorted(ADMITTED))
    top = inert.value
    if not (isinstance(top, Stub) and top.called and top.name == "argparse.Namespace" and isinstance(top.state, dict)):
        raise PriorError(f"{path}: holds no argparse.Namespace with arguments.")
    return {str(key): _plain(value) for key, value in top.state.items()}


def refuse(path: Path, names: list[str], allowed: list[str]) -> None:
    """Refuse a file with names that it must not contain.

    Args:
        path: The file.
        names: The forbidden names that it contains; if there are none, nothing happens.
        allowed: The names that it may contain, for the message.

    Raises:
        PriorError: There is a forbidden name.
    """
    if names:
        shown = ", ".join(ascii(name)[1:81].rstrip("'") for name in names[:5])
        raise PriorError(
            f"{path}: refused, nothing was run. The file asks for {shown}; only {', '.join(allowed)} "
            "may appear in it. Do not use this file unless you made it yourself."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float | bool | None) for v in value):
        return list(value)
    if isinstance(value, Stub):
        return value.name
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__
