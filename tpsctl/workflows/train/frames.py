"""Frames of a molecule, to learn from and to be judged by: from a data set or from the user's trajectories."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.streaming import stream_ensemble
from tpsctl.errors import DataError
from tpsctl.molecule.topology import Topology
from tpsctl.recipe import train as sections
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.targets import KnownBias
from tpsctl.units import thermal_energy
from tpsctl.workflows.train.split import held_out_frames
from tpsctl.workflows.train.weights import log_weights


@dataclass(frozen=True)
class MoleculeFrames:
    """Frames of one molecule, split by trajectory.

    Attributes:
        topology: The molecule.
        temperature_k: Temperature of the frames, K.
        training: Frames to learn from, float32.
        held_out: Positions kept from training, nm, float32.
        held_out_scores: Physical force over kT there, 1/nm; None if the source has no forces.
        held_out_energies: Physical energy there, kJ/mol; None if the source has none.
        held_out_bias: The bias under which these frames were sampled, or None.
        facts: Where the frames come from, for the model card.
    """

    topology: Topology
    temperature_k: float
    training: TrainingFrames
    held_out: Float[Tensor, "frame bead 3"]
    held_out_scores: Float[Tensor, "frame bead 3"] | None
    held_out_energies: Float[Tensor, " frame"] | None
    held_out_bias: KnownBias | None
    facts: dict[str, Any]

    @property
    def log_weights(self) -> Float[Tensor, " frame"] | None:
        """Logarithms of the weights of the training frames in equilibrium; None if all are equal."""
        return None if self.training.bias is None else self.training.bias.log_weights

    @property
    def held_out_log_weights(self) -> Float[Tensor, " frame"] | None:
        """Logarithms of the weights of the held-out frames in equilibrium; None if all are equal."""
        return None if self.held_out_bias is None else self.held_out_bias.log_weights

    @property
    def held_out_frames(self) -> TrainingFrames:
        """The held-out frames as the training frames are: with forces only if the training uses forces."""
        scores = self.held_out_scores if self.facts["forces_used"] else None
        return TrainingFrames(self.held_out, scores, self.held_out_bias)


def equilibrium_frames(
    x: Float[Tensor, "frame bead 3"],
    log_weights: Float[Tensor, " frame"] | None,
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, "count bead 3"]:
    """Frames drawn with their weights: without replacement where all are equal and suffice, else with replacement."""
    if log_weights is None and count <= len(x):
        return x[torch.randperm(len(x), generator=generator)[:count]]
    equal = torch.zeros(len(x), dtype=torch.float64)
    weights = torch.softmax(equal if log_weights is None else log_weights.double(), 0)
    places = torch.rand(count, generator=generator, dtype=torch.float64) * weights.sum()
    return x[torch.searchsorted(weights.cumsum(0), places).clamp_max(len(x) - 1)]


def load_frames(section: sections.DatasetSection | sections.TrajectoryDataSection, seed: int) -> MoleculeFrames:
    """The frames that a recipe names.

    Raises:
        DataError: Unusable data, too few trajectories, or a molecule without a rotatable bond.
        EndpointError: A trajectory or its topology cannot be used.
    """
    frames = (
        _from_dataset(section, seed) if isinstance(section, sections.DatasetSection) else _from_files(section, seed)
    )
    if not frames.topology.rotatable_bonds:
        raise DataError(
            f"the molecule of {frames.facts['source']} has {frames.topology.n_atoms} atoms, "
            f"{len(frames.topology.bonds)} known bonds and none of them rotatable; tpsctl learns internal coordinates "
            "along bonds. Give a topology with bonds (CONECT records in a PDB file), or select more atoms."
        )
    return frames


def _from_dataset(section: sections.DatasetSection, seed: int) -> MoleculeFrames:
    dataset = Dataset.load(section.dataset)
    mask = held_out_frames(dataset.trajectories, section.split, section.held_out, seed)
    training, held_out = dataset.take(~mask), dataset.take(mask)
    kT = thermal_energy(dataset.temperature_k)
    bias = _known_bias(training)
    facts = _facts(section, section.dataset.name, len(training), len(held_out), forces_used=section.use_forces)
    return MoleculeFrames(
        topology=dataset.topology,
        temperature_k=dataset.temperature_k,
        training=TrainingFrames(
            training.positions.float(), (training.forces / kT).float() if section.use_forces else None, bias
        ),
        held_out=held_out.positions.float(),
        held_out_scores=(held_out.forces / kT).float(),
        held_out_energies=held_out.energies,
        held_out_bias=_known_bias(held_out),
        facts=facts
        | {"bias_corrected": bias is not None, "effective_frames": round(training.effective_size(), 1)}
        | {"simulation": dataset.settings},
    )


def _known_bias(dataset: Dataset) -> KnownBias | None:
    if dataset.bias is None:
        return None
    kT = thermal_energy(dataset.temperature_k)
    return KnownBias(dataset.bias_energies / kT, torch.tensor(dataset.bias.dihedrals))


def _from_files(section: sections.TrajectoryDataSection, seed: int) -> MoleculeFrames:
    names = section.trajectories
    found = stream_ensemble(
        names,
        topology=section.topology,
        select=section.select,
        stride=section.stride,
        most_frames=section.most_frames,
    )
    weights = log_weights(section, found.frames, found.stride)
    numbers = torch.cat([torch.full((len(x),), i) for i, x in enumerate(found.trajectories)])
    mask = held_out_frames(numbers, section.split, section.held_out, seed)
    x = torch.cat(found.trajectories)
    biases = [None, None] if weights is None else [_weighted(torch.cat(weights)[part]) for part in (~mask, mask)]
    training = TrainingFrames(x[~mask], None, biases[0])
    facts = _facts(section, section.topology.name, len(training.positions), int(mask.sum()), forces_used=False)
    if biases[0] is not None:
        facts["effective_frames"] = round(_effective(biases[0].log_weights), 1)
    if found.stride != section.stride:
        facts["thinned_to_stride"] = found.stride
    return MoleculeFrames(
        topology=found.topology,
        temperature_k=section.temperature_k,
        training=training,
        held_out=x[mask],
        held_out_scores=None,
        held_out_energies=None,
        held_out_bias=biases[1],
        facts=facts | {"trajectories": [name.name for name in names], "bias_corrected": weights is not None},
    )


def _weighted(logarithms: Tensor) -> KnownBias:
    """Weights without a collective variable: no part of a structure tells how much its neighbors count."""
    return KnownBias(logarithms - logarithms.max(), torch.zeros(0, 4, dtype=torch.long))


def _effective(logarithms: Tensor) -> float:
    return float(1 / torch.softmax(logarithms.double(), 0).square().sum())


def about(frames: MoleculeFrames) -> str:
    """One line on what there is to learn from."""
    facts = frames.facts
    forces = "with forces" if facts["forces_used"] else "positions only"
    bias = f", bias corrected ({facts['effective_frames']:.0f} effective)" if facts["bias_corrected"] else ""
    bias += f", thinned to every {facts['thinned_to_stride']}th frame" if "thinned_to_stride" in facts else ""
    return (
        f"{facts['source']}: {facts['training_frames']} frames to learn from{bias}, "
        f"{facts['held_out_frames']} held out; {frames.topology.n_atoms} atoms, {forces}"
    )


def _facts(
    section: sections.DataSection, source: str, training: int, held_out: int, *, forces_used: bool
) -> dict[str, Any]:
    return {
        "source": source,
        "training_frames": training,
        "held_out_frames": held_out,
        "split": f"by {section.split.kind}",
        "forces_used": forces_used,
    }
