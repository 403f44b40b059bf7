"""Native checkpoints: one .safetensors file with a model card, nothing in it that could run.

Tensors are the network's parameters and tables; the metadata entry "tpsctl" is a JSON object: format
version, kind, network and sizes, schedule (nm), temperature (K), atoms and bonds, whether the score is
conservative, smallest noise width (nm), training data and settings, licence, metrics.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import PriorError
from tpsctl.prior.generative import KINDS, GenerativePrior
from tpsctl.prior.network.internal_energy import InternalEnergy, InternalEnergySizes
from tpsctl.schedule import schedule_from_dict
from tpsctl.topology import Atom, Topology

FORMAT_VERSION = 1
_METADATA_KEY = "tpsctl"
_NETWORK = "internal_energy"


def save_checkpoint(path: Path, prior: GenerativePrior, sizes: InternalEnergySizes, card: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: Target, overwritten if it exists.
        prior: What to save; parameters are stored as float32.
        sizes: Shapes of its network.
        card: Free part of the model card: training, data, licence, metrics (JSON values).
    """
    from safetensors.torch import save

    topology = prior.topology
    assert topology is not None
    header = {
        "format_version": FORMAT_VERSION,
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
    tensors = {k: v.detach().cpu().float().contiguous() for k, v in prior.network.state_dict().items()}
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
    """Prior of a native checkpoint, float32 on the CPU.

    Raises:
        PriorError: The file or its card is unusable, tensors are missing or have wrong shapes, or are not finite.
    """
    from safetensors.torch import load_file

    card = read_card(path)
    try:
        sizes = {k: int(v) for k, v in card["network"].items() if k != "name"}
        atoms = tuple(Atom(str(n), str(e), str(r), int(i), str(c), float(m)) for n, e, r, i, c, m in card["atoms"])
        topology = Topology(atoms, tuple((int(i), int(j)) for i, j in card["bonds"]))
        kind, name = card["kind"], card["network"]["name"]
        temperature, smallest = float(card["temperature_k"]), float(card["smallest_width_nm"])
        schedule = schedule_from_dict(card["schedule"])
    except (KeyError, TypeError, ValueError) as error:
        raise PriorError(f"{path}: its model card is incomplete or damaged ({error!r}).") from error
    if kind not in KINDS or name != _NETWORK:
        raise PriorError(f"{path}: kind {kind!r} with network {name!r}; this tpsctl knows {KINDS} with {_NETWORK!r}.")
    try:
        network = InternalEnergy(topology, InternalEnergySizes(**sizes))
        network.load_state_dict(load_file(str(path)))
    except (RuntimeError, TypeError, ValueError) as error:
        raise PriorError(f"{path}: tensors do not fit the model card ({error}).") from error
    bad = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise PriorError(f"{path}: tensor {bad[0]} has values that are not finite. The file is damaged.")
    return GenerativePrior(kind, network, schedule, topology, temperature, smallest)
