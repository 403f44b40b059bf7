"""From a molecule to a data set: enhanced sampling with a known bias, then production with forces.

    molecule -> [metadynamics rounds -> frozen bias] -> trajectories in chunks -> data set

Every arrow leaves a file in `<out>.parts/`, written atomically, and a file that exists is not made
again: a killed run goes on with the next round or chunk. A chunk starts from the positions and
velocities at the end of the one before it and from a random seed of its own, (seed, trajectory,
chunk), so a resumed run gives the same frames as an unbroken one.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tpsctl.data.bias import BiasGrid, Quadruple
from tpsctl.data.dataset import Dataset, read_arrays, write_arrays
from tpsctl.data.engine import Engine, PhaseState, Thermostat, platform_name
from tpsctl.data.metadynamics import Hills, freeze, run_walker
from tpsctl.data.molecule import Molecule, load_molecule, make_system
from tpsctl.errors import DataError
from tpsctl.topology import Topology


@dataclass(frozen=True)
class PlainSampling:
    """Molecular dynamics without bias."""


@dataclass(frozen=True)
class MetadynamicsSampling:
    """Well-tempered metadynamics first, then production under its frozen bias.

    Attributes:
        collective_variables: One or two dihedrals, each a label such as "phi ALA2" or four atom labels.
        walkers: Walkers that share one bias.
        duration_ps: Metadynamics per walker, ps.
        round_ps: Time after which walkers exchange their hills, ps.
        hill_height_kj_per_mol: Height of the first hill.
        hill_width_rad: Standard deviation of a hill.
        hill_interval_ps: Time between hills of one walker.
        bias_factor: gamma > 1; production sees the free energy divided by it.
        cap_kj_per_mol: Free energy above the minimum up to which the bias compensates.
        cap_width_kj_per_mol: Energy range over which the cap sets in.
        grid_points: Grid points per dihedral.
    """

    collective_variables: tuple[str | tuple[str, str, str, str], ...]
    walkers: int = 2
    duration_ps: float = 1500.0
    round_ps: float = 50.0
    hill_height_kj_per_mol: float = 3.0
    hill_width_rad: float = 0.3
    hill_interval_ps: float = 0.5
    bias_factor: float = 10.0
    cap_kj_per_mol: float = 75.0
    cap_width_kj_per_mol: float = 4.0
    grid_points: int = 48

    @property
    def rounds(self) -> int:
        """Number of metadynamics rounds."""
        return max(1, round(self.duration_ps / self.round_ps))

    @property
    def hills(self) -> Hills:
        """The hills as the walkers want them."""
        return Hills(self.hill_height_kj_per_mol, self.hill_width_rad, self.hill_interval_ps, self.bias_factor)


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated and how.

    Attributes:
        structure: PDB or mmCIF file with all atoms, or "capped_alanine".
        force_field: OpenMM force field XML files.
        sampling: Plain dynamics or metadynamics.
        trajectories: Independent production trajectories.
        duration_ps: Production per trajectory, ps.
        equilibration_ps: Discarded at the start of each trajectory, ps.
        frame_interval_ps: Time between stored frames, ps.
        chunk_ps: Production per file, ps: what a kill can cost.
        dt_ps: Integration step, ps. Bonds are flexible, so at most about 0.001.
        friction_per_ps: Langevin friction, 1/ps.
        temperature_k: Temperature, K.
        seed: Seed of everything random.
        platform: OpenMM platform, or "auto".
    """

    structure: str
    force_field: tuple[str, ...]
    sampling: PlainSampling | MetadynamicsSampling
    trajectories: int = 8
    duration_ps: float = 2000.0
    equilibration_ps: float = 20.0
    frame_interval_ps: float = 0.15
    chunk_ps: float = 150.0
    dt_ps: float = 0.001
    friction_per_ps: float = 1.0
    temperature_k: float = 300.0
    seed: int = 2026
    platform: str = "auto"

    @property
    def frame_interval_steps(self) -> int:
        """Steps between stored frames."""
        return max(1, round(self.frame_interval_ps / self.dt_ps))

    @property
    def frames_per_chunk(self) -> int:
        """Frames in one file."""
        return max(1, round(self.chunk_ps / (self.frame_interval_steps * self.dt_ps)))

    @property
    def chunks(self) -> int:
        """Files per trajectory."""
        return max(1, round(self.duration_ps / (self.frames_per_chunk * self.frame_interval_steps * self.dt_ps)))

    def describe(self, molecule: Molecule) -> dict[str, Any]:
        """Settings and platform, to be kept with the data."""
        import openmm

        platform = platform_name(self.platform, len(molecule.x))
        kind = "plain" if isinstance(self.sampling, PlainSampling) else "metadynamics"
        described = asdict(self)
        described["structure"] = Path(self.structure).name
        described["sampling"] = {"method": kind} | described["sampling"]
        return described | {"platform": platform, "openmm": openmm.version.version, "constraints": None}

    def digest(self) -> str:
        """Short hash of the settings and of the structure file's content."""
        content = json.dumps(asdict(self) | {"kind": type(self.sampling).__name__}, sort_keys=True).encode()
        if Path(self.structure).is_file():
            content += Path(self.structure).read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]


