"""The networks that checkpoints know, by the name in a model card."""

from tpsctl.checkpoints.architectures.base import KINDS, Architecture
from tpsctl.checkpoints.architectures.graph_transformer import GraphTransformerArchitecture
from tpsctl.checkpoints.architectures.internal_energy import InternalEnergyArchitecture
from tpsctl.checkpoints.architectures.perceptron import PerceptronArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (InternalEnergyArchitecture(), GraphTransformerArchitecture(), PerceptronArchitecture())
}
"""A further network is one more file in this folder, listed here."""

__all__ = ["ARCHITECTURES", "KINDS", "Architecture"]
