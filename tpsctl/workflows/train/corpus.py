"""What a training run learns from and is judged by, made from a data set or from the user's trajectories."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.load import load_ensemble
from tpsctl.errors import DataError
from tpsctl.molecule.topology import Topology
from tpsctl.recipe import train as models
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.targets import KnownBias
from tpsctl.training.trainer import TrainingFrames
from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class Corpus:
    """Frames of one molecule, split by trajectory.

    Attributes:
        topology: The molecule.
        temperature_k: Temperature of the frames, K.
        training: Frames to learn from, float32.
        held_out: Positions kept from training, nm, float32.
        held_out_scores: Physical force over kT there, 1/nm; None if the source has no forces.
        facts: Where the frames come from, for the model card.
    """

    topology: Topology
    temperature_k: float
    training: TrainingFrames
    held_out: Float[Tensor, "frame bead 3"]
    held_out_scores: Float[Tensor, "frame bead 3"] | None
    facts: dict[str, Any]


def load_corpus(section: models.DatasetSection | models.TrajectoryDataSection, seed: int) -> Corpus:
    """The frames that a recipe names.

    Raises:
        DataError: Unusable data, too few trajectories, or a molecule without a rotatable bond.
        EndpointError: A trajectory or its topology cannot be used.
    """
    corpus = _from_dataset(section, seed) if isinstance(section, models.DatasetSection) else _from_files(section, seed)
    if not corpus.topology.rotatable_bonds:
        raise DataError(
            f"the molecule of {corpus.facts['source']} has {corpus.topology.n_atoms} atoms, "
            f"{len(corpus.topology.bonds)} known bonds and none of them rotatable; tpsctl learns internal coordinates "
            "along bonds. Give a topology with bonds (CONECT records in a PDB file), or select more atoms."
        )
    return corpus


def _from_dataset(section: models.DatasetSection, seed: int) -> Corpus:
    dataset = Dataset.load(section.dataset)
    training, held_out = dataset.split(section.held_out, seed=seed)
    kT = thermal_energy(dataset.temperature_k)
    bias = None
    if training.bias is not None:
        bias = KnownBias(training.bias_energies / kT, torch.tensor(training.bias.dihedrals))
    facts = _facts(section.dataset.name, len(training), len(held_out), forces_used=section.use_forces)
    return Corpus(
        topology=dataset.topology,
        temperature_k=dataset.temperature_k,
        training=TrainingFrames(
            training.positions.float(), (training.forces / kT).float() if section.use_forces else None, bias
        ),
        held_out=held_out.positions.float(),
        held_out_scores=(held_out.forces / kT).float(),
        facts=facts
        | {"bias_corrected": bias is not None, "effective_frames": round(training.effective_size(), 1)}
        | {"simulation": dataset.settings},
    )


def _from_files(section: models.TrajectoryDataSection, seed: int) -> Corpus:
    names = section.trajectories
    if section.held_out >= len(names):
        raise DataError(
            f"data.held_out: cannot hold out {section.held_out} of {len(names)} trajectories; "
            "give more trajectories, or hold out fewer (at least 1 must stay to learn from)."
        )
    topology, trajectories = load_ensemble(names, topology=section.topology, select=section.select)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out, training = (
        torch.cat([trajectories[i][:: section.stride] for i in sorted(chosen)]).float()
        for chosen in (order[: section.held_out], order[section.held_out :])
    )
    facts = _facts(section.topology.name, len(training), len(held_out), forces_used=False)
    return Corpus(
        topology=topology,
        temperature_k=section.temperature_k,
        training=TrainingFrames(training, None, None),
        held_out=held_out,
        held_out_scores=None,
        facts=facts | {"trajectories": [name.name for name in names], "bias_corrected": False},
    )


def _facts(source: str, training: int, held_out: int, *, forces_used: bool) -> dict[str, Any]:
    return {
        "source": source,
        "training_frames": training,
        "held_out_frames": held_out,
        "split": "by trajectory",
        "forces_used": forces_used,
    }
