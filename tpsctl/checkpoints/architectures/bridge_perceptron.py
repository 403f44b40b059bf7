"""`BridgePerceptron` in checkpoints: the drifts of a Schroedinger bridge for one point in a model potential."""

import torch

from tpsctl.checkpoints.architectures.in_network_units import NetworkUnitArchitecture, filled, read_sizes
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.bridge_perceptron import BridgePerceptron, BridgeSizes
from tpsctl.prior.field import Field
from tpsctl.prior.fields.bridge_perceptron import BridgeField


class BridgePerceptronArchitecture(NetworkUnitArchitecture):
    """Stores the drifts of a Schroedinger bridge in a checkpoint, and makes a prior of them."""

    name = "bridge_perceptron"

    def field(self, model: Model, topology: Topology | None) -> Field:
        sizes = read_sizes(model, lambda fields: BridgeSizes(**fields))
        if not sizes.noise > 0 or model.description.kind != "schroedinger_bridge":
            raise PriorError(f"{model.description.layout}: a bridge needs this kind, and a noise > 0.")
        with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
            network = BridgePerceptron(sizes)
        return BridgeField(filled(network, model))
