"""A bare state dict with a description beside it (a YAML file, see docs/checkpoints.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.checkpoints import archive
from tpsctl.checkpoints.layouts import mueller_brown, two_for_one
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.source import open_source
from tpsctl.errors import PriorError
from tpsctl.score.levels import cosine_tables
from tpsctl.units import NM_PER_ANGSTROM

LAYOUT = "plain state dict"
_MOST_LEVELS = 100_000


@dataclass(frozen=True)
class StateDictDescription:
    """The content of the YAML file.

    Attributes:
        weights: File with the state dict, or with a dictionary that holds it.
        state_dict: Key of the state dict in this dictionary; None if the file holds the state dict itself.
        prefix: Prefix of the names of the tensors.
        kind: "diffusion" or "flow_matching".
        length_angstrom: Length of one network unit, Angstrom; one value or one per dimension.
        origin_angstrom: Position of the network's origin, Angstrom; one value or one per dimension.
        temperature_k: Temperature of the training data, K; None if unknown.
        levels: Number of levels of the cosine schedule; None for flow matching.
        sees: For a graph transformer, the published arguments for the inputs of nodes and pairs; None otherwise.
        perceptron: For a perceptron, the naming of its layers and its activation; None otherwise.
    """

    weights: Path
    state_dict: str | None
    prefix: str
    kind: str
    length_angstrom: tuple[float, ...]
    origin_angstrom: tuple[float, ...]
    temperature_k: float | None
    levels: int | None
    sees: dict[str, bool] | None
    perceptron: tuple[str, str] | None


def read(path: Path, described: StateDictDescription) -> Model:
    """Read the model that the YAML file `path` describes.

    Raises:
        PriorError: The description does not fit the file it names.
    """
    if (described.levels or 0) > _MOST_LEVELS:
        raise PriorError(f"{path}: diffusion_steps: got {described.levels}, expected at most {_MOST_LEVELS}.")
    source = open_source(described.weights)
    state = source.content if described.state_dict is None else source.content.get(described.state_dict)
    stored = archive.tensors(source.path, state, described.prefix)
    if described.sees is not None:
        weights, network = two_for_one.rename(stored), "graph_transformer"
        sizes: dict[str, Any] = two_for_one.sizes_of(path, weights, dict(described.sees))
    else:
        assert described.perceptron is not None
        weights, network = mueller_brown.rename(stored, described.perceptron[0]), "perceptron"
        sizes = dict(mueller_brown.sizes_of(source.path, weights, described.perceptron[1]))
    about = ModelDescription(
        layout=f"{LAYOUT} {described.kind.replace('_', ' ')}",
        kind=described.kind,
        network=network,
        sizes=sizes,
        scale_nm=tuple(v * NM_PER_ANGSTROM for v in described.length_angstrom),
        offset_nm=tuple(v * NM_PER_ANGSTROM for v in described.origin_angstrom),
        temperature_k=described.temperature_k,
        clock="t = i/levels" if described.kind == "diffusion" else "s from noise (0) to data (1) is t = 1 - s",
        provenance={**source.facts, "description": path.name},
    )
    return Model(about, weights, cosine_tables(described.levels) if described.levels else {})
