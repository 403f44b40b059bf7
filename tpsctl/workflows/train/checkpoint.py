"""The one place where a trained network becomes a prior and a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import save_model
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.networks.perceptron import Perceptron
from tpsctl.prior.network import NetworkPrior, energy_prior
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
) -> NetworkPrior:
    """The prior of a trained internal energy."""
    return energy_prior(
        kind, network, schedule, topology, temperature_k=temperature_k, smallest_width_nm=smallest_width_nm
    )


def save_prior(file: Path, prior: NetworkPrior, sizes: InternalEnergySizes, card: dict[str, Any]) -> None:
    """Write the checkpoint of a molecule."""
    about = ModelDescription(
        kind=prior.kind,
        network="internal_energy",
        sizes=sizes.to_dict(),
        temperature_k=prior.temperature_k,
        schedule=prior.schedule,
        smallest_width_nm=prior.smallest_width_nm,
        topology=prior.topology,
        facts=card,
    )
    save_model(file, Model(about, prior.field.network.state_dict()))


def save_points(file: Path, model: PointModel, card: dict[str, Any]) -> None:
    """Write the checkpoint of a model potential."""
    sizes = dict(model.network.sizes.to_dict())
    about = ModelDescription(layout="tpsctl points", network="perceptron", sizes=sizes, **card)
    save_model(file, Model(about, model.network.state_dict(), model.tables))
