"""From a molecule to a data set: enhanced sampling with a known bias, then production with forces.

    molecule -> [metadynamics rounds -> frozen bias] -> trajectories in chunks -> data set

Every arrow leaves a file in `<out>.parts/`, written atomically, and a file that exists is not made
again: a killed run goes on with the next round or chunk. A chunk starts from the positions and
velocities at the end of the one before it and from a random seed of its own, (seed, trajectory,
chunk), so a resumed run gives the same frames as an unbroken one.
"""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from tpsctl.errors import DataError
from tpsctl.files import write_text
from tpsctl.molecule.openmm_system import MolecularSystem, as_source
from tpsctl.simulation.bias import BiasGrid, find_dihedrals
from tpsctl.simulation.dataset import Dataset, read_arrays, write_arrays
from tpsctl.simulation.engine import Engine, PhaseState, simulation_platform
from tpsctl.simulation.metadynamics import freeze, run_walker
from tpsctl.simulation.molecule import Molecule
from tpsctl.simulation.parallel_bias import Bias, ParallelBias
from tpsctl.simulation.production import FRAME_ARRAYS, ChunkTask, run_chunk
from tpsctl.simulation.settings import (
    MetadynamicsSampling,
    ParallelBiasSampling,
    PlainSampling,
    SimulationSettings,
    WellTempered,
)
from tpsctl.simulation.workers import worker_processes

__all__ = [
    "MetadynamicsSampling",
    "ParallelBiasSampling",
    "PlainSampling",
    "SimulationProgress",
    "SimulationSettings",
    "run_simulation",
]

# Each kind of random stream of a run starts with one of these numbers (see `_Run._seed`).
_START, _METADYNAMICS, _PRODUCTION = 1, 2, 3


@dataclass(frozen=True)
class SimulationProgress:
    """Progress of a run: name of the present stage, its finished and its total simulated time, ps."""

    stage: str
    done_ps: float
    total_ps: float


ProgressFn = Callable[[SimulationProgress], None]


def run_simulation(
    settings: SimulationSettings,
    molecule: Molecule,
    out: Path,
    *,
    workers: int | None = None,
    on_progress: ProgressFn = lambda progress: None,
) -> Dataset:
    """Make the data set `out` (.npz), or resume an unfinished run; a finished data set is only read.

    Args:
        settings: What to simulate and how.
        molecule: The molecule at the start.
        out: The file to write. Until it is there, parts are kept in `<out>.parts/` beside it.
        workers: Processes to run at once; one per core if None. Does not change the result.
        on_progress: Called when a stage begins and after every finished part.

    Raises:
        DataError: The dynamics became unstable, or `out` or its parts were made with other settings.
        ValidationError: The force field is unusable or does not fit the molecule.
    """
    if out.exists():
        return _finished(settings, out)
    folder = _claim_folder(settings, out)
    run = _Run(settings, molecule, folder, on_progress)
    with worker_processes(workers or os.cpu_count() or 1) as pool:
        bias = run.frozen_bias(pool)
        run.production(pool, bias)
    dataset = run.collect(bias)
    dataset.save(out)
    shutil.rmtree(folder, ignore_errors=True)
    return dataset


