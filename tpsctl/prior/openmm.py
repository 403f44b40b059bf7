"""Any force field as a prior: score = force / kT. Paths through it are classical Onsager-Machlup paths.

Products with the Jacobian are central differences of forces. One Context per thread is made once and reused;
OpenMM computes forces without Python's lock, so threads share a batch of configurations.
"""

import copy
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.potential import require_no_noise
from tpsctl.score.base import FiniteDifferenceScore, Score
from tpsctl.units import thermal_energy


class OpenMMPrior(Prior):
    """Force over kT of a molecule, in vacuum or implicit solvent.

    Args:
        topology: All atoms of the molecule.
        force_field: XML files, e.g. ("amber99sbildn.xml",) or ("amber14-all.xml", "implicit/gbn2.xml").
        temperature_k: Temperature in force / kT, K.
        platform: OpenMM platform; Reference (double precision) is the fastest for small molecules.
        threads: Contexts working at once; None for one per core this process may use.
    """

    kind = "openmm"
    n_dims = 3
    conservative = True

    def __init__(
        self,
        topology: Topology,
        force_field: Sequence[str | Path],
        *,
        temperature_k: float,
        platform: str = "Reference",
        threads: int | None = None,
    ) -> None:
        self.topology, self.temperature_k = topology, temperature_k
        self.n_beads = topology.n_atoms
        self._kt = thermal_energy(temperature_k)
        count = threads or len(os.sched_getaffinity(0))
        system = create_system(topology, force_field)
        self._contexts = [_context(system, platform) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count)

    def at(self, t: float) -> Score:
        require_no_noise(self.kind, t)
        return FiniteDifferenceScore(lambda x: self.forces(x) / self._kt)

    def forces(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch bead 3"]:
        """Forces, kJ/mol/nm, in the precision and on the device of x; NaN where OpenMM finds none."""
        frames = np.ascontiguousarray(x.detach().cpu().double().numpy())
        result = np.full_like(frames, np.nan)

        def work(worker: int) -> None:
            context = self._contexts[worker]
            for i in range(worker, len(frames), len(self._contexts)):
                if np.isfinite(frames[i]).all():
                    context.setPositions(frames[i])
                    result[i] = context.getState(getForces=True).getForces(asNumpy=True)._value

        list(self._pool.map(work, range(len(self._contexts))))
        return torch.from_numpy(result).to(x)


def _context(system: Any, platform: str) -> Any:
    import openmm

    own = copy.deepcopy(system)
    return openmm.Context(own, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
