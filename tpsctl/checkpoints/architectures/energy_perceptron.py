"""`EnergyPerceptron` in checkpoints: a conservative network for one point in a model potential."""

import torch

from tpsctl.checkpoints.architectures.in_network_units import NetworkUnitArchitecture, filled, read_sizes
from tpsctl.checkpoints.model import Model
from tpsctl.molecule.topology import Topology
from tpsctl.networks.energy_perceptron import EnergyPerceptron
from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.prior.field import Field
from tpsctl.prior.fields.energy_perceptron import EnergyPerceptronField


class EnergyPerceptronArchitecture(NetworkUnitArchitecture):
    """Stores a conservative perceptron in a checkpoint, and makes a prior of it."""

    name = "energy_perceptron"

    def field(self, model: Model, topology: Topology | None) -> Field:
        with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
            network = EnergyPerceptron(read_sizes(model, lambda fields: PerceptronSizes(**fields)))
        return EnergyPerceptronField(filled(network, model))
