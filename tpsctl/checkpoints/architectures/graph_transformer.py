"""`GraphTransformer` in checkpoints: a network for one protein, whose beads have slots only, or for tetrapeptides."""

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
    """Stores a graph transformer in a checkpoint, and makes a prior of it."""

    name = "graph_transformer"

    def field(self, model: Model, topology: Topology | None) -> Field:
        network = graph_transformer(model)
        return GraphTransformerField(network, _beads(network.sizes, topology))

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        known = topology if model.description.sizes.get("types") else None
        return prior_of(model, self.field(model, topology), known)


def graph_transformer(model: Model) -> GraphTransformer:
    """Make the network of a model, with its weights.

    Raises:
        PriorError: The sizes of the description and the tensors do not fit.
    """
    with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
        network = GraphTransformer(read_sizes(model, GraphTransformerSizes.from_dict))
    return filled(network, model)


def _beads(sizes: GraphTransformerSizes, topology: Topology | None) -> Beads:
    if not sizes.types:
        return Beads(torch.arange(sizes.slots))
    if sizes.slots != SLOTS:
        raise PriorError(f"the network has bead types and {sizes.slots} slots, expected {SLOTS} (tetrapeptides).")
    beads = tetrapeptide_beads(topology)
    if beads.types is None or int(beads.types.max()) >= sizes.types:
        raise PriorError(
            f"the network has {sizes.types} bead types, and an atomic number of the molecule is not among them."
        )
    return beads
