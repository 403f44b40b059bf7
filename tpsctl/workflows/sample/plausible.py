"""Whether energies and actions are those of a molecule, or come from a wrong unit, a clash or an absurd step."""

import math
from dataclasses import dataclass
from typing import Literal

from tpsctl.errors import TpsctlError

Severity = Literal["ok", "note", "warn", "FAIL"]
"""How bad a finding is."""


@dataclass(frozen=True)
class Finding:
    """One line of the report of `check`."""

    what: str
    verdict: Severity
    text: str


_STRAINED, _ABSURD = 100.0, 1000.0
"""Energies per atom, kJ/mol, above which a structure is strained and should be minimized, or no molecule at all."""

_LARGEST_SCORE = 1e8
"""A score above this, 1/nm, is a clash: bonds that are stretched by half their length have 1e4."""

_LARGEST_ACTION = 1e12
"""An action above this comes from a wrong unit or a wrong step: exp(-S) distinguishes nothing there."""


def energy_verdict(a: float, b: float, n_atoms: int, text: str) -> tuple[Severity, str]:
    """What the energies of both ends say of the structures.

    Args:
        a: Energy of the start, kJ/mol.
        b: Energy of the end, kJ/mol.
        n_atoms: Number of atoms.
        text: The energies in words; a remark is added to it.
    """
    if not (math.isfinite(a) and math.isfinite(b)) or max(a, b) > _ABSURD * n_atoms:
        advice = "no molecule has such an energy. Check the unit of the coordinates, clashes and the force field"
        return "FAIL", f"{text}; {advice}."
    if max(a, b) > _STRAINED * n_atoms:
        return "warn", f"{text}; an end is strained: minimize it, or look for clashes"
    return "ok", text


def score_verdict(a: float, b: float) -> tuple[Severity, str]:
    """What the largest components of the score at both ends, 1/nm, say of the prior and the structures."""
    text = f"largest component {a:.3g} at A, {b:.3g} at B (1/nm)"
    if max(a, b) > _LARGEST_SCORE:
        return "FAIL", f"{text}; no molecule has such a force. Look for clashes, and check the unit of the coordinates."
    if max(a, b) == 0:
        return "warn", f"{text}; this prior has no forces, so that nothing but the ends decides where a path runs"
    return "ok", text


def require_sensible_action(stage: str, *actions: float) -> None:
    """Raise if the action of the guess, or after a step, is not finite or absurd."""
    for value in actions:
        if not abs(value) <= _LARGEST_ACTION:
            raise TpsctlError(
                f"{stage}: the action is {value:.4g}, expected a finite number below {_LARGEST_ACTION:g}. "
                "Check action.dt_ps, the friction or diffusion coefficient, and the unit of the coordinates."
            )
