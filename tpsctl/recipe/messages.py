"""Translates pydantic's errors into messages that the author of a recipe understands.

A message has the form "file:line: key: what was found, what is allowed, what was probably meant."
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tpsctl.recipe.document import Document, KeyPath
from tpsctl.recipe.plugins import installed_plugins
from tpsctl.recipe.schema import Walk

_NUMBERS = {"float_type", "int_type", "int_from_float", "float_parsing", "int_parsing", "finite_number"}
_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<")}
_BOUNDS["less_than_equal"] = ("le", "<=")


def explain(document: Document, schema: dict[str, Any], errors: Sequence[Any]) -> list[str]:
    """One message per mistake, in the order of the recipe's sections."""
    lines, suggested = [], set()
    placed = [(error, *_place(schema, document.values, error)) for error in _innermost(errors)]
    for error, _, path in placed:
        if error["type"] == "extra_forbidden":
            suggested.add((*path[:-1], _close(str(path[-1]), _siblings(path, schema, document.values))))
    for error, walk, path in placed:
        if error["type"] == "missing" and path in suggested:
            continue  # the misspelt key is reported instead of the missing one
        key = ".".join(map(str, path)) or "recipe"
        lines.append(f"{document.origin(path).where}: {key}: {_explain(error, walk, path, schema, document.values)}")
    return list(dict.fromkeys(lines))


def _innermost(errors: Sequence[Any]) -> Iterator[Any]:
    """Errors that are not merely the consequence of an error further inside."""
    for error in errors:
        location = error["loc"]
        if not any(len(e["loc"]) > len(location) and e["loc"][: len(location)] == location for e in errors):
            yield error


def _place(schema: dict[str, Any], values: Any, error: Any) -> tuple[Walk, KeyPath]:
    """The place of an error in the schema, and its key path as written, i.e. the location without union tags."""
    walk = Walk.start(schema, values)
    path: KeyPath = ()
    parts = list(error["loc"])
    while parts:
        part = parts.pop(0)
        walk, path = walk.into(part), (*path, part)
        while parts and walk.is_union:
            parts.pop(0)  # the tag of the branch, which the author did not write
            walk = walk.branch()
    return walk, path


def _explain(error: Any, walk: Walk, path: KeyPath, schema: dict[str, Any], values: Any) -> str:
    kind, context, found = error["type"], error.get("ctx", {}), _shown(error["input"])
    unit = f" ({walk.unit})" if walk.unit and walk.unit != "1" else ""
    if kind == "extra_forbidden":
        return _unknown_key(path, schema, values)
    if kind == "missing":
        about = walk.node.get("description") or walk.chosen().node.get("description", "")
        return f"missing. {about}{unit}".rstrip()
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_tag(error, path, schema, walk.node)
    if kind == "literal_error":
        return f"got {found}, expected {context['expected']}.{_meant(error['input'], _choices(context['expected']))}"
    words = "".join(f", or {word}" for word in walk.words)
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        return f"got {found}, expected a value {sign} {context[name]:g}{unit}{words}."
    if kind in _NUMBERS:
        what = (
            "a whole number" if kind.startswith("int") else "a finite number" if kind == "finite_number" else "a number"
        )
        hint = " Write the number alone: the unit is in the key." if _number_with_unit(error["input"]) else ""
        return f"got {found}, expected {what}{unit}{words}.{hint}{_meant(error['input'], walk.words)}"
    if kind == "bool_type":
        return f"got {found}, expected true or false."
    if kind in ("string_type", "path_type"):
        return f"got {found}, expected text."
    if kind in ("tuple_type", "list_type"):
        return f"got {found}, expected a list: [a, b]."
    if kind == "too_short":
        return f"got {found}, expected a list of at least {context['min_length']}."
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"got {found}, expected a section with keys: {', '.join(walk.properties)}."
    if kind == "value_error":
        return f"{context['error']}."
    return f"got {found}: {error['msg'][:1].lower()}{error['msg'][1:]}{unit}."


def _unknown_key(path: KeyPath, schema: dict[str, Any], values: Any) -> str:
    wrong, siblings = str(path[-1]), _siblings(path, schema, values)
    meant = _meant(wrong, siblings)
    if not meant:
        elsewhere = [dotted for dotted in _all_keys(schema) if dotted.rpartition(".")[2] == wrong]
        meant = f' Did you mean "{elsewhere[0]}"?' if elsewhere else ""
    return f"unknown key.{meant} Allowed here: {', '.join(siblings)}."


def _siblings(path: KeyPath, schema: dict[str, Any], values: Any) -> list[str]:
    """Keys that are allowed in the section of this key; keys that are not written yet come first."""
    parent = Walk.start(schema, values)
    for part in path[:-1]:
        parent = parent.into(part)
    return sorted(parent.properties, key=lambda name: name in (parent.value or {}))


def _all_keys(schema: dict[str, Any]) -> dict[str, None]:
    """All dotted keys of a recipe in the order of its sections, from all branches of its unions."""
    found: dict[str, None] = {}

    def visit(node: dict[str, Any], prefix: str) -> None:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        for option in (*node.get("oneOf", ()), *node.get("anyOf", ())):
            visit(option, prefix)
        for name, inner in node.get("properties", {}).items():
            found[f"{prefix}{name}"] = None
            visit(inner, f"{prefix}{name}.")

    visit(schema, "")
    return found


def _kinds(schema: dict[str, Any], node: dict[str, Any], name: str) -> list[str]:
    """The values of the key that tells the branches of a union apart."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    tag = node.get("properties", {}).get(name, {})
    own = [tag["const"]] if "const" in tag else list(tag.get("enum", ()))
    branches = (*node.get("oneOf", ()), *node.get("anyOf", ()))
    return list(dict.fromkeys([*own, *(kind for branch in branches for kind in _kinds(schema, branch, name))]))


def _wrong_tag(error: Any, path: KeyPath, schema: dict[str, Any], node: dict[str, Any]) -> str:
    context, value = error["ctx"], error["input"]
    name = context["discriminator"].strip("'")
    if error["type"] == "union_tag_not_found":
        kinds = _kinds(schema, node, name) + installed_plugins(path)
        listed = f" Expected one of {', '.join(kinds)}." if kinds else ""
        return f'the key "{name}" is missing, which says what kind this is.{listed}'
    choices = _choices(context["expected_tags"]) + installed_plugins(path)
    return (
        f"{name}: got {_shown(value.get(name))}, expected one of {', '.join(choices)}.{_meant(context['tag'], choices)}"
    )


def _choices(listed: str) -> list[str]:
    return [part.strip().strip("'") for part in listed.replace(" or ", ", ").split(",")]


def _close(wrong: str, candidates: Sequence[str]) -> str | None:
    begun = [name for name in candidates if wrong and name.startswith(f"{wrong}_")]
    return next(iter(begun + difflib.get_close_matches(wrong, candidates, n=1, cutoff=0.6)), None)


def _meant(wrong: Any, candidates: Sequence[str]) -> str:
    close = _close(str(wrong), candidates)
    return f' Did you mean "{close}"?' if close else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a section"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number_with_unit(value: Any) -> bool:
    return isinstance(value, str) and value[:1].isdecimal()
