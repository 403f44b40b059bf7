"""Any force field as a prior: score = force / kT. Its most probable paths are classical Onsager-Machlup paths.

The dense Jacobian has a closed form for the usual force fields and their implicit solvents (`molecule.curvature`), and
central differences of forces for what else a System may contain. Products with the Jacobian are central differences of
forces, too: two forces are cheaper than a closed form. Displacements suit the precision of the platform: OpenMM's CPU
platform, which is used if it is several times as fast (implicit solvent), has nonbonded forces in single precision.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.curvature import Curvature, difference_step_nm
from tpsctl.molecule.energy_protocol import EnergyProtocol
from tpsctl.molecule.openmm_contexts import ContextPool, available_threads
from tpsctl.molecule.openmm_platforms import choose_platform
from tpsctl.molecule.openmm_system import ForceField, as_source
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.potential import require_no_noise
from tpsctl.score.base import FiniteDifferenceScore, Score
from tpsctl.units import thermal_energy


class ForceFieldScore(FiniteDifferenceScore):
    """Forces over kT, with the Jacobian from the second derivatives of the energy.

    Args:
        score_fn: Forces over kT of a batch (batch, atom, 3), nm -> 1/nm.
        curvature: Second derivatives of the energy.
        kt: Thermal energy kT, kJ/mol.
        step_nm: Largest displacement of a coordinate in the difference for a product, nm.
    """

    def __init__(
        self, score_fn: Callable[[Tensor], Tensor], curvature: Curvature, *, kt: float, step_nm: float
    ) -> None:
        super().__init__(score_fn, step_nm=step_nm)
        self._curvature, self._kt = curvature, kt

    def jacobian(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch n n"]:
        return self._curvature.hessian(x) / -self._kt


class OpenMMPrior(Prior):
    """A force field as a prior, in vacuum or implicit solvent: the score is force / kT.

    Args:
        topology: The molecule, its atoms in the order of the force field's System.
        force_field: Source of the System, or XML files, e.g. ("amber14-all.xml", "implicit/gbn2.xml").
        temperature_k: Temperature in force / kT, K.
        reference: Any sound structure of the molecule, nm. It is used only to time platforms, so "auto" needs it.
        platform: OpenMM platform; "auto" chooses Reference unless the CPU platform is much faster on this machine.
        threads: Contexts that compute at the same time; None for one per core that this process may use.
        gpu: Number of the GPU on a GPU platform; None for OpenMM's own choice.

    Attributes:
        made: The System with its masses, solvent and notes.
        pool: The OpenMM Contexts of the System.
        protocol: Force field, platform and precision, for summaries.
        masses_amu: Masses of the System's particles, amu.
        milliseconds: Time per frame on each platform that "auto" measured; empty if it measured none.

    Raises:
        ValidationError: The force field is unusable or does not fit the molecule, or there is no such platform.
    """

    kind = "openmm"
    n_dims = 3
    conservative = True

    def __init__(
        self,
        topology: Topology,
        force_field: ForceField,
        *,
        temperature_k: float,
        reference: Float[Tensor, "bead 3"] | None = None,
        platform: str = "Reference",
        threads: int | None = None,
        gpu: int | None = None,
    ) -> None:
        self.temperature_k, self.n_beads = temperature_k, topology.n_atoms
        self._kt = thermal_energy(temperature_k)
        self.made = as_source(force_field).create(topology)
        self.topology, self.masses_amu = self.made.with_masses(topology), self.made.masses_amu
        threads = threads or available_threads()
        if platform == "auto":
            if reference is None:
                raise ValueError('platform="auto" times platforms with a structure: give reference')
            frame = reference.detach().cpu().double().numpy()
            choice = choose_platform(platform, self.made.system, frame, threads=threads, for_derivatives=True)
            platform, self.milliseconds = choice.name, choice.milliseconds
        else:
            self.milliseconds = {}
        self.pool = ContextPool(self.made.system, platform=platform, threads=threads, precision="double", gpu=gpu)
        self._curvature = Curvature(self.made.system, platform=platform, threads=threads, gpu=gpu)
        self.protocol = EnergyProtocol.of(self.made, self.pool)

    def at(self, t: float) -> Score:
        require_no_noise(self.kind, t)
        step_nm = difference_step_nm(self.pool.precision)
        return ForceFieldScore(lambda x: self.forces(x) / self._kt, self._curvature, kt=self._kt, step_nm=step_nm)

    def log_density(self, x: Tensor, t: float) -> Tensor:
        require_no_noise(self.kind, t)
        return -self.pool.energies(x).to(x) / self._kt

    def forces(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch bead 3"]:
        """Forces at x (nm), kJ/mol/nm, in the precision and on the device of x; NaN where none is finite."""
        return self.pool.forces(x).to(x)
