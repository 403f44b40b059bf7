"""What a training consists of; each kind of recipe says what its parts are.

`tpsctl.workflows.train.run` goes through the parts in order. A new kind of recipe is a new file with a `TrainingTask`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.training.loop import LoopSettings
from tpsctl.training.objectives.base import NetworkT, Objective

DataT = TypeVar("DataT")
ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Compared:
    """Samples of a model and data that they were compared with.

    Attributes:
        topology: The molecule.
        samples: Samples, nm.
        data: Data with the same noise, nm.
        width_nm: Width of the noise in both, nm.
    """

    topology: Topology
    samples: Float[Tensor, "sample bead 3"]
    data: Float[Tensor, "frame bead 3"]
    width_nm: float


class TrainingTask(ABC, Generic[DataT, NetworkT, ModelT]):
    """The parts of a training for one recipe."""

    @abstractmethod
    def load(self) -> DataT:
        """The data that the recipe names."""

    @abstractmethod
    def about(self, data: DataT) -> str:
        """One line on the data, for whoever watches."""

    @abstractmethod
    def objective(self, data: DataT) -> Objective[Any, NetworkT]:
        """What is minimized."""

    @abstractmethod
    def loop_settings(self) -> LoopSettings:
        """How it is minimized."""

    @abstractmethod
    def model(self, network: NetworkT, data: DataT) -> ModelT:
        """The model of a trained network."""

    @abstractmethod
    def judge(self, model: ModelT, losses: Sequence[float], data: DataT) -> dict[str, Any]:
        """How good the model is, for its card; `losses` are those of all steps."""

    def compared(self) -> Mapping[str, Compared]:
        """What the last `judge` compared, for figures, by the name of the molecule, or "" if there is only one."""
        return {}

    @abstractmethod
    def save(self, file: Path, model: ModelT, data: DataT, quality: dict[str, Any], identity: dict[str, Any]) -> None:
        """Write the checkpoint; `quality` is what `judge` found, `identity` the recipe with its digest and inputs."""
