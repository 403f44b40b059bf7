"""OpenMM energies of every image of every path, raw and after a short restrained minimization.

    E(x)                                        raw energy, kJ/mol
    x' = argmin_y  E(y) + k/2 sum_a |y_a - x_a|^2       over all atoms a
    E(x'),  |x' - x|_rms                        minimized energy without the restraint's own, displacement in nm

The restraint must hold slow motions, whose energy belongs to the path, and leave stiff motions free, whose strain only
reflects a model's imprecision. k = 1e4 kJ/mol/nm^2 does so for a peptide, as was measured on the minimum-energy path of
alanine dipeptide, whose top is at 36.5 kJ/mol. After minimization the top is still at 36.5; if all atoms are displaced
at random by 0.002 or 0.004 nm (94 or 303 kJ/mol raw), it is at 36.6 or 36.7. With k below 3e3 images slide off the
saddle (32 kJ/mol); with k = 3e4 strain remains (38.5 instead of 303). If only heavy atoms are restrained, methyl groups
spin and minimization takes four times longer; if torsions are restrained instead, the top is at 39. Both ends are
minimized in the same way, and a barrier is a difference of energies of one kind, raw or minimized.

A pool of OpenMM Contexts serves all frames; a second pool, with the restraint, is made when it is first needed.
"""

import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.molecule.energy_protocol import EnergyProtocol
from tpsctl.molecule.openmm_contexts import ContextPool, available_threads
from tpsctl.molecule.openmm_platforms import choose_platform
from tpsctl.molecule.openmm_system import ForceField, as_source
from tpsctl.molecule.topology import Topology


@dataclass(frozen=True)
class Restraint:
    """Settings of a restrained minimization.

    Attributes:
        strength_kj_per_mol_nm2: k in kJ/mol/nm^2, on every atom.
        tolerance_kj_per_mol_nm: Root-mean-square force at which minimization stops, kJ/mol/nm.
        max_steps: Most L-BFGS iterations per frame.
    """

    strength_kj_per_mol_nm2: float = 10_000.0
    tolerance_kj_per_mol_nm: float = 1.0
    max_steps: int = 500


@dataclass(frozen=True)
class Minimized:
    """Frames after restrained minimization.

    Attributes:
        x: Minimized positions, nm; the given positions where minimization was impossible.
        energy: Energy without the restraint's own, kJ/mol; NaN where minimization was impossible.
        displacement_nm: Root-mean-square displacement of all atoms, nm; NaN where minimization was impossible.
    """

    x: Float[Tensor, "frame bead 3"]
    energy: Float[Tensor, " frame"]
    displacement_nm: Float[Tensor, " frame"]


@dataclass(frozen=True)
class Profile:
    """Energies of one kind (raw or minimized) along a batch of paths, and the barriers that follow from them.

    The energy of an image is NaN where it is unknown; the barriers of its path are then unknown (NaN) as well.

    Attributes:
        energy: Energy of every image, kJ/mol.
    """

    energy: Float[Tensor, "path image"]

    @property
    def above_start(self) -> Float[Tensor, "path image"]:
        """E - E(A), kJ/mol."""
        return self.energy - self.energy[:, :1]

    @property
    def above_end(self) -> Float[Tensor, "path image"]:
        """E - E(B), kJ/mol."""
        return self.energy - self.energy[:, -1:]

    @property
    def highest_image(self) -> Int[Tensor, " path"]:
        """Index of the image with the highest known energy; 0 if no energy is known."""
        return self.energy.nan_to_num(nan=-torch.inf, posinf=torch.inf).argmax(1)

    @property
    def barrier_forward(self) -> Float[Tensor, " path"]:
        """Highest E - E(A), kJ/mol: the barrier from A to B on this path."""
        return self.above_start.amax(1)

    @property
    def barrier_backward(self) -> Float[Tensor, " path"]:
        """Highest E - E(B), kJ/mol: the barrier from B to A on this path."""
        return self.above_end.amax(1)


@dataclass(frozen=True)
class PathEnergies:
    """Energies of a batch of paths and the protocol that gave them.

    Attributes:
        raw: Energies of the images as they are.
        minimized: Energies after restrained minimization; None if there was none.
        displacement_nm: Root-mean-square displacement of each image by minimization, nm; None if there was none.
        restraint: Settings of the restrained minimization; None if there was none.
        protocol: Force field and platform that gave the energies.
    """

    raw: Profile
    minimized: Profile | None
    displacement_nm: Float[Tensor, "path image"] | None
    restraint: Restraint | None
    protocol: EnergyProtocol


