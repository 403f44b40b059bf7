"""`Perceptron` in checkpoints: it moves a point in a model potential."""

import torch

from tpsctl.checkpoints.architectures.in_network_units import NetworkUnitArchitecture, filled, read_sizes
from tpsctl.checkpoints.model import Model
from tpsctl.molecule.topology import Topology
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.prior.field import Field
from tpsctl.prior.fields.perceptron import PerceptronField


class PerceptronArchitecture(NetworkUnitArchitecture):
    """How a perceptron is stored and made a prior."""

    name = "perceptron"

    def field(self, model: Model, topology: Topology | None) -> Field:
        with torch.device("meta"):  # no memory before the shapes are known to be those of the file
            network = Perceptron(read_sizes(model, lambda fields: PerceptronSizes(**fields)))
        return PerceptronField(filled(network, model))
