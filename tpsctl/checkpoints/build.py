"""Priors of models, and of native files."""

from pathlib import Path

from tpsctl.checkpoints.architectures import ARCHITECTURES
from tpsctl.checkpoints.model import Model
from tpsctl.checkpoints.native import load_model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.network import NetworkPrior


def build(model: Model, topology: Topology | None = None) -> NetworkPrior:
    """Make the prior of a model on the CPU, in float64 if a weight is in float64 and in float32 otherwise.

    Args:
        model: A model from a published layout, from a native checkpoint or from training.
        topology: The user's molecule; needed if the network serves many molecules.

    Raises:
        PriorError: Tensors do not fit the description, or the topology does not fit the network.
    """
    return ARCHITECTURES[model.description.network].prior(model, topology)


def load_prior(path: Path) -> NetworkPrior:
    """Make the prior of a native checkpoint, as `build` does.

    Raises:
        PriorError: The file or its card is unusable or damaged, or tensors are missing, do not fit or are not finite.
    """
    return build_from(path, load_model(path))


def build_from(path: Path, model: Model, topology: Topology | None = None) -> NetworkPrior:
    """Make the prior of a model as `build` does, with the name of the file in the messages of errors.

    Raises:
        PriorError: As `build`.
    """
    try:
        return build(model, topology)
    except PriorError as error:
        raise PriorError(f"{path}: {error}") from None
