"""The one place where a trained network becomes a prior and a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import save_model
from tpsctl.networks.bridge_perceptron import BridgePerceptron
from tpsctl.networks.energy_perceptron import EnergyPerceptron, PointNetwork
from tpsctl.networks.perceptron import Perceptron
from tpsctl.prior.network import NetworkPrior

_NAMES: dict[type, str] = {
    Perceptron: "perceptron",
    EnergyPerceptron: "energy_perceptron",
    BridgePerceptron: "bridge_perceptron",
}
"""Names of the networks of points in checkpoints."""


@dataclass(frozen=True)
class PointModel:
    """A trained perceptron and, for diffusion in levels, the tables of its noise."""

    network: PointNetwork | BridgePerceptron
    tables: dict[str, Tensor]


def save_prior(file: Path, prior: NetworkPrior, network: str, sizes: dict[str, Any], card: dict[str, Any]) -> None:
    """Write the checkpoint of a molecule; `network` is the name of its architecture."""
    about = ModelDescription(
        kind=prior.kind,
        network=network,
        sizes=sizes,
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
    name = _NAMES[type(model.network)]
    about = ModelDescription(layout="tpsctl points", network=name, sizes=sizes, **card)
    save_model(file, Model(about, model.network.state_dict(), model.tables))
