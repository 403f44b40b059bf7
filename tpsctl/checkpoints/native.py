"""Native checkpoints: one .safetensors file with a model card, nothing in it that could run.

Tensors are the network's parameters and tables; the metadata entry "tpsctl" is a JSON object: format
version, kind, network and sizes, schedule (nm), temperature (K), atoms and bonds, whether the score is
conservative, smallest noise width (nm), training data and settings, licence, metrics, and the SHA-256 of
the card and all tensors, which finds damage that still parses.

A card is believed only as far as the tensors bear it out, before anything is built from it, so a
hostile one can neither exhaust memory nor hang.
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.prior.generative import KINDS, GenerativePrior
from tpsctl.score.schedule import NoiseSchedule, schedule_from_dict

FORMAT_VERSION = 1
_METADATA_KEY = "tpsctl"
_NETWORK = "internal_energy"
_MOST_BONDS = 12
"""Of one atom or bead."""


def save_checkpoint(path: Path, prior: GenerativePrior, sizes: InternalEnergySizes, card: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: Target, overwritten if it exists.
        prior: What to save; parameters are stored as float32.
        sizes: Shapes of its network.
        card: Free part of the model card: training, data, licence, metrics (JSON values).
    """
    topology = prior.topology
    assert topology is not None
    header = {
        "kind": prior.kind,
        "network": {"name": _NETWORK, **sizes.to_dict()},
        "schedule": prior.schedule.to_dict(),
        "length_unit": "nm",
        "temperature_k": prior.temperature_k,
        "smallest_width_nm": prior.smallest_width_nm,
        "conservative": prior.conservative,
        "atoms": [[a.name, a.element, a.residue_name, a.residue_id, a.chain_id, a.mass_amu] for a in topology.atoms],
        "bonds": [list(bond) for bond in topology.bonds],
        **card,
    }
    write_native(path, header, {k: v.detach().cpu().float() for k, v in prior.network.state_dict().items()})


def write_native(path: Path, card: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors under a card, with the SHA-256 of both, atomically."""
    from safetensors.torch import save

    header = json.loads(json.dumps({"format_version": FORMAT_VERSION, **card}))  # as it will be read
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header["sha256"] = _digest(header, tensors)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(save(tensors, metadata={_METADATA_KEY: json.dumps(header)}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_card(path: Path) -> dict[str, Any]:
    """The model card of a native checkpoint.

    Raises:
        PriorError: Missing, not a safetensors file, or not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise PriorError(f"{path}: no such checkpoint.")
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise PriorError(f"{path}: not a readable safetensors file ({error}).") from error
    if text is None:
        raise PriorError(f'{path}: a safetensors file without the "{_METADATA_KEY}" metadata of a native checkpoint.')
    try:
        card = json.loads(text)
    except ValueError as error:
        raise PriorError(f"{path}: its model card is no JSON ({error}).") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version != FORMAT_VERSION:
        raise PriorError(f"{path}: checkpoint format {version!r}, this tpsctl reads {FORMAT_VERSION}.")
    return card


def load_checkpoint(path: Path) -> GenerativePrior:
    """Prior of a native checkpoint, on the CPU.

    Raises:
        PriorError: The file or its card is unusable or damaged, tensors are missing, do not fit or are not finite.
    """
    card = read_card(path)
    try:
        described = _read_description(card)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PriorError(f"{path}: its model card is incomplete or damaged ({error!r}).") from error
    except PriorError as error:
        raise PriorError(f"{path}: {error}") from None
    tensors = read_tensors(path, card)
    _require_shapes(path, described, tensors)
    try:
        network = InternalEnergy(described.topology, described.sizes)
        network.load_state_dict(tensors)
    except (RuntimeError, IndexError) as error:
        raise PriorError(f"{path}: tensors do not fit the model card ({error}).") from error
    return GenerativePrior(
        described.kind,
        network,
        described.schedule,
        described.topology,
        described.temperature_k,
        described.smallest_width_nm,
    )


def read_tensors(path: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a native checkpoint, undamaged and finite.

    Raises:
        PriorError: They are not.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise PriorError(f"{path}: not a readable safetensors file ({error}).") from error
    if "sha256" in card and card["sha256"] != _digest(card, tensors):
        raise PriorError(f"{path}: its content does not match its own SHA-256. The file is damaged: fetch it again.")
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise PriorError(f"{path}: tensor {bad[0]} has values that are not finite. The file is damaged.")
    return tensors


@dataclass(frozen=True)
class _Description:
    """What a card says about the prior."""

    kind: str
    sizes: InternalEnergySizes
    schedule: NoiseSchedule
    topology: Topology
    temperature_k: float
    smallest_width_nm: float


def _read_description(card: dict[str, Any]) -> _Description:
    kind, name = card["kind"], card["network"]["name"]
    if kind not in KINDS or name != _NETWORK:
        raise PriorError(f"kind {kind!r} with network {name!r}; this tpsctl knows {KINDS} with {_NETWORK!r}.")
    sizes = {k: int(v) for k, v in card["network"].items() if k != "name"}
    atoms = tuple(Atom(str(n), str(e), str(r), int(i), str(c), float(m)) for n, e, r, i, c, m in card["atoms"])
    bonds = tuple((int(i), int(j)) for i, j in card["bonds"])
    described = _Description(
        kind=kind,
        sizes=InternalEnergySizes(**sizes),
        schedule=schedule_from_dict(card["schedule"]),
        topology=Topology(atoms, bonds),
        temperature_k=float(card["temperature_k"]),
        smallest_width_nm=float(card["smallest_width_nm"]),
    )
    masses = [atom.mass_amu for atom in atoms]
    positive = (described.temperature_k, described.smallest_width_nm, *masses, *sizes.values())
    if not all(math.isfinite(value) and value > 0 for value in positive):
        raise ValueError("a size, mass, temperature or width is not a finite number > 0")
    if sizes["levels"] < 2:
        raise ValueError("fewer than 2 levels")
    if len(atoms) < 4 or not all(0 <= i < j < len(atoms) for i, j in bonds) or len(set(bonds)) < len(bonds):
        raise ValueError("bonds are no sorted pairs of at least 4 atoms")
    if max(len(around) for around in described.topology.neighbors) > _MOST_BONDS:
        raise ValueError(f"an atom has more than {_MOST_BONDS} bonds")
    return described


def _require_shapes(path: Path, described: _Description, tensors: dict[str, Tensor]) -> None:
    """Refuse sizes that the tensors do not have, before memory is taken for them."""
    sizes, n_atoms = described.sizes, described.topology.n_atoms
    empty = torch.empty(0, 0)
    table, output = tensors.get("mean", empty), tensors.get("net.output.weight", empty)
    layers = sum(name.startswith("net.layers.") and name.endswith(".weight") for name in tensors)
    found = (*table.shape[:1], *output.shape, layers)
    stated = (sizes.levels, sizes.hidden, sizes.embedding, sizes.layers)
    if found != stated or table.dim() != 2 or table.shape[1] < n_atoms * (n_atoms - 1) // 2:
        raise PriorError(
            f"{path}: tensors do not fit the model card: levels, hidden, embedding, layers are {stated} in the card "
            f"and {found} in the tensors, for {n_atoms} atoms."
        )


def _digest(card: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the card without its own "sha256", and of every tensor."""
    digest = hashlib.sha256(json.dumps({k: v for k, v in card.items() if k != "sha256"}, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
