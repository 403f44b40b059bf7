"""Writes the recipe reference of the documentation from the schema, so that it is never out of date."""

from typing import Any

from pydantic import BaseModel

from tpsctl.recipe.schema import recipe_schema


def reference(model: type[BaseModel]) -> str:
    """Reference of a recipe model as Markdown: one table per section, in the order in which a recipe is written."""
    schema = recipe_schema(model)
    blocks: list[str] = []
    seen: set[str] = set()

    def visit(node: dict[str, Any], title: str) -> None:
        for name, inner in node["properties"].items():
            for target in _sections(inner):
                if target not in seen:
                    seen.add(target)
                    heading = f"{title}.{name}".lstrip(".")
                    section = schema["$defs"][target]
                    blocks.append(_section(heading, section))
                    visit(section, heading)

    top = _section("Top level", schema)
    visit(schema, "")
    return "\n".join([top, *blocks])


def _sections(node: dict[str, Any]) -> list[str]:
    """Names of the definitions that the value of a key may have."""
    if "$ref" in node:
        return [node["$ref"].rpartition("/")[2]]
    found: list[str] = []
    for option in (*node.get("oneOf", ()), *node.get("anyOf", ()), *([node["items"]] if "items" in node else ())):
        if isinstance(option, dict):
            found += _sections(option)
    return list(dict.fromkeys(found))


def _section(heading: str, node: dict[str, Any]) -> str:
    kind = next((f" `{n}: {p['const']}`" for n, p in node["properties"].items() if _is_kind(n, p)), "")
    rows = []
    required = set(node.get("required", ()))
    for name, inner in node["properties"].items():
        if _is_kind(name, inner):
            continue
        default = "required" if name in required else _default(inner.get("default"))
        meaning = inner.get("description", "") + _choices(inner)
        rows.append(f"| `{name}` | {inner.get('unit', '')} | {default} | {meaning} |")
    table = ["| key | unit | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## {heading}{kind}", "", node.get("description", ""), "", *table])


def _is_kind(name: str, node: dict[str, Any]) -> bool:
    return "const" in node and name in ("kind", "functional", "method")


def _default(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return "" if not value else ", ".join(f"{k}: {v}" for k, v in value.items() if v is not None)
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _choices(node: dict[str, Any]) -> str:
    choices = node.get("enum") or node.get("items", {}).get("enum")
    return f" One of {', '.join(f'`{c}`' for c in choices)}." if choices else ""
