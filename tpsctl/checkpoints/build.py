"""Priors of models, and of native files."""

from pathlib import Path

from tpsctl.checkpoints.architectures import ARCHITECTURES
from tpsctl.checkpoints.model import Model
from tpsctl.checkpoints.native import load_model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.network import NetworkPrior


def build(model: Model, topology: Topology | None = None) -> NetworkPrior:
    """The prior of a model, on the CPU, in float32, or in float64 if its weights are.

    Args:
        model: What a layout or the native format has read, or training has made.
        topology: The user's molecule; needed where one network serves many molecules.

    Raises:
        PriorError: Tensors do not fit the description, or the topology does not fit the network.
    """
    return ARCHITECTURES[model.description.network].prior(model, topology)


def load_prior(path: Path) -> NetworkPrior:
    """The prior in a native checkpoint, as `build` makes it.

    Raises:
        PriorError: The file or its card is unusable or damaged, tensors are missing, do not fit or are not finite.
    """
    return build_from(path, load_model(path))


def build_from(path: Path, model: Model, topology: Topology | None = None) -> NetworkPrior:
    """As `build`, with the file named where it fails."""
    try:
        return build(model, topology)
    except PriorError as error:
        raise PriorError(f"{path}: {error}") from None
