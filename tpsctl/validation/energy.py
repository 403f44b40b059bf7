"""OpenMM energies of every image of every path, raw and after a short restrained minimization.

    E(x)                                        raw energy, kJ/mol
    x' = argmin_y  E(y) + k/2 sum_a |y_a - x_a|^2       over all atoms a
    E(x'),  |x' - x|_rms                        minimized energy without the restraint's own, displacement in nm

The restraint must hold slow motions, along which a path is meant to have energy, and free the stiff ones, whose
strain is a model's imprecision. k = 1e4 kJ/mol/nm^2 does so for a peptide. Measured on the minimum-energy path of
alanine dipeptide, whose top is 36.5 kJ/mol: it stays 36.5 after minimization; with random displacements of 0.002
and 0.004 nm (94 and 303 kJ/mol raw) it becomes 36.6 and 36.7. Below k = 3e3 images slide off the saddle (32);
at 3e4 strain stays (38.5 from 303). Restraining heavy atoms only lets methyl groups spin and takes four times
longer; restraining torsions instead leaves 39. Both ends are minimized in the same way, and barriers are
differences within one column.

One Context per thread serves all frames. OpenMM's Reference platform does one frame per thread at a
time (energies and the minimizer release Python's lock); other platforms have threads or a GPU of their own.
"""

import copy
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.topology import Topology

_CPU_PLATFORMS = ("Reference", "CPU")
_SMALL_ATOMS = 50
"""Up to here Reference is taken untimed: a timing on a loaded machine must not change the last digits of a result."""
_GPU_PLATFORMS = ("CUDA", "HIP", "OpenCL")
_GPU_PAYS_ABOVE_MS = 2.0
"""A GPU's kernels take seconds to build: below this time per frame on the CPU, thousands of frames are done sooner."""


@dataclass(frozen=True)
class Restraint:
    """How a restrained minimization is done.

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
        x: Positions, nm; those given where minimization was impossible.
        energy: kJ/mol without the restraint's energy; NaN where minimization was impossible.
        displacement_nm: Root-mean-square displacement of all atoms, nm; NaN likewise.
    """

    x: Float[Tensor, "frame bead 3"]
    energy: Float[Tensor, " frame"]
    displacement_nm: Float[Tensor, " frame"]


@dataclass(frozen=True)
class Profile:
    """Energies along paths of one kind (raw or minimized), with what follows from them.

    An image without an energy is NaN, and so is then the highest energy of its path: unknown, not absent.
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
        """Index of the highest image with an energy; 0 if no image has one."""
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
        minimized: Energies after restrained minimization; None if not asked for.
        displacement_nm: How far minimization moved each image, (path, image); None likewise.
        restraint: The restraint; None likewise.
        force_field: XML files.
        platform: OpenMM platform used.
    """

    raw: Profile
    minimized: Profile | None
    displacement_nm: Float[Tensor, "path image"] | None
    restraint: Restraint | None
    force_field: tuple[str, ...]
    platform: str


def path_energies(
    model: "EnergyModel", paths: Float[Tensor, "path image bead 3"], restraint: Restraint | None
) -> PathEnergies:
    """Energies of all images, raw and, if a restraint is given, minimized; no image is left out."""
    shape = paths.shape[:2]
    frames = paths.flatten(0, 1)
    raw = Profile(model.energies(frames).reshape(shape))
    if restraint is None:
        return PathEnergies(raw, None, None, None, model.force_field, model.platform)
    relaxed = model.minimize(frames, restraint)
    return PathEnergies(
        raw=raw,
        minimized=Profile(relaxed.energy.reshape(shape)),
        displacement_nm=relaxed.displacement_nm.reshape(shape),
        restraint=restraint,
        force_field=model.force_field,
        platform=model.platform,
    )


