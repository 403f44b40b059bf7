"""Frames of a molecule, to learn from and to be judged by: from a data set or from the user's trajectories."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.load import load_ensemble
from tpsctl.errors import DataError
from tpsctl.molecule.topology import Topology
from tpsctl.recipe import train as sections
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.objectives.internal_energy import TrainingFrames
from tpsctl.training.targets import KnownBias
from tpsctl.units import thermal_energy


@dataclass(frozen=True)
class MoleculeFrames:
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
    training, held_out = dataset.split(section.held_out, seed=seed)
    kT = thermal_energy(dataset.temperature_k)
    bias = None
    if training.bias is not None:
        bias = KnownBias(training.bias_energies / kT, torch.tensor(training.bias.dihedrals))
    facts = _facts(section.dataset.name, len(training), len(held_out), forces_used=section.use_forces)
    return MoleculeFrames(
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


def _from_files(section: sections.TrajectoryDataSection, seed: int) -> MoleculeFrames:
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
    return MoleculeFrames(
        topology=topology,
        temperature_k=section.temperature_k,
        training=TrainingFrames(training, None, None),
        held_out=held_out,
        held_out_scores=None,
        facts=facts | {"trajectories": [name.name for name in names], "bias_corrected": False},
    )


def about(frames: MoleculeFrames) -> str:
    """One line on what there is to learn from."""
    facts = frames.facts
    forces = "with forces" if facts["forces_used"] else "positions only"
    bias = f", bias corrected ({facts['effective_frames']:.0f} effective)" if facts["bias_corrected"] else ""
    return (
        f"{facts['source']}: {facts['training_frames']} frames to learn from{bias}, "
        f"{facts['held_out_frames']} held out; {frames.topology.n_atoms} atoms, {forces}"
    )


def _facts(source: str, training: int, held_out: int, *, forces_used: bool) -> dict[str, Any]:
    return {
        "source": source,
        "training_frames": training,
        "held_out_frames": held_out,
        "split": "by trajectory",
        "forces_used": forces_used,
    }
