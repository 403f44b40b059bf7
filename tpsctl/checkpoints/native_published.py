"""Published models as native checkpoints: the description as the card, weights and noise tables as tensors."""

from pathlib import Path
from typing import Any

from tpsctl.checkpoints.model import NETWORK_PREFIX, TABLE_PREFIX, Description, Model
from tpsctl.checkpoints.native import read_tensors, write_native
from tpsctl.errors import PriorError

NETWORKS = ("graph_transformer", "perceptron")


def save_model(path: Path, model: Model) -> None:
    """Write a model as a native checkpoint, atomically."""
    about = model.description
    card = about.to_dict() | {"network": {"name": about.network, **about.sizes}, "length_unit": "nm"}
    del card["sizes"]
    tensors = {NETWORK_PREFIX + name: tensor for name, tensor in model.weights.items()}
    write_native(path, card, tensors | {TABLE_PREFIX + name: tensor for name, tensor in model.tables.items()})


def load_model(path: Path, card: dict[str, Any]) -> Model:
    """The model in a native checkpoint with this card.

    Raises:
        PriorError: The card is incomplete, or the tensors are damaged.
    """
    fields = {key: card.get(key) for key in Description.__dataclass_fields__}
    try:
        network = dict(card["network"])
        about = Description.from_dict(fields | {"network": str(network.pop("name")), "sizes": network})
    except (KeyError, TypeError, ValueError) as error:
        raise PriorError(f"{path}: its model card is incomplete or damaged ({error!r}).") from None
    tensors = read_tensors(path, card)
    return Model(
        about,
        {k.removeprefix(NETWORK_PREFIX): v for k, v in tensors.items() if k.startswith(NETWORK_PREFIX)},
        {k.removeprefix(TABLE_PREFIX): v for k, v in tensors.items() if k.startswith(TABLE_PREFIX)},
    )
