"""`PotentialPerceptron` in checkpoints: an Action Matching potential for one point in a model potential."""

import math
from typing import Any

import torch

from tpsctl.checkpoints.architectures.in_network_units import (
    NetworkUnitArchitecture,
    filled,
    named_potential,
    read_sizes,
)
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.networks.potential_perceptron import PotentialPerceptron
from tpsctl.prior.action_matching import action_matching_prior
from tpsctl.prior.fields.potential_perceptron import PotentialPerceptronField
from tpsctl.prior.network import NetworkPrior

KIND = "action_matching"


class PotentialPerceptronArchitecture(NetworkUnitArchitecture):
    """Stores a potential in a checkpoint, and makes a prior of it."""

    name = "potential_perceptron"

    def card(self, about: ModelDescription) -> dict[str, Any]:
        return {**super().card(about), "noise": about.facts["noise"]}

    def description(self, card: dict[str, Any]) -> ModelDescription:
        about, noise = super().description(card), float(card["noise"])
        if about.kind != KIND or not (math.isfinite(noise) and noise >= 0):
            raise PriorError(
                f"network {self.name} with kind {about.kind!r} and noise {noise:g}; expected kind {KIND!r} and a "
                "finite noise >= 0."
            )
        about.facts["noise"] = noise
        return about

    def field(self, model: Model, topology: Topology | None) -> PotentialPerceptronField:
        with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
            network = PotentialPerceptron(read_sizes(model, lambda fields: PerceptronSizes(**fields)))
        return PotentialPerceptronField(filled(network, model))

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        about = model.description
        return action_matching_prior(
            self.field(model, topology),
            noise=about.facts["noise"],
            scale_nm=about.scale_nm,
            offset_nm=about.offset_nm,
            temperature_k=about.temperature_k,
            potential=named_potential(about),
        )

    def facts(self, about: ModelDescription) -> dict[str, Any]:
        return {**super().facts(about), "noise": about.facts["noise"]}
