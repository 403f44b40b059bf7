"""Stores tensors and JSON facts in one safetensors file, with a hash of both inside."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tpsctl.errors import StateError
from tpsctl.files import atomic

_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its JSON header."""


def write_state(file: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a state, complete or not at all; what is read back has the tensors in the same order.

    Raises:
        OutputError: The disk is full, or the place cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    # the safetensors library gives tensors back in an order that changes from one process to the next
    data = save(plain, metadata={"facts": text, "sha256": _hash(plain, text), "order": json.dumps(list(plain))})
    with atomic(file) as temporary:
        temporary.write_bytes(data)


def read_state(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a state that is exactly what was written.

    Raises:
        StateError: It is missing, truncated or changed.
    """
    try:
        data = file.read_bytes()
        tensors = load(data)
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
        intact = header["sha256"] == _hash(tensors, header["facts"])
        tensors = {name: tensors[name] for name in json.loads(header["order"])}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise StateError(f"{file}: cannot be read ({error}).") from None
    if not intact:
        raise StateError(f"{file}: its content is not what was written (hash differs).")
    return tensors, json.loads(header["facts"])


def _hash(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
