"""Which OpenMM platform is the fastest for a System here.

Small molecules in vacuum go to the Reference platform without a measurement: it is double precision, it is the
fastest at that size, and a timing on a loaded machine must not change the last digits of a result. A generalized
Born force is the exception: Reference computes it so slowly (26 atoms with GBn2: 1.7 ms, CPU 0.2 ms) that platforms
are timed whatever the size. Larger molecules are always timed.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_contexts import CPU_PLATFORMS, GPU_PLATFORMS, ContextPool, known_platform, platforms

SMALL_ATOMS = 50
"""Up to here the Reference platform is taken untimed, unless the System has a generalized Born force."""

_GPU_PAYS_ABOVE_MS = 2.0
"""A GPU's kernels take seconds to build: below this time per frame on the CPU, thousands of frames are done sooner."""

_WORTH_SINGLE_PRECISION = 2.0
"""For derivatives of forces the CPU platform must be this many times as fast as Reference to be preferred."""

_ROUNDS = 5
_GENERALIZED_BORN = ("CustomGBForce", "GBSAOBCForce", "AmoebaGeneralizedKirkwoodForce")


@dataclass(frozen=True)
class PlatformChoice:
    """A platform and why it was chosen.

    Attributes:
        name: The platform.
        milliseconds: Time per frame on each platform that was measured, all threads at work; empty if none was.
    """

    name: str
    milliseconds: dict[str, float] = field(default_factory=dict)


def choose_platform(
    wanted: str, system: Any, x: np.ndarray, *, threads: int, for_derivatives: bool = False
) -> PlatformChoice:
    """The platform that is wanted, or with "auto" the fastest here.

    Args:
        wanted: Name of a platform, or "auto".
        system: An `openmm.System`.
        x: Any sound configuration (atom, 3), nm.
        threads: CPU threads that will work at once.
        for_derivatives: Whether forces will be differentiated numerically, which wants double precision: GPUs are then
            left out, and the CPU platform must be twice as fast as Reference.

    Raises:
        ValidationError: There is no platform of that name.
    """
    if wanted != "auto":
        return PlatformChoice(known_platform(wanted))
    present = platforms()
    if system.getNumParticles() <= SMALL_ATOMS and "Reference" in present and not has_generalized_born(system):
        return PlatformChoice("Reference")
    measured = {name: _milliseconds(name, system, x) / threads for name in CPU_PLATFORMS if name in present}
    if not for_derivatives and min(measured.values()) > _GPU_PAYS_ABOVE_MS:
        for name in (name for name in GPU_PLATFORMS if name in present):
            try:
                measured[name] = _milliseconds(name, system, x)
            except ValidationError:  # a GPU platform is installed on machines without such a GPU, too
                continue
    handicap = {"CPU": _WORTH_SINGLE_PRECISION} if for_derivatives else {}
    return PlatformChoice(min(measured, key=lambda name: measured[name] * handicap.get(name, 1.0)), measured)


def has_generalized_born(system: Any) -> bool:
    """Whether the System has an implicit solvent of the generalized Born kind."""
    return any(type(force).__name__ in _GENERALIZED_BORN for force in system.getForces())


def _milliseconds(platform: str, system: Any, x: np.ndarray) -> float:
    """Least time for the energy and forces of one frame by one Context; the least is what load disturbs least."""
    pool, frame = ContextPool(system, platform=platform, threads=1), torch.from_numpy(np.array(x, float)).unsqueeze(0)
    pool.energies_and_forces(frame)
    least = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        pool.energies_and_forces(frame)
        least = min(least, time.perf_counter() - start)
    return 1000 * least
