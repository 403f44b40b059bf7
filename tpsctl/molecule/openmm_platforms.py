"""Choose the OpenMM platform that is the fastest for a System on this machine.

Small molecules in vacuum use the Reference platform without a measurement: it has double precision, it is the fastest
at that size, and a timing on a loaded machine must not change the last digits of a result. Molecules with a
generalized Born force are the exception: Reference computes it so slowly (1.7 ms for 26 atoms with GBn2; CPU platform:
0.2 ms) that platforms are timed at any size. For larger molecules the platforms are always timed.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_contexts import CPU_PLATFORMS, GPU_PLATFORMS, ContextPool, known_platform, platforms

SMALL_ATOMS = 50
"""Up to this number of atoms the Reference platform is used untimed, except with a generalized Born force."""

_GPU_PAYS_ABOVE_MS = 2.0
"""GPUs are not tried if the CPU needs less than this time per frame: building a GPU's kernels takes seconds, in which
the CPU has finished thousands of frames."""

_WORTH_SINGLE_PRECISION = 2.0
"""For derivatives of forces the CPU platform must be this many times as fast as Reference to be preferred."""

_ROUNDS = 5
_GENERALIZED_BORN = ("CustomGBForce", "GBSAOBCForce", "AmoebaGeneralizedKirkwoodForce")


@dataclass(frozen=True)
class PlatformChoice:
    """A platform and why it was chosen.

    Attributes:
        name: The platform.
        milliseconds: Time per frame on each platform that was timed, with all threads in use; empty if none was timed.
    """

    name: str
    milliseconds: dict[str, float] = field(default_factory=dict)


def choose_platform(
    wanted: str, system: Any, x: np.ndarray, *, threads: int, for_derivatives: bool = False
) -> PlatformChoice:
    """Choose the platform: the wanted one, or with "auto" the fastest on this machine.

    Args:
        wanted: Name of a platform, or "auto".
        system: An `openmm.System`.
        x: Any sound configuration (atom, 3), nm; it is used to time the platforms.
        threads: CPU threads that will be used at the same time.
        for_derivatives: Whether forces will be differentiated numerically, which needs double precision: GPUs are then
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
    """Shortest time of one Context for the energy and forces of one frame, ms.

    The shortest of several times is used because other load on the machine changes it least.
    """
    pool, frame = ContextPool(system, platform=platform, threads=1), torch.from_numpy(np.array(x, float)).unsqueeze(0)
    pool.energies_and_forces(frame)
    least = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        pool.energies_and_forces(frame)
        least = min(least, time.perf_counter() - start)
    return 1000 * least
