"""Imports point one way: cli -> commands -> sampling -> stages -> leaves; heavy packages only where they belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tpsctl"
LEAVES = {"errors", "forcefield", "geometry", "potentials", "schedule", "score", "symmetry", "topology", "units"}
ABOVE = {"training": {"prior", "data"}, "optimize": {"action"}}  # trains priors on data, minimizes actions
STAGES = {"action", "data", "endpoints", "guess", "optimize", "output", "prior", "slurm", "training", "validation"}
FORBIDDEN_IN_STAGES = {"typer", "rich", "pydantic", "yaml"}
OPENMM_LAZY_IN = {"data", "forcefield", "prior", "validation"}
MDTRAJ_IN = {"endpoints", "output", "data"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def area(module: str) -> str:
    """First name below tpsctl: "tpsctl.prior.base" -> "prior"; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


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


def own_area(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def ours(path: Path) -> set[str]:
    return {area(name) for name in imports(path) if name.startswith("tpsctl.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_stages_import_only_themselves_and_leaves(path):
    me, used = own_area(path), ours(path) - {"__version__"}
    if me in LEAVES:
        assert used <= LEAVES, "a leaf imports only leaves"
    elif me in STAGES:
        assert used <= LEAVES | {me} | ABOVE.get(me, set()), "a stage imports only itself and leaves"
        assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_STAGES
    elif me == "recipe":
        assert used <= {"recipe", "errors"}, "recipes are plain data"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_openmm_and_mdtraj_stay_at_the_border(path):
    me = own_area(path)
    anywhere = {name.split(".")[0] for name in imports(path)}
    at_import = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert "openmm" not in at_import or me == "data", "import openmm inside the function that needs it"
    assert "openmm" not in anywhere or me in OPENMM_LAZY_IN | {"doctor"}
    assert "mdtraj" not in anywhere or me in MDTRAJ_IN


@pytest.mark.parametrize(("above", "by"), [("cli", {"__main__"}), ("commands", {"cli"})])
def test_nothing_below_imports_what_is_above(above, by):
    for path in MODULES:
        if own_area(path) not in {above, *by}:
            assert above not in ours(path), path
