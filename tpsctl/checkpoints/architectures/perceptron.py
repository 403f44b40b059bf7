"""`Perceptron` in checkpoints: a network for one point in a model potential."""

import torch

from tpsctl.checkpoints.architectures.in_network_units import NetworkUnitArchitecture, filled, read_sizes
from tpsctl.checkpoints.model import Model
from tpsctl.molecule.topology import Topology
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.prior.field import Field
from tpsctl.prior.fields.perceptron import PerceptronField


class PerceptronArchitecture(NetworkUnitArchitecture):
    """Stores a perceptron in a checkpoint, and makes a prior of it."""

    name = "perceptron"

    def field(self, model: Model, topology: Topology | None) -> Field:
        with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
            network = Perceptron(read_sizes(model, lambda fields: PerceptronSizes(**fields)))
        return PerceptronField(filled(network, model))
