"""YAML to plain Python values, remembering where every value came from.

PyYAML alone reads `1e-3` as text and `no` as false, keeps the last of two equal keys and forgets
line numbers. Here scalars follow the YAML 1.2 core schema (numbers as everyone writes them;
only true and false are booleans), equal keys are refused, and each key path has its origin.
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
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False, ".inf": float("inf"), ".nan": float("nan")}


@dataclass(frozen=True)
class Origin:
    """Where a value was written: `where` for messages, `folder` that relative file names start from."""

    where: str
    folder: Path


@dataclass
class Document:
    """Values of one recipe, changed by `--set`, with the origin of each key path."""

    name: str
    values: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin:
        """Origin of this key path or of the nearest enclosing one that was written."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return Origin(self.name, Path())

    def get(self, path: KeyPath) -> Any:
        """Value at a key path; KeyError, IndexError or TypeError if there is none."""
        value: Any = self.values
        for part in path:
            value = value[part]
        return value

    def assign(self, assignment: str) -> None:
        """Apply one `--set a.b=c`; c is read as YAML, b may be new, list items are counted from 0."""
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
            raise RecipeError(f"{where}: {dotted} is no item of a list of {len(target)} (counted from 0).")
        self.origins = {old: o for old, o in self.origins.items() if old[: len(path)] != path}
        target[path[-1]] = _build(_compose(text, where), path, Path.cwd(), {}, where)
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
    """The recipe file with every `--set` applied, in order.

    Raises:
        RecipeError: The file is missing, no YAML, no mapping, or a `--set` does not apply.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: this is no text file (UTF-8), so no recipe.") from None
    node = _compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f'{path}: a recipe is a mapping of keys to values, starting with "version: 1".')
    origins: dict[KeyPath, Origin] = {}
    values = _build(node, (), path.resolve().parent, origins, str(path))
    document = Document(str(path), values, origins)
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


def _build(node: yaml.Node | None, path: KeyPath, folder: Path, origins: dict[KeyPath, Origin], name: str) -> Any:
    """Value of a node; fills `origins` with file and line of every key path below it."""
    if node is None:
        return None
    origins.setdefault(path, Origin(f"{name}:{node.start_mark.line + 1}", folder))
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), folder, origins, name) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            here = Origin(f"{name}:{key_node.start_mark.line + 1}", folder)
            key = key_node.value
            if not isinstance(key, str):
                raise RecipeError(f"{here.where}: a key must be a word, found a list or mapping.")
            if key in values:
                raise RecipeError(f"{here.where}: {'.'.join(map(str, (*path, key)))}: given twice. Remove one.")
            origins[(*path, key)] = here
            values[key] = _build(value_node, (*path, key), folder, origins, name)
        return values
    assert isinstance(node, yaml.ScalarNode)  # the only other kind of node
    return _scalar(node)


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted or a block: text whatever it looks like
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text
