"""The diffusion time at which a generative prior speaks of the landscape, where neither recipe nor checkpoint names it.

A model learns little at noise widths far below the spread of its data, so its scores there are erratic; at large ones
they are those of a smoothed landscape. What a path needs are the forces along torsions. They are compared on the ends
and on structures whose torsions are turned by random waves of 8 degrees from them, where they do not vanish:

* with the force field of validation.energy, where there is one: the smallest time whose torques agree with its torques
  as well as those of any time, within 0.02 of R^2 = 1 - sum |difference|^2 / sum |reference|^2;
* else with the prior itself: the finer one of the first two neighboring times of the list whose torques agree.

Beads without rotatable bonds, and points of a model potential, are compared by all components of their scores.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.guess.torsion import TorsionGuess
from tpsctl.prior.base import Prior
from tpsctl.training.targets import internal_rotations
from tpsctl.workflows.sample.assemble.system import System

TIMES = (0.01, 0.02, 0.035, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5)
"""The times that are compared; those at which the prior has no score are left out."""

_ALIKE, _AS_GOOD = 0.9, 0.02
_TURN_DEG, _STRUCTURES = 8.0, 10
_SHAKE_NM = 0.002
"""Random displacement of beads that no torsion describes."""

ForcesOverKt = Callable[[Tensor], Tensor]
"""Structures (frame, bead, 3), nm, to forces over kT, 1/nm."""


def usable_times(prior: Prior) -> list[float]:
    """Those of `TIMES` at which the prior has a score.

    Raises:
        PriorError: It has none at any of them.
    """
    found = []
    for t in TIMES:
        try:
            prior.at(t)
        except PriorError:
            continue
        found.append(t)
    if not found:
        raise PriorError(f"prior.diffusion_time: the prior has a score at none of {TIMES}. Give a diffusion_time.")
    return found


def measured(
    prior: Prior,
    score_at: Callable[[float], Callable[[Tensor], Tensor]],
    system: System,
    device: torch.device,
    forces: ForcesOverKt | None,
) -> tuple[float, str]:
    """The diffusion time to use, and the reason for it in words.

    Args:
        prior: The prior in the order of the ends.
        score_at: The score at a diffusion time, in the precision of the recipe.
        system: The two ends.
        device: Device of the prior.
        forces: Forces over kT of the force field that judges the paths; None if there is none.

    Raises:
        PriorError: The prior has no finite score at any of the times that are compared.
    """
    x = displaced(system)
    project = _torques(system, x)
    times = usable_times(prior)
    scores = {t: project(score_at(t)(x.to(device)).cpu()) for t in times}
    if forces is not None:
        agreement = {t: _r2(scores[t], project(forces(x))) for t in times}
        return _as_good_as_any(agreement)
    neighbors = {a: _r2(scores[b], scores[a]) for a, b in zip(times, times[1:], strict=False)}
    return _first_alike(neighbors, times)


def _as_good_as_any(agreement: dict[float, float]) -> tuple[float, str]:
    best = max(agreement.values())
    if best == -torch.inf:
        raise PriorError("prior.diffusion_time: the prior's scores at the ends are not finite. Check the checkpoint.")
    t = min(t for t, value in agreement.items() if value >= best - _AS_GOOD)
    return t, f"the smallest time at which its torques agree best with the force field's (R^2 {agreement[t]:.2f})"


def _first_alike(neighbors: dict[float, float], times: list[float]) -> tuple[float, str]:
    if not neighbors:
        return times[0], "the only time at which this prior has a score"
    alike = [t for t, value in neighbors.items() if value >= _ALIKE]
    if alike:
        t = min(alike)
        return t, f"the smallest time whose scores agree with those of the next larger one (R^2 {neighbors[t]:.2f})"
    t = max(neighbors, key=lambda t: neighbors[t])
    return t, f"no two neighboring times agree; those of this one agree best (R^2 {neighbors[t]:.2f}), which is poor"


def displaced(system: System) -> Float[Tensor, "frame bead dim"]:
    """The ends, and structures near them, nm; the same in every process."""
    ends, seed = system.ends, torch.Generator().manual_seed(0)
    if not system.is_molecule:
        places = torch.linspace(0, 1, _STRUCTURES, dtype=ends.dtype).view(-1, 1, 1)
        return (1 - places) * ends[0] + places * ends[1]
    if not system.topology.rotatable_bonds:
        noise = torch.randn(2, _STRUCTURES, *ends.shape[1:], generator=seed, dtype=ends.dtype)
        return torch.cat((ends, (ends.unsqueeze(1) + _SHAKE_NM * noise).flatten(0, 1)))
    guess = TorsionGuess(system.topology, spread_deg=_TURN_DEG)
    turned = [guess.draw(end.expand(2, -1, -1), _STRUCTURES, [seed])[0, 1:-1] for end in ends]
    return torch.cat((ends, *turned))


def _torques(system: System, x: Tensor) -> Callable[[Tensor], Tensor]:
    """The map from scores at x to torques about rotatable bonds, or to themselves where there are none."""
    if not system.is_molecule or not system.topology.rotatable_bonds:
        return lambda score: score.flatten(1)
    rotations = internal_rotations(system.topology)(x)
    return lambda score: (rotations * score.to(x).unsqueeze(1)).sum((2, 3))


def _r2(found: Tensor, reference: Tensor) -> float:
    """1 - sum |difference|^2 / sum |reference|^2 over the frames in which both are finite; -inf if there are none."""
    usable = (found.isfinite() & reference.isfinite()).all(1)
    if not bool(usable.any()):
        return -torch.inf
    found, reference = found[usable], reference[usable]
    size = reference.square().sum().clamp_min(torch.finfo(reference.dtype).tiny)
    return float(1 - (found - reference).square().sum() / size)
