"""What the native format and `build` have to know of a network: one file per network beside this one."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.molecule.topology import Topology
from tpsctl.prior.network import NetworkPrior

KINDS = ("diffusion", "flow_matching")


class Architecture(ABC):
    """A network as checkpoints know it.

    Attributes:
        name: As in model cards.
        prefix: What the names of its tensors start with in native files.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]

    @abstractmethod
    def card(self, about: ModelDescription) -> dict[str, Any]:
        """The model card of a description, without the format's own entries."""

    @abstractmethod
    def description(self, card: dict[str, Any]) -> ModelDescription:
        """Inverse of `card`.

        Raises:
            PriorError: The card asks for what this network is not.
            KeyError, TypeError, ValueError, AttributeError, OverflowError: The card is incomplete or damaged.
        """

    @abstractmethod
    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        """The prior of a model on the CPU, for the user's molecule where one network serves many.

        Raises:
            PriorError: Tensors do not fit the description, or the topology does not fit the network.
        """

    @abstractmethod
    def facts(self, about: ModelDescription) -> dict[str, Any]:
        """What `tpsctl inspect` says beside that which it says of every model."""
