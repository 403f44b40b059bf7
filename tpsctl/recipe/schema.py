"""The JSON schema of a recipe, and a way through it for error messages and file names.

Pydantic reports the location of an error with the tags of unions, but the user knows only the keys
that are written. `Walk` follows keys through the schema and chooses the branch of every union by
the values of the recipe.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_URI = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a recipe model, without pydantic's titles."""
    schema = model.model_json_schema()
    return {"$schema": _URI, **_without_titles(schema)}


def schema_text(model: type[BaseModel]) -> str:
    """The schema as the text that `tpsctl schema` prints."""
    return json.dumps(recipe_schema(model), indent=2) + "\n"


def _without_titles(node: Any, *, keys: bool = False) -> Any:
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_titles(value, keys=name in ("properties", "$defs") and not keys)
        for name, value in node.items()
        if keys or name != "title"
    }


@dataclass(frozen=True)
class Walk:
    """A place in the schema, together with the value that the recipe has there."""

    schema: dict[str, Any]
    node: dict[str, Any]
    value: Any

    @classmethod
    def start(cls, schema: dict[str, Any], value: Any) -> "Walk":
        """The place of the whole recipe."""
        return cls(schema, schema, value).chosen()

    @property
    def is_union(self) -> bool:
        """Whether pydantic adds the tag of a union to locations at this place."""
        return "oneOf" in self._target(self.node)

    @property
    def properties(self) -> dict[str, Any]:
        """Schemas of the keys of the section at this place; empty for any other value."""
        return self.chosen().node.get("properties", {})

    @property
    def words(self) -> list[str]:
        """Words that may stand here instead of a number, such as auto."""
        return self.node.get("words", [])

    @property
    def unit(self) -> str:
        """Unit of the value here; "" for text, choices and sections."""
        return self.node.get("unit", self.chosen().node.get("unit", ""))

    def into(self, key: str | int) -> "Walk":
        """The place below a key or list index; it has an empty schema if the key is unknown."""
        here = self.chosen()
        try:
            value = here.value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        if isinstance(key, int):
            items = here.node.get("prefixItems", [])
            node = items[key] if key < len(items) else here.node.get("items", {})
        else:
            node = here.node.get("properties", {}).get(key, {})
        return Walk(self.schema, node, value)

    def chosen(self) -> "Walk":
        """The same place with references followed and unions decided by the value."""
        node = self._target(self.node)
        while "oneOf" in node or "anyOf" in node:
            node = self._decided(node)
        return Walk(self.schema, node, self.value)

    def branch(self) -> "Walk":
        """The same place with the outermost union decided."""
        return Walk(self.schema, self._decided(self._target(self.node)), self.value)

    def _decided(self, node: dict[str, Any]) -> dict[str, Any]:
        options = [self._target(option) for option in node.get("oneOf") or node["anyOf"]]
        words = [option["const"] for option in options if isinstance(option.get("const"), str)]
        best = self._best(options)
        return {**best, "words": words, **({"unit": node["unit"]} if "unit" in node else {})}

    def _target(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            rest = {name: value for name, value in node.items() if name != "$ref"}
            node = {**self.schema["$defs"][node["$ref"].rpartition("/")[2]], **rest}
        return node

    def _best(self, options: list[dict[str, Any]]) -> dict[str, Any]:
        """The option that fits the value best: by type, then by constants, then by the number of known keys."""

        def fit(option: dict[str, Any]) -> tuple[int, int, int]:
            leaves = [self._target(o) for o in option["oneOf"]] if "oneOf" in option else [option]
            return max(self._leaf_fit(leaf) for leaf in leaves)

        return max(options, key=fit)

    def _leaf_fit(self, leaf: dict[str, Any]) -> tuple[int, int, int]:
        if isinstance(self.value, list):
            return (int(leaf.get("type") == "array"), 0, 0)
        if not isinstance(self.value, dict):
            return (int(leaf.get("type") not in ("array", "object", "null")), 0, 0)
        properties = leaf.get("properties", {})
        constants = sum(
            1 for k, v in self.value.items() if "const" in properties.get(k, {}) and properties[k]["const"] == v
        )
        inner = sum(self._inner_fit(properties.get(k, {}), v) for k, v in self.value.items() if k in properties)
        return (int(leaf.get("type") == "object"), constants, inner)

    def _inner_fit(self, node: dict[str, Any], value: Any) -> int:
        """Score of a known key: 1, and more if keys below it are known too."""
        if not isinstance(value, dict):
            return 1
        return 1 + len(set(value) & set(Walk(self.schema, node, value).properties))
