"""Action Matching between snapshots of a process, in the words of `tpsctl.training`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import save_model
from tpsctl.endpoints.load import load_ensemble
from tpsctl.environment import versions
from tpsctl.errors import DataError
from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.topology import Topology
from tpsctl.networks.snapshot_potential import SnapshotPotential, SnapshotPotentialSizes
from tpsctl.prior.snapshots import CAVEAT
from tpsctl.recipe.train_snapshots import SnapshotsSection, TrainSnapshotsRecipe
from tpsctl.score.transport import carry, diffuse, even_times
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.action_matching.objective import ActionMatching, ActionMatchingSettings
from tpsctl.training.objectives.action_matching.snapshots import BetweenSnapshots, paired_tracks
from tpsctl.training.objectives.base import seeded
from tpsctl.training.quality.arrival import TransportVerdict, arrival, split
from tpsctl.workflows.train.judge import losses_at_both_ends
from tpsctl.workflows.train.task import TrainingTask

_LAYERS = 5

_CARRIED, _STEPS = 500, 50
"""Held-out frames that are carried, and steps from one snapshot to the next."""


@dataclass(frozen=True)
class SnapshotFrames:
    """Snapshots in the unit of the network.

    Attributes:
        frames: One tensor (frame, bead, dim) per snapshot, in units of `scale_nm` around `offset_nm`, float32.
        times_ps: Their times, ps.
        scale_nm: Length of one unit, nm: the root-mean-square distance of a coordinate from its mean.
        offset_nm: Mean position of a single bead, nm; zeros for a molecule.
        topology: The molecule; None for points.
    """

    frames: tuple[Float[Tensor, "frame bead dim"], ...]
    times_ps: tuple[float, ...]
    scale_nm: float
    offset_nm: tuple[float, ...]
    topology: Topology | None

    @property
    def duration_ps(self) -> float:
        """Time from the first to the last snapshot, ps."""
        return self.times_ps[-1] - self.times_ps[0]

    @property
    def fractions(self) -> list[float]:
        """Times of the snapshots in units of the duration, from 0 to 1."""
        return [(time - self.times_ps[0]) / self.duration_ps for time in self.times_ps]


class SnapshotsTask(TrainingTask[SnapshotFrames, SnapshotPotential, SnapshotPotential]):
    """The parts of a training on snapshots.

    Args:
        recipe: The recipe.
    """

    def __init__(self, recipe: TrainSnapshotsRecipe) -> None:
        self.recipe = recipe

    def load(self) -> SnapshotFrames:
        return load_snapshots(self.recipe.data)

    def about(self, data: SnapshotFrames) -> str:
        counts = " + ".join(str(len(frames)) for frames in data.frames)
        beads, dims = data.frames[0].shape[1:]
        return (
            f"{len(data.frames)} snapshots from {data.times_ps[0]:g} to {data.times_ps[-1]:g} ps with {counts} frames "
            f"of {beads} x {dims} coordinates; {CAVEAT}"
        )

    def objective(self, data: SnapshotFrames) -> ActionMatching[SnapshotPotential]:
        optimize, seed = self.recipe.optimize, self.recipe.seed
        kept, _ = self._split(data)
        tracks = paired_tracks(kept, optimize.tracks, torch.Generator().manual_seed(seed))
        beads, dims = tracks.shape[2:]
        sizes = SnapshotPotentialSizes(beads, dims, self.recipe.model.hidden, _LAYERS)
        network = seeded(seed, lambda: SnapshotPotential(sizes).float())
        network.fit_features(tracks.flatten(0, 1))
        section = self.recipe.model
        settings = ActionMatchingSettings(
            noise=self._noise(data),
            growth=self._growth(data),
            weight_first=section.weight_at_start,
            weight_last=section.weight_at_end,
            hidden=section.hidden,
            batch=optimize.batch,
            seed=seed,
        )
        self._objective = ActionMatching(BetweenSnapshots(tracks, data.fractions), settings, network)
        return self._objective

    def loop_settings(self) -> LoopSettings:
        optimize = self.recipe.optimize
        return LoopSettings(
            steps=optimize.steps,
            learning_rate=WarmUpThenCosine(optimize.learning_rate, optimize.steps, ahead=1),
            average=RampedDecay(optimize.average),
            largest_gradient_norm=1.0,
            seed=self.recipe.seed,
        )

    def model(self, network: SnapshotPotential, data: SnapshotFrames) -> SnapshotPotential:
        return network

    def judge(self, model: SnapshotPotential, losses: Sequence[float], data: SnapshotFrames) -> dict[str, Any]:
        effective = round(self._objective.times.effective_fraction, 4)
        loss = {**losses_at_both_ends(losses), "effective_fraction_of_times": effective}
        return {"loss": loss, "verdict": self._arrivals(model, data).to_dict()}

    def _arrivals(self, network: SnapshotPotential, data: SnapshotFrames) -> TransportVerdict:
        """Carry held-out frames of the first snapshot to the others."""
        _, held_out = self._split(data)
        noise, growth = self._noise(data), self._growth(data)
        generator = torch.Generator().manual_seed(self.recipe.seed)
        first = x = held_out[0][:_CARRIED]
        log_weights = torch.zeros(len(x))
        arrivals = []
        for number in range(1, len(held_out)):
            times = even_times(data.fractions[number - 1], data.fractions[number], _STEPS)
            if noise:
                x, grown = diffuse(network, x, times, noise, generator, growth=growth)
            else:
                x, grown = carry(network, x, times, growth=growth)
            log_weights = log_weights + grown
            here, there, start = (data.scale_nm * frames for frames in (x, held_out[number][: 2 * _CARRIED], first))
            weights = log_weights if growth else None
            arrivals.append(arrival(here, there, start, data.times_ps[number], weights))
        return TransportVerdict(tuple(arrivals))

    def _split(self, data: SnapshotFrames) -> tuple[list[Tensor], list[Tensor]]:
        return split(data.frames, torch.Generator().manual_seed(self.recipe.seed))

    def _noise(self, data: SnapshotFrames) -> float:
        """Strength of the noise in the units of the network."""
        return (2 * self.recipe.model.diffusion_nm2_per_ps * data.duration_ps) ** 0.5 / data.scale_nm

    def _growth(self, data: SnapshotFrames) -> float:
        """Growth in the units of the network; 0 without growth."""
        length = self.recipe.model.growth_length_nm
        return 0.0 if length is None else (data.scale_nm / length) ** 2

    def save(
        self,
        file: Path,
        model: SnapshotPotential,
        data: SnapshotFrames,
        quality: dict[str, Any],
        identity: dict[str, Any],
    ) -> None:
        about = ModelDescription(
            kind="action_matching",
            network="snapshot_potential",
            sizes=model.sizes.to_dict(),
            temperature_k=None,
            scale_nm=(data.scale_nm,),
            offset_nm=data.offset_nm,
            topology=data.topology,
            provenance={"name": self.recipe.name, "loss": quality["loss"], "versions": versions(), **identity},
            facts={
                "times_ps": list(data.times_ps),
                "diffusion_nm2_per_ps": self.recipe.model.diffusion_nm2_per_ps,
                "growth_length_nm": self.recipe.model.growth_length_nm,
                "verdict": quality["verdict"],
            },
        )
        save_model(file, Model(about, model.state_dict()))


def load_snapshots(section: SnapshotsSection) -> SnapshotFrames:
    """The snapshots that a recipe names; molecules are superposed on the first frame.

    Raises:
        DataError: A file is no array of points, or the snapshots have different numbers of coordinates.
        EndpointError: A trajectory or its topology cannot be used.
    """
    files = [snapshot.file for snapshot in section.snapshots]
    topology = None
    if section.topology is None:
        frames = [_points(file).unsqueeze(1) for file in files]
        widths = {frame.shape[2] for frame in frames}
        if len(widths) > 1:
            raise DataError(
                f"data.snapshots: the files have different numbers of coordinates, {sorted(widths)}. Give points of "
                "one space."
            )
        offset = torch.cat(frames).mean((0, 1))
    else:
        topology, frames = load_ensemble(files, topology=section.topology, select=section.select)
        reference = frames[0][:1] - frames[0][:1].mean(1, keepdim=True)
        frames = [superpose(frame, reference.expand_as(frame)) for frame in frames]
        offset = torch.zeros(3, dtype=torch.float64)
    together = torch.cat(frames)
    scale = float((together - together.mean(0)).square().mean().sqrt())
    if scale == 0:
        raise DataError("data.snapshots: all frames are the same. Give samples of a process that moves.")
    return SnapshotFrames(
        tuple(((frame - offset) / scale).float() for frame in frames),
        tuple(snapshot.time_ps for snapshot in section.snapshots),
        scale,
        tuple(offset.tolist()),
        topology,
    )


def _points(file: Path) -> Float[Tensor, "frame dim"]:
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{file}: no array of points ({error}). Give a .npy file of frames by coordinates in nm, or data.topology "
            "for a trajectory."
        ) from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        shape = getattr(array, "shape", "several arrays")
        raise DataError(
            f"{file}: got {shape}, expected an array of floating-point numbers, frames by coordinates, in nm."
        )
    if len(array) < 2 or not 1 <= array.shape[1] <= 3 or not np.isfinite(array).all():
        raise DataError(
            f"{file}: got {array.shape[0]} frames of {array.shape[1]} coordinates, expected at least 2 frames of 1 to "
            "3 finite coordinates in nm."
        )
    return torch.from_numpy(array.astype(np.float64))
