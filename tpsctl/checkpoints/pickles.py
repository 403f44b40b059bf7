"""Pickles read without running anything in them.

A pickle is a program for a stack machine; two of its instructions, "import this name" and "call it", are what
make it dangerous. This reader is that machine with both made inert: a name becomes a `Stub` that remembers it,
a call makes a `Stub` that remembers whose call it was. No name is looked up, no object of the file's choosing
is built, and Python's own unpickler is not involved. Anything an honest file of plain values does not need
(persistent ids aside, which tensor archives use) is refused.

Work is bounded by the length of the file: dictionary keys must be plain, so no structure is ever hashed or walked.
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
    """What stands for an imported name, or for the object a call of it would have made.

    Attributes:
        name: Full name, e.g. "argparse.Namespace".
        called: Whether it stands for a call's result.
        state: What the file assigns to it, if anything.
    """

    name: str
    called: bool = False
    state: Any = None


@dataclass
class Inert:
    """What a pickle holds, with stubs for everything that is not plain data.

    Attributes:
        value: The top object.
        names: Every imported name, in order of appearance.
    """

    value: Any
    names: tuple[str, ...]


class _Mark:
    """Start of a group on the stack."""


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def group(self) -> list[Any]:
        """The objects above the topmost mark, which goes too."""
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
        self.stack.pop()  # arguments: a call's result is a stub whatever they are
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
    """What a pickle holds, without running it.

    Raises:
        ValueError: Truncated, malformed, or it uses instructions that plain data does not need.
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
    """The training arguments beside a published checkpoint: a pickled `argparse.Namespace` of plain values.

    Values that are no numbers, texts, None, or lists of these (an activation, say) are given as their name.

    Raises:
        PriorError: Missing, too large, damaged, no arguments, or naming anything else than `ADMITTED`.
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
    """Stop at names that must not be in the file.

    Raises:
        PriorError: There are any.
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
