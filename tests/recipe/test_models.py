"""Every recipe key has a description, a unit if it is a number, a reader in the code, and a line in the docs."""

import ast
import json
from pathlib import Path

import pytest
from pydantic import BaseModel

import tpsctl
from tpsctl.recipe.kinds import MODELS
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.reference import reference
from tpsctl.recipe.schema import recipe_schema, schema_text

PACKAGE = Path(tpsctl.__file__).parent
ROOT = PACKAGE.parent
RECIPES = sorted(ROOT.glob("recipes/**/*.yaml"))
NOT_READ = {"version", "kind", "functional", "method"}  # decided by their type alone


def sections(model: type[BaseModel]) -> dict:
    schema = recipe_schema(model)
    return {"": schema, **schema["$defs"]}


KEYS = sorted(
    {
        (kind, section, name)
        for kind, model in MODELS.items()
        for section, node in sections(model).items()
        for name in node["properties"]
    }
)


@pytest.fixture(scope="module")
def names_read() -> set[str]:
    """Attribute names used anywhere outside the recipe package."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if "recipe" not in path.relative_to(PACKAGE).parts:
            found |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            found |= {
                node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
            }  # fmt: skip
    return found


@pytest.mark.parametrize(("kind", "section", "name"), KEYS)
def test_every_key_is_described_and_has_a_unit(kind, section, name):
    node = sections(MODELS[kind])[section]["properties"][name]
    assert node.get("description", "").strip()
    types = {node.get("type"), *(option.get("type") for option in node.get("anyOf", ()))}
    if "number" in types or ("integer" in types and "const" not in node):
        assert node.get("unit"), "a number needs a unit; a pure number has unit 1"


@pytest.mark.parametrize(("kind", "section", "name"), KEYS)
def test_every_key_is_read_by_something(kind, section, name, names_read):
    assert name in names_read | NOT_READ, "a key that nothing reads is a dead option"


@pytest.mark.parametrize("kind", MODELS)
def test_schema_file_is_up_to_date(kind, golden):
    name = "schema.json" if kind == "sample" else f"schema_{kind}.json"
    golden(ROOT / "recipes" / name, schema_text(MODELS[kind]))


@pytest.mark.parametrize("kind", MODELS)
def test_reference_in_the_docs_is_up_to_date(kind, golden):
    note = "<!-- Written by `pytest --update-golden` from the recipe models; do not edit. -->"
    command, _, of = kind.partition("_")
    what = {"": "", "potential": ", for model potentials", "snapshots": ", for snapshots"}[of]
    head = f"{note}\n\n# Recipe of `tpsctl {command}`{what}\n\n"
    golden(ROOT / "docs" / "recipe" / f"{kind}.md", head + reference(MODELS[kind]))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_recipes_are_valid_and_name_their_schema(path):
    modeline = path.read_text().splitlines()[0]
    assert modeline.startswith("# yaml-language-server: $schema=")
    schema_file = (path.parent / modeline.partition("=")[2]).resolve()
    kind = schema_file.stem.removeprefix("schema").removeprefix("_") or "sample"
    assert json.loads(schema_file.read_text()) == recipe_schema(MODELS[kind])
    load_recipe(path, MODELS[kind])


def test_models_are_frozen():
    recipe = load_recipe(ROOT / "recipes" / "mueller_brown.yaml", MODELS["sample"])
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1
