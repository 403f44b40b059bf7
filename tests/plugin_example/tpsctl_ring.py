"""A point in the plane, held near a circle: U = k/2 (|x| - r)^2. Paths between opposite ends go round."""

from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.score.base import AutogradScore, Score
from tpsctl.units import thermal_energy


class Ring(Prior):
    """score = -grad U / kT."""

    kind = "ring"
    n_beads, n_dims = 1, 2
    conservative = True

    def __init__(self, *, radius_nm: float, stiffness: float, temperature_k: float) -> None:
        self.temperature_k = temperature_k
        self._radius_nm, self._stiffness = radius_nm, stiffness

    def at(self, t: float) -> Score:
        if t != 0:
            raise PriorError(f"diffusion_time: got {t}, a ring has none. Use 0.")
        return AutogradScore(self._score)

    def _score(self, x: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return -self._stiffness / thermal_energy(self.temperature_k or 0) * (distance - self._radius_nm) * x / distance


def make(options: dict[str, Any], topology: Topology | None) -> Ring:
    """What the entry point names."""
    if topology is not None:
        raise PriorError('prior "ring" is a model potential: give endpoints as position_nm.')
    unknown = set(options) - {"radius_nm", "stiffness", "temperature_k"}
    if unknown:
        raise PriorError(
            f"prior.options: unknown key {sorted(unknown)[0]}. Allowed: radius_nm, stiffness, temperature_k."
        )
    return Ring(**{"radius_nm": 1.0, "stiffness": 100.0, "temperature_k": 300.0, **options})
