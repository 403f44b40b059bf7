"""What every published format is read into: a description in plain values, and tensors. And a prior from that.

The description is all that a native file has to keep beside the tensors, so converted files are built by the
same code and give the same numbers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from tpsctl.checkpoints.layouts.tetrapeptide import SLOTS, tetrapeptide_beads
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.prior.fields import MoleculeField, PointField
from tpsctl.prior.potentials import NamedPotential, mueller_brown
from tpsctl.prior.published import Field, PublishedPrior
from tpsctl.score.levels import TABLES

TABLE_PREFIX = "noise_table."
NETWORK_PREFIX = "network."
KINDS = ("diffusion", "flow_matching")
_LARGEST = 1 << 20
_Network = TypeVar("_Network", bound=torch.nn.Module)


@dataclass(frozen=True)
class Description:
    """A published model in plain values.

    Attributes:
        layout: Where it came from, e.g. "two-for-one diffusion".
        kind: "diffusion" or "flow_matching".
        network: "graph_transformer" or "perceptron".
        sizes: Shapes of the network.
        scale_nm: Length of one network unit, nm; one value or one per dimension.
        offset_nm: Position of the network's origin, nm, likewise.
        temperature_k: Temperature of the training data, K; None if unknown.
        clock: How the published code counts diffusion time, for people.
        provenance: Files, hashes and arguments it was read from.
        notes: What a user should know, one sentence each.
        potential: Name of the model potential the data came from; None for molecules.
    """

    layout: str
    kind: str
    network: str
    sizes: dict[str, Any]
    scale_nm: tuple[float, ...]
    offset_nm: tuple[float, ...]
    temperature_k: float | None
    clock: str
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    potential: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Description":
        """Inverse of `to_dict`; raises TypeError, KeyError or ValueError for other fields."""
        numbers = {key: tuple(float(v) for v in fields[key]) for key in ("scale_nm", "offset_nm")}
        return cls(**{**fields, **numbers, "notes": tuple(fields["notes"])})


@dataclass(frozen=True)
class Model:
    """A published model: its description, the network's weights and the tables of its noise.

    Attributes:
        weights: Parameters under tpsctl's names.
        tables: `noising.TABLES`; empty for flow matching.
    """

    description: Description
    weights: dict[str, Tensor]
    tables: dict[str, Tensor]

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())


def build(
    model: Model, topology: Topology | None = None, *, compat: bool = False, beads: Beads | None = None
) -> PublishedPrior:
    """The prior of a model, float32 on the CPU.

    Args:
        model: What a format has read.
        topology: The user's molecule; needed where one network serves many molecules.
        compat: Reproduce the published code's treatment of padding and net forces; for comparisons only.
        beads: Beads of a configuration, instead of those the topology has.

    Raises:
        PriorError: Tensors do not fit the description, or the topology does not fit the network.
    """
    about = model.description
    missing = [name for name in TABLES if about.kind == "diffusion" and name not in model.tables]
    if about.kind not in KINDS or missing:
        raise PriorError(f"{about.layout}: kind {about.kind!r}, missing tables: {', '.join(missing) or 'none'}.")
    known = None
    if about.network == "graph_transformer":
        with torch.device("meta"):  # no memory before the shapes are known to be those of the file
            network = GraphTransformer(_sizes(model, GraphTransformerSizes.from_dict))
        if network.sizes.types:
            known = topology
        chosen = beads or _beads(network.sizes, topology)
        made: Field = MoleculeField(_filled(network, model), chosen, compat=compat)
    elif about.network == "perceptron":
        with torch.device("meta"):
            perceptron = Perceptron(_sizes(model, lambda fields: PerceptronSizes(**fields)))
        made = PointField(_filled(perceptron, model))
    else:
        raise PriorError(f"network: got {about.network!r}, expected graph_transformer or perceptron.")
    prior = PublishedPrior(
        about.kind,
        made,
        model.tables,
        scale_nm=about.scale_nm,
        offset_nm=about.offset_nm,
        temperature_k=about.temperature_k,
        topology=known,
    )
    if about.potential == "mueller_brown":
        prior.potential = NamedPotential(about.potential, mueller_brown)
    return prior


def _sizes(model: Model, make: Callable[[dict[str, Any]], Any]) -> Any:
    about = model.description
    try:
        sizes = make(about.sizes)
        numbers = [value for value in about.sizes.values() if not isinstance(value, str)]
        if min(numbers) < 0 or sizes.layers > len(model.weights) or max(numbers) > _LARGEST:
            raise ValueError("a size is negative, or larger than the file can fill")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise PriorError(f"{about.layout}: the network's sizes are incomplete or wrong ({error!r}).") from None
    return sizes


def _filled(network: _Network, model: Model) -> _Network:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in model.weights.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise PriorError(
            f"{model.description.layout}: {len(wrong)} tensors do not fit the arguments; {name} has shape "
            f"{found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}. "
            "The weights and the arguments belong to different models, or the layout is not supported."
        )
    # copies lie aligned in memory, so that sums are made in one order wherever the tensors came from
    network.load_state_dict({name: tensor.clone() for name, tensor in model.weights.items()}, assign=True)
    return network


def _beads(sizes: GraphTransformerSizes, topology: Topology | None) -> Beads:
    if not sizes.types:
        return Beads(torch.arange(sizes.slots))
    if sizes.slots != SLOTS:
        raise PriorError(
            f"a network with bead types and {sizes.slots} places; tpsctl knows the tetrapeptides' {SLOTS}."
        )
    beads = tetrapeptide_beads(topology)
    if beads.types is None or int(beads.types.max()) >= sizes.types:
        raise PriorError(
            f"the network knows {sizes.types} bead types; the atomic numbers of the molecule go beyond them."
        )
    return beads
