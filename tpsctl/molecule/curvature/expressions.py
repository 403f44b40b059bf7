"""Formulas as OpenMM's custom forces have them, as functions of torch tensors.

    "a*exp(-r/b); b = c + 0.1"        definitions follow the formula, and may use one another

The syntax is Python's but for ^, the power. A formula is read by Python's parser, and only numbers, names, arithmetic
and the functions listed here are taken from it, so nothing in it is ever run.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tpsctl.molecule.curvature.base import UnknownForm

_PREFIX = "v_"

Value = Tensor | float
Formula = Callable[[Mapping[str, Value]], Value]
"""From values by name to the value of a formula."""


def _tensor(value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _select(condition: Value, value: Value, otherwise: Value) -> Tensor:
    return torch.where(_tensor(condition) != 0, _tensor(value), _tensor(otherwise))


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "sqrt": lambda a: _tensor(a).sqrt(),
    "exp": lambda a: _tensor(a).exp(),
    "log": lambda a: _tensor(a).log(),
    "sin": lambda a: _tensor(a).sin(),
    "cos": lambda a: _tensor(a).cos(),
    "tanh": lambda a: _tensor(a).tanh(),
    "erf": lambda a: _tensor(a).erf(),
    "erfc": lambda a: _tensor(a).erfc(),
    "abs": lambda a: _select(_tensor(a) >= 0, a, -a),  # torch's own has a second derivative that first imports sympy
    "min": lambda a, b: torch.minimum(_tensor(a), _tensor(b)),
    "max": lambda a, b: torch.maximum(_tensor(a), _tensor(b)),
    "step": lambda a: (_tensor(a) >= 0).to(torch.float64),
    "select": _select,
}


def formula_of(text: str, tables: Mapping[str, Callable[..., Tensor]] | None = None) -> Formula:
    """Read a formula.

    Args:
        text: The formula, followed by definitions that are set apart by semicolons.
        tables: Further functions by name.

    Raises:
        UnknownForm: It has a function or an operation that is not known here.
    """
    head, *rest = (part.strip() for part in text.split(";") if part.strip())
    functions = {**_FUNCTIONS, **(tables or {})}
    defined = {name.strip(): _parsed(body) for name, _, body in (part.partition("=") for part in rest)}
    formula = _parsed(head)
    for node in (formula, *defined.values()):
        _require_known(node, functions)

    def value(given: Mapping[str, Value]) -> Value:
        found: dict[str, Value] = dict(given)

        def of(node: ast.expr) -> Value:
            match node:
                case ast.Constant():
                    return float(node.value)  # type: ignore[arg-type]
                case ast.Name():
                    name = _name(node)
                    if name not in found and name in defined:
                        found[name] = of(defined[name])
                    return found[name]
                case ast.UnaryOp():
                    return -of(node.operand) if isinstance(node.op, ast.USub) else of(node.operand)
                case ast.BinOp():
                    return _OPERATORS[type(node.op)](of(node.left), of(node.right))
                case _:
                    assert isinstance(node, ast.Call)
                    assert isinstance(node.func, ast.Name)
                    return functions[_name(node.func)](*map(of, node.args))

        return of(formula)

    return value


def _parsed(text: str) -> ast.expr:
    """Parse a formula; its names get a prefix, because some are words of Python ("or", the radius of an atom)."""
    words = re.sub(r"(?<![\w.])(?=[A-Za-z_])", _PREFIX, text.strip()).replace("^", "**")
    try:
        return ast.parse(words, mode="eval").body
    except SyntaxError as error:
        raise UnknownForm(text) from error


def _require_known(formula: ast.expr, functions: Mapping[str, Any]) -> None:
    for node in ast.walk(formula):
        known = isinstance(node, ast.Name | ast.Load | ast.operator | ast.unaryop) or (
            (isinstance(node, ast.Constant) and isinstance(node.value, int | float))
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd))
            or (isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS)
            or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and _name(node.func) in functions)
        )
        if not known:
            raise UnknownForm(ast.unparse(formula))


def _name(node: ast.Name) -> str:
    return node.id.removeprefix(_PREFIX)
