"""Networks with their own unit of length, such as the published ones; their card holds its scale and origin in nm.

The output of a diffusion model is noise, and its schedule is a table of levels. The output of a flow-matching model is
the velocity on the straight interpolant. The output of a score-matching model is noise, too; it sees noise widths
and has any schedule, which is in the card.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from tpsctl.checkpoints.architectures.base import Architecture
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.field import Field
from tpsctl.prior.fields.bridge_perceptron import BridgeField
from tpsctl.prior.network import NetworkPrior, bridge_prior, noise_prior, velocity_prior, width_noise_prior
from tpsctl.prior.potentials import NamedPotential, mueller_brown
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.levels import TABLES, Levels
from tpsctl.score.schedule import schedule_from_dict

_LARGEST = 1 << 20
_POTENTIALS = {"mueller_brown": mueller_brown}
_Network = TypeVar("_Network", bound=nn.Module)
_Sizes = TypeVar("_Sizes")


class NetworkUnitArchitecture(Architecture):
    """Stores a network with its own unit of length in a checkpoint, and makes a prior of it."""

    prefix = "network."

    @abstractmethod
    def field(self, model: Model, topology: Topology | None) -> Field:
        """Make the network with its weights, as a field; it raises the same errors as `prior`."""

    def card(self, about: ModelDescription) -> dict[str, Any]:
        return {
            "layout": about.layout,
            "kind": about.kind,
            "network": {"name": self.name, **about.sizes},
            "scale_nm": about.scale_nm,
            "offset_nm": about.offset_nm,
            "temperature_k": about.temperature_k,
            "clock": about.clock,
            "provenance": about.provenance,
            "notes": about.notes,
            "potential": about.potential,
            "length_unit": "nm",
            **_schedule_entries(about),
        }

    def description(self, card: dict[str, Any]) -> ModelDescription:
        scale, offset = (tuple(float(v) for v in card[key]) for key in ("scale_nm", "offset_nm"))
        if not all(math.isfinite(v) and v > 0 for v in scale) or not all(map(math.isfinite, offset)):
            raise ValueError("a length is not a finite number, or its unit not > 0")
        return ModelDescription(
            kind=card["kind"],
            network=self.name,
            sizes={key: value for key, value in card["network"].items() if key != "name"},
            temperature_k=card["temperature_k"],
            scale_nm=scale,
            offset_nm=offset,
            potential=card.get("potential"),
            layout=card["layout"],
            clock=card["clock"],
            provenance=dict(card["provenance"]),
            notes=tuple(card["notes"]),
            schedule=schedule_from_dict(card["schedule"]) if "schedule" in card else None,
            smallest_width_nm=float(card.get("smallest_width_nm", 0.0)),
        )

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        return prior_of(model, self.field(model, topology))

    def facts(self, about: ModelDescription) -> dict[str, Any]:
        lengths = {"network_unit_nm": list(about.scale_nm), "origin_nm": list(about.offset_nm)}
        return {**lengths, "provenance": about.provenance, "notes": list(about.notes)}


def prior_of(model: Model, field: Field, topology: Topology | None = None) -> NetworkPrior:
    """Make the prior of a model whose network is given as a field.

    Args:
        model: The model.
        field: Its network, with the beads of the user's molecule.
        topology: The molecule of these beads; None if it is unknown.

    Raises:
        PriorError: Tables of the noise levels are missing or damaged.
    """
    about = model.description
    said: dict[str, Any] = {
        "scale_nm": about.scale_nm,
        "offset_nm": about.offset_nm,
        "temperature_k": about.temperature_k,
        "topology": topology,
        "potential": named_potential(about),
    }
    if about.kind == "flow_matching":
        return velocity_prior(field, **said)
    if isinstance(field, BridgeField):
        return bridge_prior(field, **said)
    if about.kind == "score_matching":
        return _score_matching(about, field, said)
    missing = [name for name in TABLES if name not in model.tables]
    if missing:
        raise PriorError(f"{about.layout}: kind {about.kind!r}, missing tables: {', '.join(missing)}.")
    return noise_prior(field, Levels(model.tables), **said)


def named_potential(about: ModelDescription) -> NamedPotential | None:
    """The model potential that the training data came from; None if there is none, or if this version lacks it."""
    name = about.potential
    return NamedPotential(name, _POTENTIALS[name]) if name in _POTENTIALS else None


def _score_matching(about: ModelDescription, field: Field, said: dict[str, Any]) -> NetworkPrior:
    """The prior of a network that sees noise widths.

    Raises:
        PriorError: The schedule or the smallest noise width is missing.
    """
    if about.schedule is None or not (math.isfinite(about.smallest_width_nm) and about.smallest_width_nm > 0):
        raise PriorError(f"{about.layout}: kind {about.kind!r} needs a schedule and a smallest_width_nm > 0.")
    field.smallest_width = about.smallest_width_nm / NetworkUnits(about.scale_nm).mean_scale_nm
    return width_noise_prior(field, about.schedule, **said)


def _schedule_entries(about: ModelDescription) -> dict[str, Any]:
    """The schedule and the smallest noise width for the card, where the description has a schedule."""
    if about.schedule is None:
        return {}
    return {"schedule": about.schedule.to_dict(), "smallest_width_nm": about.smallest_width_nm}


def read_sizes(model: Model, make: Callable[[dict[str, Any]], _Sizes]) -> _Sizes:
    """Read the sizes of the network from the description; they must not exceed the sizes of the tensors.

    Raises:
        PriorError: The sizes are incomplete or wrong.
    """
    about = model.description
    try:
        sizes = make(about.sizes)
        numbers = [value for value in about.sizes.values() if not isinstance(value, str)]
        if min(numbers) < 0 or about.sizes["layers"] > len(model.weights) or max(numbers) > _LARGEST:
            raise ValueError("a size is negative, or larger than the file can fill")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise PriorError(f"{about.layout}: the network's sizes are incomplete or wrong ({error!r}).") from None
    return sizes


def filled(network: _Network, model: Model) -> _Network:
    """Put the weights of a model into a network, in their widest precision and at least float32.

    Raises:
        PriorError: Names, shapes or types of the tensors do not fit the network.
    """
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
    # Copies are aligned in memory, so that sums are computed in the same order wherever the tensors came from.
    copies = {name: tensor.clone() for name, tensor in model.widened().weights.items()}
    network.load_state_dict(copies, assign=True)
    return network
