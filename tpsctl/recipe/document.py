"""Converts YAML to plain Python values, and remembers the file and line of every value.

PyYAML alone reads `1e-3` as text and `no` as false, keeps the last of two equal keys and forgets
line numbers. Here scalars follow the YAML 1.2 core schema (`1e-3` is a number; only true and false
are booleans), equal keys are refused, and each key path has its origin.

Anchors, aliases and merge keys (`<<: *anchor`) work. Content that could exhaust time or memory is refused with its
line: an alias inside the value that it names, aliases that multiply without bound, and too deep nesting or too long
numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tpsctl.errors import RecipeError

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MERGE = "tag:yaml.org,2002:merge"
_MOST_VALUES, _MOST_LEVELS, _MOST_DIGITS = 100_000, 50, 300
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False, ".inf": float("inf"), ".nan": float("nan")}


@dataclass(frozen=True)
class Origin:
    """The place where a value was written: `where` for messages, `folder` for the relative file names in it."""

    where: str
    folder: Path


@dataclass
class Document:
    """The values of one recipe, with the changes of `--set`, and the origin of each key path."""

    name: str
    values: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin:
        """Origin of this key path, or of the nearest enclosing key path that was written."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return Origin(self.name, Path())

    def get(self, path: KeyPath) -> Any:
        """Value at a key path.

        Raises:
            KeyError, IndexError, TypeError: There is no such value.
        """
        value: Any = self.values
        for part in path:
            value = value[part]
        return value

    def assign(self, assignment: str) -> None:
        """Apply one `--set a.b=c`; c is read as YAML, b may be a new key, and list items are counted from 0.

        Raises:
            RecipeError: The assignment cannot be read, or it does not fit the recipe.
        """
        where = f"--set {assignment}"
        dotted, equals, text = assignment.partition("=")
        if not equals or not all(dotted.split(".")):
            raise RecipeError(f"{where}: expected KEY=VALUE with a dotted key, e.g. --set action.dt_ps=0.002")
        origin = Origin(where, Path.cwd())
        path: KeyPath = ()
        target: Any = self.values
        for part in dotted.split("."):
            if path:
                target = self._enter(target, path[-1], where)
            step: str | int = int(part) if isinstance(target, list) and part.isdecimal() else part
            path = (*path, step)
            self.origins.setdefault(path, origin)
        if isinstance(target, list) and not (isinstance(path[-1], int) and path[-1] < len(target)):
            above, _, last = dotted.rpartition(".")
            meant = (
                f" Write {above}.{len(target) - 1}.{last} for the last item." if target and not last.isdecimal() else ""
            )
            raise RecipeError(f"{where}: {dotted} is no item of a list of {len(target)} (counted from 0).{meant}")
        self.origins = {old: o for old, o in self.origins.items() if old[: len(path)] != path}
        target[path[-1]] = _Builder(where, Path.cwd()).build(_compose(text, where), path)
        self.origins[path] = origin

    def _enter(self, target: Any, part: str | int, where: str) -> Any:
        if isinstance(target, dict):
            inner = target.setdefault(part, {})
        elif isinstance(part, int) and part < len(target):
            inner = target[part]
        else:
            raise RecipeError(f'{where}: "{part}" is no item of a list of {len(target)} (counted from 0).')
        if not isinstance(inner, dict | list):
            raise RecipeError(f'{where}: "{part}" is {inner!r}, which has no keys.')
        return inner


