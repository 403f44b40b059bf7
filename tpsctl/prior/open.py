"""Any checkpoint as a prior: native files, published layouts, YAML descriptions."""

from pathlib import Path

from tpsctl.prior.base import Prior
from tpsctl.prior.checkpoint import load_checkpoint, read_card
from tpsctl.prior.published.layouts import read_published
from tpsctl.prior.published.model import Model, build
from tpsctl.prior.published.native import NETWORKS, load_model
from tpsctl.topology import Topology


def open_prior(path: Path, topology: Topology | None = None) -> Prior:
    """The prior in a checkpoint, on the CPU.

    Args:
        path: A file, a folder with one published checkpoint, or a YAML file that describes one.
        topology: The user's molecule, for networks that serve many.

    Raises:
        PriorError: Missing, unsafe, damaged, of no known layout, or not for this molecule.
    """
    model = read_model(path)
    return load_checkpoint(path) if model is None else build(model, topology)


def read_model(path: Path) -> Model | None:
    """The published model in a checkpoint, in its own or the native layout; None for models tpsctl has trained.

    Raises:
        PriorError: Missing, unsafe, damaged, or of no known layout.
    """
    if path.suffix != ".safetensors":
        return read_published(path)
    card = read_card(path)
    network = card.get("network")
    if isinstance(network, dict) and network.get("name") in NETWORKS:
        return load_model(path, card)
    return None