def path_energies(
    model: "EnergyModel", paths: Float[Tensor, "path image bead 3"], restraint: Restraint | None
) -> PathEnergies:
    """Compute the energies of all images, raw and, if a restraint is given, minimized; no image is left out.

    Args:
        model: The force field.
        paths: All images, nm.
        restraint: Settings of the restrained minimization; None for raw energies only.
    """
    shape = paths.shape[:2]
    frames = paths.flatten(0, 1)
    raw = Profile(model.energies(frames).reshape(shape))
    if restraint is None:
        return PathEnergies(raw, None, None, None, model.protocol)
    relaxed = model.minimize(frames, restraint)
    return PathEnergies(
        raw=raw,
        minimized=Profile(relaxed.energy.reshape(shape)),
        displacement_nm=relaxed.displacement_nm.reshape(shape),
        restraint=restraint,
        protocol=model.protocol,
    )


class EnergyModel:
    """A molecule's force field, ready to give energies of many frames.

    Args:
        topology: The molecule, its atoms in the order of the force field's System.
        force_field: Source of the OpenMM System, or XML files, e.g. ("amber14-all.xml", "implicit/gbn2.xml").
        reference: Any sound structure of the molecule, nm, which is only used to time platforms.
        platform: OpenMM platform, or "auto" for the one measured to be the fastest per frame on this machine.
        threads: CPU threads to use; None for all that this process may use.
        gpu: Number of the GPU to use if the platform is one for GPUs; None for OpenMM's own choice.

    Attributes:
        made: The OpenMM System with its description.
        pool: The Contexts of the System on the platform in use.
        protocol: Force field and platform that give the energies.
        milliseconds: Measured time per frame on each platform tried by "auto"; empty otherwise.

    Raises:
        ValidationError: The platform or a file is unknown, or the force field does not fit the molecule.
    """

    def __init__(
        self,
        topology: Topology,
        force_field: ForceField,
        reference: Float[Tensor, "bead 3"],
        *,
        platform: str = "auto",
        threads: int | None = None,
        gpu: int | None = None,
    ) -> None:
        self.made = as_source(force_field).create(topology)
        self.threads, self._gpu = threads or available_threads(), gpu
        frame = reference.detach().cpu().double().numpy()
        choice = choose_platform(platform, self.made.system, frame, threads=self.threads)
        self.milliseconds = choice.milliseconds
        self.pool = ContextPool(self.made.system, platform=choice.name, threads=self.threads, gpu=gpu)
        self.protocol = EnergyProtocol.of(self.made, self.pool)

    @property
    def platform(self) -> str:
        """Name of the platform in use."""
        return self.pool.platform

    def energies(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, " frame"]:
        """Potential energies, kJ/mol; NaN for a frame with a non-finite coordinate or no finite energy."""
        return self.pool.energies(x)

    def forces(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame bead 3"]:
        """Forces, kJ/mol/nm; NaN for a frame with a non-finite coordinate."""
        return self.pool.forces(x)

    def minimize(self, x: Float[Tensor, "frame bead 3"], restraint: Restraint) -> Minimized:
        """Minimize each frame (nm) with all its atoms restrained to their given positions."""
        before = x.detach().cpu().double()
        task = partial(_minimize, restraint)
        after = torch.from_numpy(self._restrained.map(before, task, (self.pool.n_atoms, 3)))
        failed = after.isnan().flatten(1).any(1)
        return Minimized(
            x=torch.where(failed[:, None, None], before, after),
            energy=self.energies(after),
            displacement_nm=(after - before).square().sum(-1).mean(-1).sqrt(),
        )

    @cached_property
    def _restrained(self) -> ContextPool:
        """Contexts of the System with the restraint as its last force."""
        import openmm

        force = openmm.CustomExternalForce("restraint/2*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        force.addGlobalParameter("restraint", 0.0)
        for axis in ("x0", "y0", "z0"):
            force.addPerParticleParameter(axis)
        for atom in range(self.pool.n_atoms):
            force.addParticle(atom, (0.0, 0.0, 0.0))
        system = copy.deepcopy(self.made.system)
        system.addForce(force)
        return ContextPool(system, platform=self.pool.platform, threads=self.threads, gpu=self._gpu)


def _minimize(restraint: Restraint, context: Any, x: np.ndarray, row: np.ndarray) -> None:
    """Write minimized positions to `row`, which stays NaN if OpenMM finds no finite energy at the start."""
    import openmm

    system = context.getSystem()
    force = system.getForce(system.getNumForces() - 1)
    for atom, center in enumerate(x):
        force.setParticleParameters(atom, atom, center)
    force.updateParametersInContext(context)
    context.setParameter("restraint", restraint.strength_kj_per_mol_nm2)
    context.setPositions(x)
    try:
        openmm.LocalEnergyMinimizer.minimize(context, restraint.tolerance_kj_per_mol_nm, restraint.max_steps)
    except openmm.OpenMMException:
        return
    row[0] = context.getState(positions=True).getPositions(asNumpy=True)._value