@dataclass(frozen=True)
class _Run:
    """The stages of one simulation; they write all their files to `folder`."""

    settings: SimulationSettings
    molecule: Molecule
    folder: Path
    on_progress: ProgressFn

    def frozen_bias(self, pool: Executor) -> Bias | None:
        """Run the metadynamics and return its frozen bias; None for plain sampling."""
        sampling = self.settings.sampling
        if isinstance(sampling, PlainSampling):
            return None
        bias = self._no_bias(sampling)
        self.on_progress(SimulationProgress("metadynamics", 0, sampling.rounds * sampling.round_ps))
        states = [self._minimized(walker) for walker in range(sampling.walkers)]
        for number in range(sampling.rounds):
            if not self._round(number).exists():
                self._run_round(pool, sampling, number, bias, states)
            bias, states = self._read_round(number, bias)
            done = (number + 1) * sampling.round_ps
            self.on_progress(SimulationProgress("metadynamics", done, sampling.rounds * sampling.round_ps))
        return freeze(
            bias,
            sampling.bias_factor,
            cap_kj_per_mol=sampling.cap_kj_per_mol,
            cap_width_kj_per_mol=sampling.cap_width_kj_per_mol,
        )

    def _no_bias(self, sampling: WellTempered) -> Bias:
        """The bias before the first hill."""
        found = [find_dihedrals(self.molecule.topology, variables) for variables in sampling.groups]
        grids = tuple(BiasGrid.zeros(sampling.grid_points, dihedrals) for dihedrals in found)
        return grids[0] if len(grids) == 1 else ParallelBias(grids, self.settings.temperature_k)

    def production(self, pool: Executor, bias: Bias | None) -> None:
        """Run every chunk whose file does not exist yet; the chunks of one trajectory run one after the other."""
        s = self.settings
        todo = {t: [c for c in range(s.chunks) if not self._chunk(t, c).exists()] for t in range(s.trajectories)}
        running: dict[Future[None], int] = {}
        self._report_production()
        while running or any(todo.values()):
            for t, chunks in todo.items():
                if chunks and t not in running.values():
                    running[pool.submit(run_chunk, self._chunk_task(t, chunks.pop(0), bias))] = t
            for finished in wait(running, return_when=FIRST_COMPLETED).done:
                del running[finished]
                finished.result()
            self._report_production()

    def collect(self, bias: Bias | None) -> Dataset:
        """Join all chunks into one data set."""
        s = self.settings
        parts = [read_arrays(self._chunk(t, c)) for t in range(s.trajectories) for c in range(s.chunks)]
        numbers = np.repeat(np.arange(s.trajectories), s.chunks * s.frames_per_chunk)
        joined = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in FRAME_ARRAYS}
        return Dataset(
            topology=self.made.with_masses(self.molecule.topology),
            temperature_k=s.temperature_k,
            trajectories=torch.from_numpy(numbers),
            bias=bias,
            settings=s.describe(self.made, self.platform),
            **joined,
        )

    def _run_round(
        self,
        pool: Executor,
        sampling: WellTempered,
        number: int,
        bias: Bias,
        starts: list[PhaseState],
    ) -> None:
        walkers = [
            pool.submit(
                run_walker,
                self._system_xml,
                bias,
                start,
                self.settings.thermostat,
                sampling.hills,
                duration_ps=sampling.round_ps,
                seed=self._seed(_METADYNAMICS, walker, number),
                platform=self.platform,
            )
            for walker, start in enumerate(starts)
        ]
        hills, states = zip(*(walker.result() for walker in walkers), strict=True)
        x, v = np.stack([state.x for state in states]), np.stack([state.v for state in states])
        grids = {
            name: grid.values + np.sum([walker[n] for walker in hills], axis=0)
            for n, (name, grid) in enumerate(zip(_grid_names(bias), bias.grids, strict=True))
        }
        write_arrays(self._round(number), grids | {"x": x, "v": v})

    def _read_round(self, number: int, bias: Bias) -> tuple[Bias, list[PhaseState]]:
        arrays = read_arrays(self._round(number))
        states = [PhaseState(x, v) for x, v in zip(arrays["x"], arrays["v"], strict=True)]
        return bias.with_values([arrays[name] for name in _grid_names(bias)]), states

    def _chunk_task(self, trajectory: int, chunk: int, bias: Bias | None) -> ChunkTask:
        s = self.settings
        return ChunkTask(
            system_xml=self._system_xml,
            bias=bias,
            thermostat=s.thermostat,
            seed=self._seed(_PRODUCTION, trajectory, chunk),
            platform=self.platform,
            start=self._chunk(trajectory, chunk - 1) if chunk else self._production_start(trajectory),
            equilibration_steps=0 if chunk else round(s.equilibration_ps / s.dt_ps),
            frames=s.frames_per_chunk,
            interval=s.frame_interval_steps,
            first_frame=chunk * s.frames_per_chunk,
            file=self._chunk(trajectory, chunk),
        )

    def _production_start(self, trajectory: int) -> np.ndarray:
        """Positions spread over the second half of the metadynamics, or the minimized structure."""
        sampling = self.settings.sampling
        if isinstance(sampling, PlainSampling):
            return self._minimized(trajectory).x
        rounds = range(sampling.rounds // 2, sampling.rounds)
        snapshots = [x for number in rounds for x in read_arrays(self._round(number))["x"]]
        return snapshots[trajectory * len(snapshots) // self.settings.trajectories]

    def _minimized(self, stream: int) -> PhaseState:
        engine = Engine(
            self._system_xml,
            None,
            self.settings.thermostat,
            seed=self._seed(_START, stream),
            platform=self.platform,
        )
        engine.start(self.molecule.x, minimize=True)
        return engine.state()

    @cached_property
    def made(self) -> MolecularSystem:
        """The System of the molecule."""
        return as_source(self.settings.force_field).create(self.molecule.topology)

    @cached_property
    def platform(self) -> str:
        """The OpenMM platform, chosen once for the whole run and kept in its folder."""
        file = self.folder / "platform.txt"
        if not file.exists():
            write_text(file, simulation_platform(self.settings.platform, self.made.system, self.molecule.x))
        return file.read_text()

    @cached_property
    def _system_xml(self) -> str:
        import openmm

        return openmm.XmlSerializer.serialize(self.made.system)

    def _seed(self, *stream: int) -> int:
        """Seed from 1 to 2^31 - 1 for one stream of random numbers, from the run's seed."""
        return int(np.random.SeedSequence([self.settings.seed, *stream]).generate_state(1)[0] % (2**31 - 1)) + 1

    def _round(self, number: int) -> Path:
        return self.folder / f"metadynamics_{number:04d}.npz"

    def _chunk(self, trajectory: int, chunk: int) -> Path:
        return self.folder / f"trajectory_{trajectory:04d}_{chunk:04d}.npz"

    def _report_production(self) -> None:
        s = self.settings
        done = sum(self._chunk(t, c).exists() for t in range(s.trajectories) for c in range(s.chunks))
        total = s.trajectories * s.chunks
        self.on_progress(SimulationProgress("production", done * s.chunk_duration_ps, total * s.chunk_duration_ps))


def _grid_names(bias: Bias) -> list[str]:
    """Names of the arrays that store the values of a bias's grids."""
    return ["bias_grid"] if isinstance(bias, BiasGrid) else [f"bias_grid_{n}" for n in range(len(bias.grids))]


def _finished(settings: SimulationSettings, out: Path) -> Dataset:
    dataset = Dataset.load(out)
    if dataset.settings.get("digest") != settings.digest():
        raise DataError(f"{out} holds data of other settings. Choose another output, or remove it.")
    return dataset


def _claim_folder(settings: SimulationSettings, out: Path) -> Path:
    """The folder for the parts; it is made now, or an earlier run with the same settings has made it."""
    folder = out.with_name(f"{out.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    claim, text = folder / "settings.json", json.dumps({"digest": settings.digest()})
    if not claim.exists():
        temporary = claim.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(claim)
    elif claim.read_text() != text:
        raise DataError(
            f"{folder} holds parts of a simulation with other settings. Choose another output, or remove it."
        )
    return folder
