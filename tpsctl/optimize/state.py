"""The state of a minimization as plain tensors by name, so that it can be stored, and continued bit by bit.

A state is a copy, which the next steps of the minimization do not change. It is written into the tensors of a
minimization newly begun with the same settings, on the same device or another.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import PathError

State = dict[str, Tensor]
"""Tensors by dotted name."""

BetweenSteps = Callable[[Callable[[], State]], None]
"""Called after every step with a function that returns the state; by raising it ends the minimization."""


def collect(part: Any, name: str) -> State:
    """Copies of a tensor, or of all tensors of a dataclass and the dataclasses in it, by dotted name."""
    if isinstance(part, Tensor):
        return {name: part.detach().clone(memory_format=torch.contiguous_format)}
    found: State = {}
    for field in fields(part):
        found |= collect(getattr(part, field.name), f"{name}.{field.name}")
    return found


def put_back(part: Any, state: State, name: str) -> None:
    """Write the tensors that `collect` copied back into the tensors of `part`.

    Raises:
        PathError: The state lacks a tensor, or one has another shape, as in the state of another batch or method.
    """
    if not isinstance(part, Tensor):
        for field in fields(part):
            put_back(getattr(part, field.name), state, f"{name}.{field.name}")
        return
    stored = state.get(name)
    if stored is None or stored.shape != part.shape:
        found = "nothing" if stored is None else f"shape {tuple(stored.shape)}"
        raise PathError(f"state of the optimizer: {name} is {found}, expected shape {tuple(part.shape)}. Start anew.")
    part.copy_(stored)


def within(state: State, prefix: str) -> State:
    """The entries whose names begin with `prefix`, under their names without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def named(prefix: str, state: State) -> State:
    """The entries with `prefix` and a dot before their names, so that `within(state, prefix + ".")` gives them back."""
    return {f"{prefix}.{name}": value for name, value in state.items()}