@dataclass(frozen=True)
class SimulationProgress:
    """How far a run is: name of the stage, finished and total simulated time of the stage, ps."""

    stage: str
    done_ps: float
    total_ps: float


ProgressFn = Callable[[SimulationProgress], None]


def run_simulation(
    settings: SimulationSettings,
    out: Path,
    *,
    workers: int | None = None,
    on_progress: ProgressFn = lambda progress: None,
) -> Dataset:
    """Make the data set `out` (.npz), or go on making it.

    Args:
        settings: What to simulate.
        out: The file to write; parts are kept in `<out>.parts/` beside it.
        workers: Processes to run at once; one per core if None. Does not change the result.
        on_progress: Called after every finished part.

    Raises:
        DataError: The molecule or force field is unusable, the dynamics exploded, or the parts
            folder belongs to other settings.
    """
    molecule = load_molecule(settings.structure, settings.force_field)
    run = _Run(settings, molecule, _claim_folder(settings, out), on_progress)
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        bias = run.frozen_bias(pool)
        run.production(pool, bias)
    dataset = run.collect(bias)
    dataset.save(out)
    return dataset


@dataclass(frozen=True)
class _Run:
    """The stages of one simulation; everything they leave is in `folder`."""

    settings: SimulationSettings
    molecule: Molecule
    folder: Path
    on_progress: ProgressFn

    @property
    def thermostat(self) -> Thermostat:
        s = self.settings
        return Thermostat(s.dt_ps, s.friction_per_ps, s.temperature_k)

    def frozen_bias(self, pool: ProcessPoolExecutor) -> BiasGrid | None:
        """Run the metadynamics; None for plain sampling."""
        sampling = self.settings.sampling
        if isinstance(sampling, PlainSampling):
            return None
        dihedrals = find_dihedrals(self.molecule.tpsctl_topology(), sampling.collective_variables)
        bias = BiasGrid.zeros(sampling.grid_points, dihedrals)
        starts = [self._minimized(self._seed(1, walker)) for walker in range(sampling.walkers)]
        for round_number in range(sampling.rounds):
            bias, starts = self._metadynamics_round(pool, round_number, bias, starts)
            done = (round_number + 1) * sampling.round_ps
            self.on_progress(SimulationProgress("metadynamics", done, sampling.rounds * sampling.round_ps))
        return freeze(
            bias,
            sampling.bias_factor,
            cap_kj_per_mol=sampling.cap_kj_per_mol,
            cap_width_kj_per_mol=sampling.cap_width_kj_per_mol,
        )

    def production(self, pool: ProcessPoolExecutor, bias: BiasGrid | None) -> None:
        """Run every chunk that is not there yet; chunks of one trajectory one after the other."""
        s = self.settings
        self._report_production()
        todo = {t: [c for c in range(s.chunks) if not self._chunk(t, c).exists()] for t in range(s.trajectories)}
        running: dict[Future[None], int] = {}
        while running or any(todo.values()):
            for t, chunks in todo.items():
                if chunks and t not in running.values():
                    running[pool.submit(run_chunk, self._chunk_task(t, chunks.pop(0), bias))] = t
            for finished in wait(running, return_when=FIRST_COMPLETED).done:
                del running[finished]
                finished.result()
            self._report_production()

    def collect(self, bias: BiasGrid | None) -> Dataset:
        """All chunks as one data set, each frame centered on its mean position."""
        s = self.settings
        parts = [(t, read_arrays(self._chunk(t, c))) for t in range(s.trajectories) for c in range(s.chunks)]
        joined = {name: np.concatenate([part[name] for _, part in parts]) for name in _FRAME_ARRAYS}
        return Dataset(
            topology=self.molecule.tpsctl_topology(),
            temperature_k=s.temperature_k,
            trajectories=torch.from_numpy(np.concatenate([np.full(len(part["energies"]), t) for t, part in parts])),
            bias=bias,
            settings=s.describe(self.molecule),
            **{name: torch.from_numpy(array) for name, array in joined.items()},
        )

    def _metadynamics_round(
        self, pool: ProcessPoolExecutor, number: int, bias: BiasGrid, starts: list[PhaseState]
    ) -> tuple[BiasGrid, list[PhaseState]]:
        sampling = self.settings.sampling
        assert isinstance(sampling, MetadynamicsSampling)
        file = self._round(number)
        if not file.exists():
            walkers = [
                pool.submit(
                    run_walker,
                    self._system_xml,
                    bias,
                    start,
                    self.thermostat,
                    sampling.hills,
                    duration_ps=sampling.round_ps,
                    seed=self._seed(2, walker, number),
                    platform=self.settings.platform,
                )
                for walker, start in enumerate(starts)
            ]
            results = [walker.result() for walker in walkers]
            grid = bias.values + sum(added for added, _ in results)
            x, v = (np.stack([getattr(state, name) for _, state in results]) for name in ("x", "v"))
            write_arrays(file, {"bias_grid": grid, "x": x, "v": v})
        arrays = read_arrays(file)
        states = [PhaseState(x, v) for x, v in zip(arrays["x"], arrays["v"], strict=True)]
        return BiasGrid(arrays["bias_grid"], bias.dihedrals), states

    def _chunk_task(self, trajectory: int, chunk: int, bias: BiasGrid | None) -> "ChunkTask":
        s = self.settings
        previous = self._chunk(trajectory, chunk - 1) if chunk else None
        return ChunkTask(
            system_xml=self._system_xml,
            bias=bias,
            thermostat=self.thermostat,
            seed=self._seed(3, trajectory, chunk),
            platform=s.platform,
            start=self._production_start(trajectory) if previous is None else previous,
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
            return self._minimized(self._seed(1, trajectory)).x
        first = sampling.rounds // 2
        states = [x for r in range(first, sampling.rounds) for x in read_arrays(self._round(r))["x"]]
        return states[trajectory * len(states) // self.settings.trajectories]

    def _minimized(self, seed: int) -> PhaseState:
        engine = Engine(self._system_xml, None, self.thermostat, seed=seed, platform=self.settings.platform)
        engine.start(self.molecule.x, minimize=True)
        return engine.state()

    @cached_property
    def _system_xml(self) -> str:
        import openmm

        return openmm.XmlSerializer.serialize(make_system(self.molecule, self.settings.force_field))

    def _seed(self, *purpose: int) -> int:
        """Seed from 1 to 2^31 - 1 for one purpose, from the run's seed."""
        return int(np.random.SeedSequence([self.settings.seed, *purpose]).generate_state(1)[0] % (2**31 - 1)) + 1

    def _round(self, number: int) -> Path:
        return self.folder / f"metadynamics_{number:04d}.npz"

    def _chunk(self, trajectory: int, chunk: int) -> Path:
        return self.folder / f"trajectory_{trajectory:04d}_{chunk:04d}.npz"

    def _report_production(self) -> None:
        s = self.settings
        done = sum(self._chunk(t, c).exists() for t in range(s.trajectories) for c in range(s.chunks))
        chunk_ps = s.frames_per_chunk * s.frame_interval_steps * s.dt_ps
        self.on_progress(SimulationProgress("production", done * chunk_ps, s.trajectories * s.chunks * chunk_ps))


_FRAME_ARRAYS = ("positions", "forces", "energies", "bias_energies", "times_ps")


@dataclass(frozen=True)
class ChunkTask:
    """All that one production chunk depends on; `start` is positions in nm, or the file of the chunk before."""

    system_xml: str
    bias: BiasGrid | None
    thermostat: Thermostat
    seed: int
    platform: str
    start: np.ndarray | Path
    equilibration_steps: int
    frames: int
    interval: int
    first_frame: int
    file: Path


def run_chunk(task: ChunkTask) -> None:
    """Run one chunk in this process and write its file, with the state to go on from."""
    engine = Engine(task.system_xml, task.bias, task.thermostat, seed=task.seed, platform=task.platform)
    if isinstance(task.start, Path):
        before = read_arrays(task.start)
        engine.set_state(PhaseState(before["end_x"], before["end_v"]))
    else:
        engine.start(task.start, minimize=False)
    engine.step(task.equilibration_steps)
    time_ps = task.first_frame * task.interval * task.thermostat.dt_ps
    frames = engine.record(task.frames, task.interval, time_ps=time_ps)
    end = engine.state()
    centered = frames.x - frames.x.mean(1, keepdims=True)
    arrays = {
        "positions": centered.astype(np.float32),
        "forces": frames.force.astype(np.float32),
        "energies": frames.energy,
        "bias_energies": frames.bias,
        "times_ps": frames.time_ps,
    }
    write_arrays(task.file, arrays | {"end_x": end.x, "end_v": end.v})


def find_dihedrals(topology: Topology, wanted: tuple[str | tuple[str, str, str, str], ...]) -> tuple[Quadruple, ...]:
    """Atom indices of dihedrals named by label ("phi ALA2") or by four atom labels ("ALA2:N").

    Raises:
        DataError: There is no such dihedral or atom.
    """
    named = dict(topology.backbone_dihedrals)
    labels = {atom.label: i for i, atom in enumerate(topology.atoms)}
    found = []
    for name in wanted:
        if isinstance(name, str):
            if name not in named:
                raise DataError(f'no dihedral "{name}"; this molecule has: {", ".join(named) or "none by name"}.')
            found.append(named[name])
        else:
            unknown = [atom for atom in name if atom not in labels]
            if unknown:
                raise DataError(f"dihedral {name}: no atom {unknown[0]}; atoms are named like {next(iter(labels))}.")
            i, j, k, m = (labels[atom] for atom in name)
            found.append((i, j, k, m))
    return tuple(found)


def _claim_folder(settings: SimulationSettings, out: Path) -> Path:
    """The folder for parts, made now or left by an earlier run of the same settings."""
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
