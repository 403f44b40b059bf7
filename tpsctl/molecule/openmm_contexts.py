"""A pool of OpenMM Contexts for one System: energies and forces of many configurations, fast and thread-safe.

Making a Context takes hundreds of times as long as an energy, so a pool makes each of its Contexts once and deals the
frames of a batch out to them. On the Reference and CPU platforms it has one Context per CPU thread, and each Context
uses one thread, because OpenMM releases Python's lock and frames are independent. A GPU gets one Context.

    Reference   double precision throughout; the digits do not depend on the number of threads
    CPU         bonded forces in double, nonbonded forces in single precision (errors of about 1e-4 kJ/mol/nm)
    GPUs        "mixed" or "double", whichever is requested

Contexts and threads are made on first use in each process: a pool may be pickled, and used after a fork.
"""

import copy
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import ValidationError

CPU_PLATFORMS = ("Reference", "CPU")
GPU_PLATFORMS = ("CUDA", "HIP", "OpenCL")

Precision = Literal["mixed", "double"]
"""Precision that is requested of a GPU; the other platforms have a fixed precision."""

FrameTask = Callable[[Any, np.ndarray, np.ndarray], None]
"""Work on one frame: (Context, positions (atom, 3) in nm, row of the result to fill)."""


class ContextPool:
    """Contexts of one System, each made once, for batches of configurations.

    Args:
        system: An `openmm.System`; the pool works with copies.
        platform: Name of an OpenMM platform.
        threads: CPU threads; None for all that this process may use.
        precision: Precision on a GPU; other platforms ignore it.
        gpu: Number of the GPU on a GPU platform; None for OpenMM's own choice.

    Attributes:
        platform: Name of the platform.
        precision: Precision of the forces: "double", "single" or "mixed".
        threads: Number of CPU threads.
        n_atoms: Number of particles in the System.

    Raises:
        ValidationError: OpenMM has no such platform here. A platform that is installed but does not work is found out
            only on first use.
    """

    def __init__(
        self,
        system: Any,
        *,
        platform: str = "Reference",
        threads: int | None = None,
        precision: Precision = "mixed",
        gpu: int | None = None,
    ) -> None:
        self.platform = known_platform(platform)
        self.threads = threads or available_threads()
        self.precision = precision_of(platform, precision)
        self.n_atoms: int = system.getNumParticles()
        self._gpu_precision: Precision = precision
        self._gpu = gpu
        self._system = copy.deepcopy(system)
        self._lock = threading.Lock()
        self._workers: _Workers | None = None

    def energies(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, " batch"]:
        """Potential energies, kJ/mol; NaN for a frame with a non-finite coordinate or no finite energy."""
        return torch.from_numpy(self.map(x, _energy, ()))

    def forces(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch atom 3"]:
        """Forces, kJ/mol/nm; NaN for a frame with a non-finite coordinate, and where OpenMM finds no finite force."""
        return torch.from_numpy(self.map(x, _forces, (self.n_atoms, 3)))

    def energies_and_forces(
        self, x: Float[Tensor, "batch atom 3"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch atom 3"]]:
        """Energies, kJ/mol, and forces, kJ/mol/nm, from one evaluation per frame; NaN as in `energies` and `forces`."""
        both = torch.from_numpy(self.map(x, _energy_and_forces, (self.n_atoms + 1, 3)))
        return both[:, -1, 0].clone(), both[:, :-1].contiguous()

    def map(self, x: Float[Tensor, "batch atom 3"], task: FrameTask, shape: tuple[int, ...]) -> np.ndarray:
        """Run `task` on every finite frame; the frames are dealt out to the Contexts.

        Args:
            x: Configurations, nm.
            task: Function that fills the row of one frame; several threads call it, each with its own Context.
            shape: Shape of a row.

        Returns:
            Rows (batch, *shape), float64; NaN where a coordinate is not finite and wherever a result is not.

        Raises:
            ValidationError: x has another shape, or the platform does not work here.
        """
        frames = x.detach().cpu().double().contiguous().numpy()
        if frames.ndim != 3 or frames.shape[1:] != (self.n_atoms, 3):
            raise ValidationError(
                f"energies: got frames of shape {frames.shape}, expected (frames, {self.n_atoms}, 3)."
            )
        result = np.full((len(frames), *shape), np.nan)
        finite = np.flatnonzero(np.isfinite(frames).all((1, 2)))
        self._here().work(task, frames, finite, result)
        result[~np.isfinite(result)] = np.nan
        return result

    def _here(self) -> "_Workers":
        """The Contexts and threads of this process, made when they are first needed."""
        with self._lock:
            if self._workers is None or self._workers.process != os.getpid():
                self._workers = _Workers(self._make_context, self._count)
            return self._workers

    @property
    def _count(self) -> int:
        return self.threads if self.platform in CPU_PLATFORMS else 1

    def _make_context(self) -> Any:
        import openmm

        integrator = openmm.VerletIntegrator(0.001)  # a Context needs an integrator; this one never makes a step
        system = copy.deepcopy(self._system)
        return make_context(system, integrator, self.platform, precision=self._gpu_precision, gpu=self._gpu)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_workers")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _workers=None)


class _Workers:
    """Contexts of one process, lent to one thread at a time, and the threads that use them."""

    def __init__(self, make_context: Callable[[], Any], count: int) -> None:
        self.process = os.getpid()
        self._make_context, self._count = make_context, count
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)  # a placeholder for a Context that is not made yet
        self._made: list[Any] = []
        self._threads = ThreadPoolExecutor(count) if count > 1 else None

    def __del__(self) -> None:
        """In a forked process, leave the Contexts to the parent.

        Freeing a Context waits for its threads, and a forked process does not have them, so it would wait forever.
        """
        if self.process != os.getpid():
            for context in self._made:
                context.thisown = False

    def work(self, task: FrameTask, frames: np.ndarray, chosen: np.ndarray, result: np.ndarray) -> None:
        """Run `task` on the chosen frames."""
        if self._threads is None or len(chosen) < 2:
            self._work_on(task, frames, chosen, result)
            return
        parts = [part for k in range(self._count) if len(part := chosen[k :: self._count])]
        list(self._threads.map(lambda part: self._work_on(task, frames, part, result), parts))

    def _work_on(self, task: FrameTask, frames: np.ndarray, chosen: np.ndarray, result: np.ndarray) -> None:
        with self._context() as context:
            for i in chosen:
                task(context, frames[i], result[i : i + 1])

    @contextmanager
    def _context(self) -> Iterator[Any]:
        found = self._free.get()
        try:
            if found is None:
                found = self._make_context()
                self._made.append(found)
            yield found
        finally:
            self._free.put(found)


def make_context(
    system: Any,
    integrator: Any,
    platform: str,
    *,
    threads: int = 1,
    precision: Precision = "mixed",
    gpu: int | None = None,
) -> Any:
    """Make an `openmm.Context` on a platform.

    Args:
        system: The System; it must not be used for anything else afterwards.
        integrator: The integrator; it must not be used for anything else afterwards.
        platform: Name of an OpenMM platform.
        threads: Threads of OpenMM's CPU platform.
        precision: Precision on a GPU.
        gpu: Number of the GPU; None for OpenMM's own choice.

    Raises:
        ValidationError: The platform is unknown or does not work here.
    """
    import openmm

    chosen = openmm.Platform.getPlatformByName(known_platform(platform))
    try:
        return openmm.Context(system, integrator, chosen, platform_properties(platform, threads, precision, gpu))
    except openmm.OpenMMException as error:
        raise ValidationError(
            f"OpenMM platform {platform} does not work here: {error}. Use platform: auto, or Reference."
        ) from error


def platform_properties(platform: str, threads: int, precision: Precision, gpu: int | None) -> dict[str, str]:
    """OpenMM's properties of a platform: the number of CPU threads, or the precision and number of the GPU."""
    if platform in GPU_PLATFORMS:
        return {"Precision": precision} | ({} if gpu is None else {"DeviceIndex": str(gpu)})
    return {"Threads": str(threads)} if platform == "CPU" else {}


def available_threads() -> int:
    """CPU threads that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def platforms() -> list[str]:
    """Names of the platforms that this OpenMM has."""
    import openmm

    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def known_platform(name: str) -> str:
    """Check that OpenMM has a platform of this name here, and return the name.

    Raises:
        ValidationError: It has none; the message lists the platforms that are there.
    """
    if name not in platforms():
        raise ValidationError(f'OpenMM platform: got "{name}", expected auto or one of {", ".join(platforms())}.')
    return name


def precision_of(platform: str, gpu: Precision = "mixed") -> str:
    """Precision of the forces on a platform; `gpu` is the precision that is requested of a GPU."""
    return {"Reference": "double", "CPU": "single"}.get(platform, gpu)


def _energy(context: Any, x: np.ndarray, row: np.ndarray) -> None:
    context.setPositions(x)
    row[0] = context.getState(energy=True).getPotentialEnergy()._value  # kJ/mol, without OpenMM's unit arithmetic


def _forces(context: Any, x: np.ndarray, row: np.ndarray) -> None:
    context.setPositions(x)
    _store_forces(context.getState(forces=True), row[0])


def _energy_and_forces(context: Any, x: np.ndarray, row: np.ndarray) -> None:
    context.setPositions(x)
    state = context.getState(energy=True, forces=True)
    row[0, -1, 0] = state.getPotentialEnergy()._value
    _store_forces(state, row[0, :-1])


def _store_forces(state: Any, into: np.ndarray) -> None:
    """Write forces in kJ/mol/nm directly into a C-contiguous array.

    The public `getForces(asNumpy=True)` fills an array with the same call and then spends 8 us on its units, a quarter
    of the time of a small molecule's forces.
    """
    state._getVectorAsNumpy(state.Forces, into)
