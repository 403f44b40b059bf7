"""Every name that the code uses is defined: shapes in strings keep linters from seeing this."""

import builtins
import symtable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for folder in ("tpsctl", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
GIVEN = set(dir(builtins)) | {"__file__", "__name__", "__doc__"}


def undefined(table: symtable.SymbolTable, known: set[str]) -> set[str]:
    """Global names that a scope or one inside it refers to and that the module does not define.

    What a scope binds itself is not global there, although `symtable` says so of a function that is called "top".
    """
    symbols = [symbol for symbol in table.get_symbols() if symbol.is_referenced() and symbol.is_global()]
    used = {symbol.get_name() for symbol in symbols if not (symbol.is_parameter() or symbol.is_assigned())}
    return (used - known).union(*(undefined(child, known) for child in table.get_children()))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_global_name_is_defined(path):
    table = symtable.symtable(path.read_text(), str(path), "exec")
    known = GIVEN | {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    known |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_namespace()}
    assert not undefined(table, known)


def test_an_undefined_name_is_found():
    table = symtable.symtable("import os\ndef f():\n    return os.getcwd() + missing\n", "example", "exec")
    assert undefined(table, GIVEN | {"os", "f"}) == {"missing"}
