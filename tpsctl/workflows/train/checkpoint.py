"""The one place where a trained network becomes a prior and a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.checkpoints.model import Description, Model
from tpsctl.checkpoints.native import save_checkpoint
from tpsctl.checkpoints.native_published import save_model
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.networks.perceptron import Perceptron
from tpsctl.prior.generative import GenerativePrior
from tpsctl.score.schedule import NoiseSchedule


@dataclass(frozen=True)
class PointModel:
    """A trained perceptron and, for diffusion, the tables of its noise."""

    network: Perceptron
    tables: dict[str, Tensor]


def make_prior(
    kind: str,
    network: InternalEnergy,
    schedule: NoiseSchedule,
    topology: Topology,
    temperature_k: float,
    smallest_width_nm: float,
) -> GenerativePrior:
    """The prior of a trained internal energy."""
    return GenerativePrior(kind, network, schedule, topology, temperature_k, smallest_width_nm)


def save_prior(file: Path, prior: GenerativePrior, sizes: InternalEnergySizes, card: dict[str, Any]) -> None:
    """Write the checkpoint of a molecule."""
    save_checkpoint(file, prior, sizes, card)


def save_points(file: Path, model: PointModel, card: dict[str, Any]) -> None:
    """Write the checkpoint of a model potential."""
    sizes = dict(model.network.sizes.to_dict())
    about = Description(layout="tpsctl points", network="perceptron", sizes=sizes, **card)
    save_model(file, Model(about, model.network.state_dict(), model.tables))
