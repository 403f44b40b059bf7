"""Imports point one way: cli -> workflows -> jobs -> stages -> leaves. Every room of the house is named here."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tpsctl"

LEAVES = {"entry_points", "environment", "errors", "files", "progress", "units"}
"""Single files at the root that every room may import."""

MAY_IMPORT = {
    # domain leaves: what molecules and scores are
    "molecule": set(),
    "score": {"molecule"},
    # stages: each knows itself, the leaves, and the stage whose objects it is about
    "networks": {"molecule", "score"},
    "prior": {"molecule", "networks", "score"},
    "checkpoints": {"molecule", "networks", "prior", "score"},
    "landscape": {"molecule", "score"},
    "endpoints": {"molecule"},
    "guess": {"molecule"},
    "action": {"molecule", "score"},
    "optimize": {"action", "molecule"},
    # judges the tops of paths by the stationary points next to them
    "validation": {"landscape", "molecule"},
    "simulation": {"molecule"},
    "training": {"molecule", "networks", "score"},
    "output": {"molecule"},
    # recipes are plain data
    "recipe": set(),
    # surviving kills wraps a job from outside
    "jobs": {"optimize", "output"},
    # commands: what they do, how they are called
    "workflows": {
        *("action", "checkpoints", "endpoints", "guess", "jobs", "landscape", "molecule", "networks", "optimize"),
        *("output", "prior"),
        *("recipe", "score", "simulation", "training", "validation"),
    },
    "console": set(),
    "cli": {"console", "jobs", "recipe", "workflows"},
    "__main__": {"cli"},
}
"""Which rooms a room may import, beside itself and the leaves."""

FORBIDDEN = {room: {"typer", "rich", "pydantic", "yaml"} for room in MAY_IMPORT} | {
    "recipe": {"typer", "rich"},
    "console": {"typer", "pydantic", "yaml"},
    "cli": {"pydantic", "yaml"},
}
"""Packages that a room never imports."""

OPENMM_IN = {"molecule", "prior", "simulation", "validation", "workflows"}
MDTRAJ_IN = {"endpoints", "output", "workflows"}

MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_used(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("tpsctl.")} - {"__version__"}


def test_every_room_is_named():
    assert set(MAY_IMPORT) | LEAVES == ROOMS


def test_the_allowed_arrows_make_no_circle():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        free = [room for room, below in MAY_IMPORT.items() if room not in order and below <= set(order)]
        assert free, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += free


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(path):
    room = room_of(path)
    if room in LEAVES | {"__init__"}:
        assert rooms_used(path) <= LEAVES, "a leaf imports only leaves"
        return
    assert rooms_used(path) <= MAY_IMPORT[room] | LEAVES | {room}
    assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_openmm_and_mdtraj_stay_at_the_border(path):
    room = room_of(path)
    anywhere = {name.split(".")[0] for name in imports(path)}
    at_import = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert "openmm" not in at_import or room == "simulation", "import openmm inside the function that needs it"
    assert "openmm" not in anywhere or room in OPENMM_IN
    assert "mdtraj" not in anywhere or room in MDTRAJ_IN


def test_the_house_stays_small():
    """A newcomer finds the right file in a minute: few files at the root, few rooms, no long file."""
    root_files = [path for path in MODULES if path.parent == PACKAGE]
    assert len(root_files) <= 12
    assert len([path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]) <= 18
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 350, f"{path}: split it"


def test_one_name_means_one_thing():
    """No two public classes of the package have the same name."""
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert not {name: where for name, where in places.items() if len(where) > 1}
