"""A production chunk: one file of frames that depends on nothing but its task.

A chunk starts from the end of the previous chunk (a file), or from given positions with an equilibration
whose frames are discarded. It stores the state from which the next chunk goes on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tpsctl.simulation.dataset import read_arrays, write_arrays
from tpsctl.simulation.engine import Engine, PhaseState, Thermostat
from tpsctl.simulation.parallel_bias import Bias

FRAME_ARRAYS = ("positions", "forces", "energies", "bias_energies", "times_ps")


@dataclass(frozen=True)
class ChunkTask:
    """Everything that one production chunk depends on.

    `start` is an array of positions (atom, 3) in nm, or the file of the previous chunk.
    """

    system_xml: str
    bias: Bias | None
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
        engine.start(task.start)
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
