"""The networks that `tpsctl train` trains on frames of a molecule."""

from typing import Any

from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.topology import Topology
from tpsctl.recipe import train as sections
from tpsctl.workflows.train.networks.base import TrainedNetwork
from tpsctl.workflows.train.networks.chain_energy import TrainedChainEnergy
from tpsctl.workflows.train.networks.internal_energy import TrainedInternalEnergy
from tpsctl.workflows.train.networks.transformer_energy import TrainedTransformerEnergy

_CLASSES: dict[str, type[TrainedNetwork[Any]]] = {
    network.name: network for network in (TrainedInternalEnergy, TrainedChainEnergy, TrainedTransformerEnergy)
}

_COARSE = (BeadKind.ALPHA_CARBONS, BeadKind.COARSE_GRAINED)


def chosen_network(recipe: sections.TrainRecipe, topology: Topology) -> TrainedNetwork[Any]:
    """The network that a recipe names, or the one that suits the beads."""
    kind = recipe.model.network.kind
    if kind == "auto":
        kind = "chain_energy" if kind_of_beads(topology) in _COARSE else "internal_energy"
    return _CLASSES[kind](recipe)


__all__ = ["TrainedNetwork", "chosen_network"]
