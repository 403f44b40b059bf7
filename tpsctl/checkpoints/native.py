"""Native checkpoints: one .safetensors file with a model card; it contains no code.

The tensors are the network's parameters and tables. The model card is the metadata entry "tpsctl", a JSON object. It
holds format version, kind, network and sizes, temperature (K), further entries of the network (see `architectures`:
atoms and bonds, schedule, length unit), origin, licence, metrics, and the SHA-256 of the card and all tensors, which
reveals damage that can still be parsed.

The sizes in a card are compared with the tensors before anything is built from them, so a malicious card can neither
exhaust memory nor cause endless work.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.architectures import ARCHITECTURES, KINDS, Architecture
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.files import atomic

FORMAT_VERSION = 1
_METADATA_KEY = "tpsctl"
_TABLE_PREFIX = "noise_table."


def save_model(path: Path, model: Model) -> None:
    """Write a model as a native checkpoint, atomically; an existing file is replaced."""
    architecture = ARCHITECTURES[model.description.network]
    tensors = {architecture.prefix + name: tensor.detach().cpu() for name, tensor in model.weights.items()}
    tensors |= {_TABLE_PREFIX + name: tensor for name, tensor in model.tables.items()}
    _write(path, architecture.card(model.description), tensors)


def load_model(path: Path) -> Model:
    """Read the model in a native checkpoint.

    Raises:
        PriorError: The file or its card is unusable or damaged, or tensors are not finite.
    """
    card = read_card(path)
    try:
        architecture = _architecture(card)
        about = architecture.description(card)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PriorError(f"{path}: its model card is incomplete or damaged ({error!r}).") from None
    except PriorError as error:
        raise PriorError(f"{path}: {error}") from None
    tensors = _read_tensors(path, card)
    tables = {k.removeprefix(_TABLE_PREFIX): v for k, v in tensors.items() if k.startswith(_TABLE_PREFIX)}
    prefix = architecture.prefix
    weights = {
        k.removeprefix(prefix): v
        for k, v in tensors.items()
        if k.startswith(prefix) and not k.startswith(_TABLE_PREFIX)
    }
    return Model(about, weights, tables)


def read_card(path: Path) -> dict[str, Any]:
    """Read the model card of a native checkpoint.

    Raises:
        PriorError: The file is missing, is no safetensors file, or is not a native checkpoint of a known version.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise PriorError(f"{path}: no such checkpoint. Give one that `tpsctl train` or `tpsctl convert` wrote.")
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if text is None:
        raise PriorError(
            f'{path}: a safetensors file without the "{_METADATA_KEY}" metadata of a native checkpoint. '
            "Give one that `tpsctl train` or `tpsctl convert` wrote."
        )
    try:
        card = json.loads(text)
    except ValueError as error:
        raise PriorError(f"{path}: its model card is no JSON ({error}).") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version != FORMAT_VERSION:
        raise PriorError(f"{path}: checkpoint format {version!r}, this tpsctl reads {FORMAT_VERSION}.")
    return card


def _write(path: Path, card: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors under a card, with the SHA-256 of both, atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.torch import save

    header = json.loads(json.dumps({"format_version": FORMAT_VERSION, **card}))  # the card as a reader will get it
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header["sha256"] = _digest(header, tensors)
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_METADATA_KEY: json.dumps(header)}))


def _read_tensors(path: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    """Read the tensors of a native checkpoint.

    Raises:
        PriorError: The file is damaged, or a tensor has values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if "sha256" in card and card["sha256"] != _digest(card, tensors):
        raise PriorError(f"{path}: its content does not match its own SHA-256. The file is damaged: fetch it again.")
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise PriorError(f"{path}: tensor {bad[0]} has values that are not finite. The file is damaged.")
    return tensors


def _architecture(card: dict[str, Any]) -> Architecture:
    kind, name = card["kind"], card["network"]["name"]
    if kind not in KINDS or name not in ARCHITECTURES:
        raise PriorError(f"kind {kind!r} with network {name!r}; this tpsctl knows {KINDS} with {tuple(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def _unreadable(path: Path, error: Exception) -> PriorError:
    return PriorError(
        f"{path}: not a readable safetensors file ({str(error).rstrip('.')}). Fetch or write the file again; a "
        "checkpoint of PyTorch needs the extension .pt."
    )


def _digest(card: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the card, without its entry "sha256", and of every tensor."""
    digest = hashlib.sha256(json.dumps({k: v for k, v in card.items() if k != "sha256"}, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
