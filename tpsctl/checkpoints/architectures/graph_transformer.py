"""`GraphTransformer` in checkpoints: for one protein, with beads known by their place, or for all tetrapeptides."""

import torch

from tpsctl.checkpoints.architectures.in_network_units import NetworkUnitArchitecture, filled, prior_of, read_sizes
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.networks.graph_transformer.tetrapeptide import SLOTS, tetrapeptide_beads
from tpsctl.prior.field import Field
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import NetworkPrior


class GraphTransformerArchitecture(NetworkUnitArchitecture):
    """How a graph transformer is stored and made a prior."""

    name = "graph_transformer"

    def field(self, model: Model, topology: Topology | None) -> Field:
        network = graph_transformer(model)
        return GraphTransformerField(network, _beads(network.sizes, topology))

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        known = topology if model.description.sizes.get("types") else None
        return prior_of(model, self.field(model, topology), known)


def graph_transformer(model: Model) -> GraphTransformer:
    """The network of a model, with its weights.

    Raises:
        PriorError: Sizes and tensors do not fit.
    """
    with torch.device("meta"):  # no memory before the shapes are known to be those of the file
        network = GraphTransformer(read_sizes(model, GraphTransformerSizes.from_dict))
    return filled(network, model)


def _beads(sizes: GraphTransformerSizes, topology: Topology | None) -> Beads:
    if not sizes.types:
        return Beads(torch.arange(sizes.slots))
    if sizes.slots != SLOTS:
        raise PriorError(
            f"a network with bead types and {sizes.slots} places; tpsctl knows the tetrapeptides' {SLOTS}."
        )
    beads = tetrapeptide_beads(topology)
    if beads.types is None or int(beads.types.max()) >= sizes.types:
        raise PriorError(
            f"the network knows {sizes.types} bead types; the atomic numbers of the molecule go beyond them."
        )
    return beads