class EnergyModel:
    """A molecule's force field, ready to give energies of many frames.

    Args:
        topology: All atoms of the molecule.
        force_field: XML files, e.g. ("amber99sbildn.xml",) or ("amber14-all.xml", "implicit/gbn2.xml").
        reference: Any sound structure of the molecule, nm; only used to time platforms.
        platform: OpenMM platform, or "auto": the fastest per frame here, as measured.
        threads: CPU threads to use; None for all that this process may use.

    Attributes:
        platform: The platform in use.
        milliseconds: Measured time per frame on each platform tried by "auto"; empty otherwise.

    Raises:
        ValidationError: Unknown platform or file, or a residue without a template.
    """

    def __init__(
        self,
        topology: Topology,
        force_field: Sequence[str | Path],
        reference: Float[Tensor, "bead 3"],
        *,
        platform: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.force_field = tuple(str(name) for name in force_field)
        self.threads = threads if threads is not None else len(os.sched_getaffinity(0))
        self._n_atoms = topology.n_atoms
        self._system = create_system(topology, force_field)
        self.milliseconds: dict[str, float] = {}
        self.platform = self._fastest(_array(reference[None])) if platform == "auto" else _known_platform(platform)
        self._workers = self._make_workers(self.platform)

    def energies(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, " frame"]:
        """Potential energies, kJ/mol; NaN for a frame with a non-finite coordinate or no finite energy."""
        return torch.from_numpy(self._map(x, lambda worker, frame: worker.energy(frame), ()))

    def forces(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame bead 3"]:
        """Forces, kJ/mol/nm; NaN for a frame with a non-finite coordinate."""
        return torch.from_numpy(self._map(x, lambda worker, frame: worker.forces(frame), (self._n_atoms, 3)))

    def minimize(self, x: Float[Tensor, "frame bead 3"], restraint: Restraint) -> Minimized:
        """Each frame minimized with its atoms restrained to where they are."""
        before = torch.from_numpy(_array(x))
        after = torch.from_numpy(
            self._map(x, lambda worker, frame: worker.minimized(frame, restraint), (self._n_atoms, 3))
        )
        failed = after.isnan().flatten(1).any(1)
        return Minimized(
            x=torch.where(failed[:, None, None], before, after),
            energy=self.energies(after),
            displacement_nm=(after - before).square().sum(-1).mean(-1).sqrt(),
        )

    def _map(self, x: Tensor, task: Callable[["_Worker", np.ndarray], Any], shape: tuple[int, ...]) -> np.ndarray:
        """`task` for every finite frame, frames dealt out to the workers; NaN elsewhere."""
        frames = _array(x)
        self._require_shape(frames)
        result = np.full((len(frames), *shape), np.nan)
        finite = np.flatnonzero(np.isfinite(frames).all((1, 2)))

        def work(k: int) -> None:
            for i in finite[k :: len(self._workers)]:
                result[i] = task(self._workers[k], frames[i])

        with ThreadPoolExecutor(len(self._workers)) as pool:
            list(pool.map(work, range(len(self._workers))))
        result[~np.isfinite(result)] = np.nan
        return result

    def _require_shape(self, frames: np.ndarray) -> None:
        if frames.ndim != 3 or frames.shape[1:] != (self._n_atoms, 3):
            raise ValidationError(
                f"energies: got frames of shape {frames.shape}, expected (frames, {self._n_atoms}, 3)."
            )

    def _fastest(self, reference: np.ndarray) -> str:
        """The platform with the least time per frame, all threads at work; GPUs are tried for big molecules only."""
        present = _platforms()
        if self._n_atoms <= _SMALL_ATOMS and "Reference" in present:
            return "Reference"
        for name in _CPU_PLATFORMS:
            if name in present:
                self.milliseconds[name] = self._time(name, reference)
        if min(self.milliseconds.values()) > _GPU_PAYS_ABOVE_MS:
            for name in (name for name in _GPU_PLATFORMS if name in present):
                try:
                    self.milliseconds[name] = self._time(name, reference)
                except ValidationError:  # a GPU platform is installed on machines without such a GPU, too
                    continue
        return min(self.milliseconds, key=lambda name: self.milliseconds[name])

    def _time(self, platform: str, reference: np.ndarray) -> float:
        worker = _Worker(self._system, platform, self.threads)
        worker.energy(reference[0])
        start, done = time.perf_counter(), 0
        while done < 3 or time.perf_counter() - start < 0.01:
            worker.energy(reference[0])
            done += 1
        parallel = self.threads if platform == "Reference" else 1
        return 1000 * (time.perf_counter() - start) / done / parallel

    def _make_workers(self, platform: str) -> list["_Worker"]:
        count = self.threads if platform == "Reference" else 1
        return [_Worker(self._system, platform, self.threads) for _ in range(count)]


class _Worker:
    """A Context for one thread at a time, and a second one with restraints as soon as it is needed; kJ/mol and nm.

    `_value` is the number in OpenMM's own units without the cost of its unit arithmetic.
    """

    def __init__(self, system: Any, platform: str, threads: int) -> None:
        self._system = system
        self._make_context: Callable[[Any], Any] = partial(_context, platform=platform, threads=threads)
        self._context = self._make_context(system)

    def energy(self, x: np.ndarray) -> float:
        self._context.setPositions(x)
        return self._context.getState(getEnergy=True).getPotentialEnergy()._value

    def forces(self, x: np.ndarray) -> np.ndarray:
        self._context.setPositions(x)
        return self._context.getState(getForces=True).getForces(asNumpy=True)._value

    def minimized(self, x: np.ndarray, restraint: Restraint) -> np.ndarray | float:
        """Positions after minimization; NaN where OpenMM finds no finite energy to begin with."""
        import openmm

        force, context = self._restrained
        for atom, center in enumerate(x):
            force.setParticleParameters(atom, atom, center)
        force.updateParametersInContext(context)
        context.setParameter("restraint", restraint.strength_kj_per_mol_nm2)
        context.setPositions(x)
        try:
            openmm.LocalEnergyMinimizer.minimize(context, restraint.tolerance_kj_per_mol_nm, restraint.max_steps)
        except openmm.OpenMMException:
            return np.nan
        return context.getState(getPositions=True).getPositions(asNumpy=True)._value

    @cached_property
    def _restrained(self) -> tuple[Any, Any]:
        """The restraint and a Context with it. Its centers are stored in the System, which is therefore our own."""
        import openmm

        force = openmm.CustomExternalForce("restraint/2*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        force.addGlobalParameter("restraint", 0.0)
        for axis in ("x0", "y0", "z0"):
            force.addPerParticleParameter(axis)
        for atom in range(self._system.getNumParticles()):
            force.addParticle(atom, (0.0, 0.0, 0.0))
        own = copy.deepcopy(self._system)
        own.addForce(force)
        return force, self._make_context(own)


def _context(system: Any, platform: str, threads: int) -> Any:
    import openmm

    properties = {"CPU": {"Threads": str(threads)}, **{name: {"Precision": "mixed"} for name in _GPU_PLATFORMS}}
    chosen = openmm.Platform.getPlatformByName(platform)
    try:
        return openmm.Context(system, openmm.VerletIntegrator(0.001), chosen, properties.get(platform, {}))
    except openmm.OpenMMException as error:
        raise ValidationError(
            f"OpenMM platform {platform} does not work here: {error}. Use platform: auto, or Reference."
        ) from error


def _platforms() -> list[str]:
    import openmm

    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def _known_platform(name: str) -> str:
    if name not in _platforms():
        raise ValidationError(f'OpenMM platform: got "{name}", expected auto or one of {", ".join(_platforms())}.')
    return name


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().double().contiguous().numpy()
