"""The interface between a kind of network and the native format and `build`; every network has one file here."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.molecule.topology import Topology
from tpsctl.prior.network import NetworkPrior

KINDS = ("diffusion", "flow_matching", "action_matching", "score_matching", "schroedinger_bridge")


class Architecture(ABC):
    """Stores one kind of network in a checkpoint, and makes a prior of it.

    Attributes:
        name: Name of the network in model cards.
        prefix: Prefix of the names of its tensors in native files.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]

    @abstractmethod
    def card(self, about: ModelDescription) -> dict[str, Any]:
        """The model card of a description, without the entries that the native format adds."""

    @abstractmethod
    def description(self, card: dict[str, Any]) -> ModelDescription:
        """Convert a model card back to a description; the inverse of `card`.

        Raises:
            PriorError: The card describes something that this network does not support.
            KeyError, TypeError, ValueError, AttributeError, OverflowError: The card is incomplete or damaged.
        """

    @abstractmethod
    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        """Make the prior of a model, on the CPU.

        Args:
            model: The model.
            topology: The user's molecule; needed if the network serves several molecules.

        Raises:
            PriorError: Tensors do not fit the description, or the topology does not fit the network.
        """

    @abstractmethod
    def facts(self, about: ModelDescription) -> dict[str, Any]:
        """Facts about the network that `tpsctl inspect` shows in addition to the facts of every model."""