def read_document(path: Path, assignments: Sequence[str] = ()) -> Document:
    """Read a recipe file, and apply every `--set` in order.

    Raises:
        RecipeError: The file is missing, is no YAML or no mapping, or a `--set` does not apply.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}. Give a recipe file (YAML).") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: this is no text file (UTF-8), so no recipe.") from None
    node = _compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f'{path}: a recipe is a mapping of keys to values, starting with "version: 1".')
    builder = _Builder(str(path), path.resolve().parent)
    document = Document(str(path), builder.build(node, ()), builder.origins)
    for assignment in assignments:
        document.assign(assignment)
    return document


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and not where.startswith("--set") else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise RecipeError(f"{where}{line}: not valid YAML: {problem}.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {error}.") from None
    except RecursionError:
        raise RecipeError(f"{where}: nested too deep, expected at most {_MOST_LEVELS} levels.") from None


class _Builder:
    """Turns YAML nodes into values, and stores the file and line of every key path.

    Args:
        name: The file, or the `--set`, for messages.
        folder: Folder to which file names in the values are relative.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.origins: dict[KeyPath, Origin] = {}
        self._name, self._folder = name, folder
        self._open: list[yaml.Node] = []
        self._built = 0

    def build(self, node: yaml.Node | None, path: KeyPath) -> Any:
        """Convert a node at this key path to a value.

        Raises:
            RecipeError: The node, or a node inside it, is not allowed.
        """
        if node is None:
            return None
        self.origins.setdefault(path, self._origin(node))
        self._built += 1
        if any(node is outer for outer in self._open):
            raise self._error(node, path, "an alias stands inside what it names. Write the values out")
        if self._built > _MOST_VALUES:
            raise self._error(node, path, f"aliases multiply to more than {_MOST_VALUES} values. Write the values out")
        if len(path) > _MOST_LEVELS:
            raise self._error(node, path[:3], f"nested too deep, expected at most {_MOST_LEVELS} levels")
        self._open.append(node)
        try:
            return self._value(node, path)
        finally:
            self._open.pop()

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode)  # the only other kind of node
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = key_node.value
            if not isinstance(key, str):
                raise self._error(key_node, (), "a key must be a word, found a list or mapping")
            if key in values:
                raise self._error(key_node, (*path, key), "given twice. Remove one")
            self.origins[(*path, key)] = self._origin(key_node)
            values[key] = self.build(value_node, (*path, key))
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                values |= self._merged(value_node, path, values)
        return values

    def _merged(self, node: yaml.Node, path: KeyPath, present: dict[str, Any]) -> dict[str, Any]:
        """Keys of the mappings that `<<` names; keys written out here, and in earlier mappings, take precedence."""
        found: dict[str, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, (*path, "<<"), "expected an alias of a mapping, e.g. <<: *start")
            elsewhere = _Builder(self._name, self._folder)
            elsewhere._open, elsewhere._built = [*self._open], self._built
            values = elsewhere.build(source, path)
            self._built = elsewhere._built
            for key, value in values.items():
                if key not in present and key not in found:
                    found[key] = value
                    begin = (*path, key)
                    self.origins |= {k: o for k, o in elsewhere.origins.items() if k[: len(begin)] == begin}
        return found

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if node.style is not None:  # a quoted scalar or a block is text, whatever it looks like
            return text
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        number = text.replace("_", "")
        if _INTEGER.fullmatch(text):
            if len(number.lstrip("+-0")) > _MOST_DIGITS:
                raise self._error(node, path, f"got a number of {len(number)} digits, expected at most {_MOST_DIGITS}")
            return int(number)
        if _FLOAT.fullmatch(text):
            value = float(number)
            if value == 0 and _is_nonzero(number):
                raise self._error(node, path, f"got {text[:40]}, a number too small for a computer")
            return value
        return text

    def _origin(self, node: yaml.Node) -> Origin:
        is_file = not self._name.startswith("--set")
        return Origin(f"{self._name}:{node.start_mark.line + 1}" if is_file else self._name, self._folder)

    def _error(self, node: yaml.Node, path: KeyPath, problem: str) -> RecipeError:
        key = f"{'.'.join(map(str, path))}: " if path else ""
        return RecipeError(f"{self._origin(node).where}: {key}{problem}.")


def _is_nonzero(number: str) -> bool:
    """Whether a number that became 0 is written with another digit than 0 before its exponent."""
    return any(digit in "123456789" for digit in re.split("[eE]", number)[0])
