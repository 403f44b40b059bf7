"""The networks that checkpoints can hold, by the name in the model card."""

from tpsctl.checkpoints.architectures.base import KINDS, Architecture
from tpsctl.checkpoints.architectures.bridge_perceptron import BridgePerceptronArchitecture
from tpsctl.checkpoints.architectures.chain_energy import ChainEnergyArchitecture
from tpsctl.checkpoints.architectures.energy_perceptron import EnergyPerceptronArchitecture
from tpsctl.checkpoints.architectures.graph_transformer import GraphTransformerArchitecture
from tpsctl.checkpoints.architectures.internal_energy import InternalEnergyArchitecture
from tpsctl.checkpoints.architectures.perceptron import PerceptronArchitecture
from tpsctl.checkpoints.architectures.potential_perceptron import PotentialPerceptronArchitecture
from tpsctl.checkpoints.architectures.shared_transformer import SharedTransformerArchitecture
from tpsctl.checkpoints.architectures.snapshot_potential import SnapshotPotentialArchitecture
from tpsctl.checkpoints.architectures.transformer_energy import TransformerEnergyArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        InternalEnergyArchitecture(),
        ChainEnergyArchitecture(),
        TransformerEnergyArchitecture(),
        SharedTransformerArchitecture(),
        GraphTransformerArchitecture(),
        PerceptronArchitecture(),
        PotentialPerceptronArchitecture(),
        SnapshotPotentialArchitecture(),
        EnergyPerceptronArchitecture(),
        BridgePerceptronArchitecture(),
    )
}
"""All architectures by name; a new network needs one more file in this folder and an entry here."""

__all__ = ["ARCHITECTURES", "KINDS", "Architecture"]
