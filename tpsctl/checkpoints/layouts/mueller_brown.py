"""The two published networks of the Mueller-Brown surface, which are bare state dicts of perceptrons.

The diffusion network has layers fc1 ... fc5 and the exact GELU; it predicts noise at 256 cosine levels. The
flow-matching network has layers main.0, .2, ... .8 and swish; it predicts the velocity towards data. The input of both
is (x - mean)/std, with mean and standard deviation of the training data. These are not in the files; the values here
are estimates from published figures, so absolute positions and scores are accurate to about 1 %. The training data
were made at a kT of 0.0603 in the units of the potential, not at kT = 1.

Source: Raja et al., arXiv:2504.18506, notebooks.
"""

from pathlib import Path

from torch import Tensor

from tpsctl.checkpoints import archive
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.source import Source
from tpsctl.errors import PriorError
from tpsctl.score.levels import cosine_tables

LAYOUT = "OM-TPS Mueller-Brown"
MEAN_NM = (31.70, 18.41)
STD_NM = (7.71, 9.41)
LEVELS = 256

_DIFFUSION, _FLOW = "fc{}.", "main.{}."
_LAYERS = 5


def matches(source: Source) -> bool:
    """Whether a file has this layout."""
    return _stem(source) is not None


def read(source: Source) -> Model:
    """Read the model in a file of this layout.

    Raises:
        PriorError: The file is not of this layout, or its tensors are damaged.
    """
    stem = _stem(source)
    if stem is None:
        raise PriorError(f"{source.path}: not a network of the Mueller-Brown surface.")
    diffusion = stem == _DIFFUSION
    weights = rename(archive.tensors(source.path, source.content), stem)
    return Model(
        ModelDescription(
            layout=f"{LAYOUT} {'diffusion' if diffusion else 'flow matching'}",
            kind="diffusion" if diffusion else "flow_matching",
            network="perceptron",
            sizes=sizes_of(source.path, weights, "gelu" if diffusion else "swish"),
            scale_nm=STD_NM,
            offset_nm=MEAN_NM,
            temperature_k=None,
            clock=f"level i of {LEVELS} is t = i/{LEVELS}; published 4 is t = 0.015625"
            if diffusion
            else "s from noise (0) to data (1) is t = 1 - s; published s = 0.9 is t = 0.1",
            provenance=source.facts,
            potential="mueller_brown",
            notes=("Mean and standard deviation of the training data are estimates: good to about 1 %.",),
        ),
        weights,
        cosine_tables(LEVELS) if diffusion else {},
    )


def rename(weights: dict[str, Tensor], stem: str) -> dict[str, Tensor]:
    """Rename published tensors to tpsctl's names: fc1 or main.0 becomes layers.0, fc2 or main.2 becomes layers.1 ..."""
    renamed = {}
    for name, tensor in weights.items():
        for i in range(_LAYERS):
            prefix = stem.format(i + 1 if stem == _DIFFUSION else 2 * i)
            if name.startswith(prefix):
                name = f"layers.{i}." + name[len(prefix) :]
                break
        renamed[name] = tensor
    return renamed


def sizes_of(path: Path, weights: dict[str, Tensor], activation: str) -> dict[str, int | str]:
    """Sizes of the perceptron, from the shapes of its tensors.

    Raises:
        PriorError: Its first or last layer is missing.
    """
    ends = [weights.get(f"layers.{i}.weight") for i in (0, _LAYERS - 1)]
    if any(layer is None or layer.dim() != 2 for layer in ends):
        raise PriorError(f"{path}: not a perceptron of {_LAYERS} layers with the expected names.")
    hidden, dims = (layer.shape[0] for layer in ends if layer is not None)
    return {"dims": dims, "hidden": hidden, "layers": _LAYERS, "activation": activation}


def _stem(source: Source) -> str | None:
    for stem, last in ((_DIFFUSION, "fc5.weight"), (_FLOW, "main.8.weight")):
        first = stem.format(1 if stem == _DIFFUSION else 0) + "weight"
        if first in source.content and last in source.content:
            return stem
    return None
