"""A bare state dict, described by a small YAML file beside it.

    weights: my_model.pt            # torch.save of a state dict, or of a dictionary that holds one
    state_dict: ema                 # optional: where in that dictionary
    prefix: ema_model.model.        # optional: what the names start with
    kind: diffusion                 # or flow_matching
    length_angstrom: 3.1131         # one network unit; [x, y] for a model potential
    origin_angstrom: 0              # optional: where the network's origin is, likewise
    temperature_k: 340              # optional
    graph_transformer:              # what pairs and nodes see; the rest follows from the shapes
      use_intrinsic_coords: true
      use_abs_coords: false
      use_distances: false
    diffusion_steps: 1000           # levels of the cosine schedule; diffusion only

or, instead of graph_transformer, `perceptron: {names: "fc{}.", activation: gelu}` with fc1 ... fc5, or
`{names: "main.{}.", activation: swish}` with main.0, main.2 ... main.8.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tpsctl.errors import PriorError
from tpsctl.prior.published import archive, mueller_brown, two_for_one
from tpsctl.prior.published.model import Description, Model
from tpsctl.prior.published.noising import cosine_tables
from tpsctl.prior.published.source import open_source
from tpsctl.units import NM_PER_ANGSTROM

LAYOUT = "plain state dict"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Graph(_Strict):
    use_intrinsic_coords: bool
    use_abs_coords: bool
    use_distances: bool


class _Points(_Strict):
    names: Literal["fc{}.", "main.{}."]
    activation: Literal["gelu", "swish"]


class _Card(_Strict):
    weights: Path
    state_dict: str | None = None
    prefix: str = ""
    kind: Literal["diffusion", "flow_matching"]
    length_angstrom: float | tuple[float, float]
    origin_angstrom: float | tuple[float, float] = 0.0
    temperature_k: float | None = Field(default=None, gt=0)
    graph_transformer: _Graph | None = None
    perceptron: _Points | None = None
    diffusion_steps: int | None = Field(default=None, ge=2, le=100_000)


def read(path: Path) -> Model:
    """The model that a YAML file describes.

    Raises:
        PriorError: The description is wrong, or does not fit the file it names.
    """
    card = _read_card(path)
    source = open_source(path.parent / card.weights)
    state = source.content if card.state_dict is None else source.content.get(card.state_dict)
    stored = archive.tensors(source.path, state, card.prefix)
    if card.graph_transformer is not None:
        weights, network = two_for_one.rename(stored), "graph_transformer"
        sizes: dict[str, Any] = two_for_one.sizes_of(path, weights, card.graph_transformer.model_dump())
    else:
        assert card.perceptron is not None
        weights, network = mueller_brown.rename(stored, card.perceptron.names), "perceptron"
        if "layers.0.weight" not in weights:
            raise PriorError(
                f"{path}: perceptron.names: no tensor {card.perceptron.names.format(1)}weight in the file."
            )
        sizes = dict(mueller_brown.sizes_of(weights, card.perceptron.activation))
    length, origin = _lengths(card.length_angstrom), _lengths(card.origin_angstrom)
    about = Description(
        layout=f"{LAYOUT} {card.kind.replace('_', ' ')}",
        kind=card.kind,
        network=network,
        sizes=sizes,
        scale_nm=length,
        offset_nm=origin,
        temperature_k=card.temperature_k,
        clock="t = i/levels" if card.kind == "diffusion" else "s from noise (0) to data (1) is t = 1 - s",
        provenance={**source.facts, "description": card.model_dump(mode="json")},
    )
    return Model(about, weights, cosine_tables(card.diffusion_steps) if card.diffusion_steps else {})


def _read_card(path: Path) -> _Card:
    import yaml

    try:
        card = _Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PriorError(f"{path}: cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        raise PriorError(f"{path}: not YAML ({error}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PriorError(f"{path}: {place or 'description'}: {first['msg']}. See docs/checkpoints.md.") from None
    if (card.graph_transformer is None) == (card.perceptron is None):
        raise PriorError(f"{path}: give exactly one of graph_transformer and perceptron.")
    if (card.kind == "diffusion") != (card.diffusion_steps is not None):
        raise PriorError(f"{path}: diffusion_steps belongs to kind: diffusion, and only there.")
    if any(value <= 0 for value in _lengths(card.length_angstrom)):
        raise PriorError(f"{path}: length_angstrom: got {card.length_angstrom}, expected values > 0 (Angstrom).")
    return card


def _lengths(value: float | tuple[float, float]) -> tuple[float, ...]:
    return tuple(v * NM_PER_ANGSTROM for v in (value if isinstance(value, tuple) else (value,)))
