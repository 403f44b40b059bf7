"""A model as checkpoints store it: a description in plain values, and tensors. Every network uses the same classes.

Published layouts are read into a `Model`, training returns one, the native format stores one (`native`), and `build`
makes a prior of one. So trained and converted models are handled by the same code.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.score.schedule import NoiseSchedule

PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Precisions that the weights of a model may have."""


@dataclass(frozen=True)
class ModelDescription:
    """A model in plain values.

    Attributes:
        kind: "diffusion", "flow_matching", "action_matching", "score_matching" or "schroedinger_bridge".
        network: Name of the network, one of `tpsctl.checkpoints.architectures`.
        sizes: Shapes of the network.
        temperature_k: Temperature of the training data, K; None if unknown.
        scale_nm: Length of one network unit, nm; one value or one per dimension.
        offset_nm: Position of the network's origin, nm; one value or one per dimension.
        schedule: Noise schedule, in the network's unit of length; None if it is in the tables, or if it is the
            straight interpolant of flow matching.
        smallest_width_nm: Smallest noise width of the training, nm; 0 if it is unknown.
        topology: The molecule, if the network serves one only; None otherwise.
        molecules: The molecules, if it was trained on several; empty otherwise.
        potential: Name of the model potential that the data came from; None for molecules.
        layout: Layout of the file it came from, e.g. "two-for-one diffusion".
        clock: Explanation of how the published code counts diffusion time.
        provenance: Files, hashes and arguments it was read from.
        notes: Notes for the user, one sentence each.
        facts: Other entries of its model card (JSON values): training, data, licence, metrics.
    """

    kind: str
    network: str
    sizes: dict[str, Any]
    temperature_k: float | None
    scale_nm: tuple[float, ...] = (1.0,)
    offset_nm: tuple[float, ...] = (0.0,)
    schedule: NoiseSchedule | None = None
    smallest_width_nm: float = 0.0
    topology: Topology | None = None
    molecules: tuple[Topology, ...] = ()
    potential: str | None = None
    layout: str = "native"
    clock: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A model: its description, the network's weights and, for noise in levels, the tables of its noise.

    Attributes:
        description: The description.
        weights: Parameters and tables of the network, under tpsctl's names.
        tables: Tables of the noise levels (`score.levels.TABLES`); empty if noise has no levels.
    """

    description: ModelDescription
    weights: dict[str, Tensor]
    tables: dict[str, Tensor] = field(default_factory=dict)

    @property
    def precision(self) -> torch.dtype:
        """The widest precision of its weights.

        Raises:
            PriorError: A weight is no number in one of `PRECISIONS`.
        """
        for name, tensor in self.weights.items():
            if tensor.dtype not in PRECISIONS:
                known = ", ".join(map(_name_of, PRECISIONS))
                raise PriorError(
                    f"{self.description.layout}: tensor {name} is {_name_of(tensor.dtype)}; weights are {known}."
                )
        return max((tensor.dtype for tensor in self.weights.values()), key=PRECISIONS.index)

    def widened(self) -> "Model":
        """The same model with weights in float64 if any of them is, and in float32 otherwise.

        Either contains all values of the half precisions.

        Raises:
            PriorError: As `precision`.
        """
        dtype = max(self.precision, torch.float32, key=PRECISIONS.index)
        return replace(self, weights={name: tensor.to(dtype) for name, tensor in self.weights.items()})


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
