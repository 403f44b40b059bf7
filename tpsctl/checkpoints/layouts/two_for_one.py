"""Checkpoints of two-for-one and OM-TPS: `model-best.pt` beside `args.pickle`, and their flow-matching twins.

The file is {step, model, ema, ...}; `ema` holds two copies of all weights, `online_model.` (the last weights of the
training) and `ema_model.` (their running average, with which the published samples were made and which is used here).
Shapes give most sizes of the network, and the arguments give the inputs of pairs and nodes. Neither gives the length of
a network unit: it is the standard deviation of the training data in Angstrom, known for the published molecules.

Source: Arts et al., arXiv:2302.00600; Raja et al., arXiv:2504.18506; settings as in their repositories.
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.checkpoints import archive
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.pickles import read_arguments
from tpsctl.checkpoints.source import Source
from tpsctl.errors import PriorError
from tpsctl.score.levels import TABLES
from tpsctl.units import NM_PER_ANGSTROM

LAYOUT = "two-for-one / OM-TPS"
HEAD_DIM = 64

_MOLECULES = {  # standard deviation of the training data, Angstrom; temperature, K
    "chignolin": (3.113133430480957, 340.0),
    "trp_cage": (5.08211088180542, 290.0),
    "bba": (6.294918537139893, 325.0),
    "villin": (6.082900047302246, 360.0),
    "protein_g": (6.354289531707764, 350.0),
    "tetrapeptides": (1.0, 350.0),
}
_EMA = "ema_model."
_NETWORK = _EMA + "model."
_RENAMED = (
    (r"^bead_embedding\.", "type_embedding."),
    (r"^node_decoder\.", "decoder."),
    (r"^graphtransformer\.layers\.(\d+)\.0\.0\.fn\.", r"blocks.\1.attention."),
    (r"^graphtransformer\.layers\.(\d+)\.0\.0\.norm\.", r"blocks.\1.attention_norm."),
    (r"^graphtransformer\.layers\.(\d+)\.0\.1\.proj\.0\.", r"blocks.\1.attention_gate.proj."),
    (r"^graphtransformer\.layers\.(\d+)\.1\.0\.fn\.0\.", r"blocks.\1.widen."),
    (r"^graphtransformer\.layers\.(\d+)\.1\.0\.fn\.2\.", r"blocks.\1.narrow."),
    (r"^graphtransformer\.layers\.(\d+)\.1\.0\.norm\.", r"blocks.\1.feed_forward_norm."),
    (r"^graphtransformer\.layers\.(\d+)\.1\.1\.proj\.0\.", r"blocks.\1.feed_forward_gate.proj."),
)


def matches(source: Source) -> bool:
    """Whether a file has this layout."""
    ema = source.content.get("ema")
    return isinstance(ema, dict) and any(str(key).startswith(_NETWORK) for key in ema)


def read(source: Source) -> Model:
    """Read the model in a file of this layout.

    Raises:
        PriorError: Arguments are missing or do not fit, the molecule is unknown, or tensors are damaged.
    """
    arguments_file = source.path.with_name(arguments_name(source.path.name))
    if not arguments_file.is_file():
        raise PriorError(
            f"{source.path}: needs its arguments, {arguments_file.name}, in the same folder; it is not there. "
            "Copy it from where the checkpoint came from, or describe the model in a YAML file (docs/checkpoints.md)."
        )
    arguments = read_arguments(arguments_file)
    stored = archive.tensors(source.path, source.content["ema"], _EMA)
    weights = rename({k.removeprefix("model."): v for k, v in stored.items() if k.startswith("model.")})
    tables = {name: stored[name] for name in TABLES if name in stored}
    kind = "diffusion" if tables else "flow_matching"
    length, temperature = _scale(arguments_file, arguments)
    return Model(
        ModelDescription(
            layout=f"{LAYOUT} {kind.replace('_', ' ')}",
            kind=kind,
            network="graph_transformer",
            sizes=sizes_of(source.path, weights, arguments),
            scale_nm=(length * NM_PER_ANGSTROM,),
            offset_nm=(0.0,),
            temperature_k=temperature,
            clock=_clock(kind, arguments.get("diffusion_steps")),
            provenance={**source.facts, "arguments": arguments},
            notes=_notes(source.path, weights),
        ),
        weights,
        tables,
    )


def arguments_name(checkpoint: str) -> str:
    """Name of the file of arguments that belongs to a checkpoint, e.g. args-flow.pickle for model-best-flow.pt."""
    suffix = re.sub(r"^model-[^-.]+", "", Path(checkpoint).stem)
    return f"args{suffix if suffix.startswith('-') else ''}.pickle"


def rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename published tensors to tpsctl's names."""
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def sizes_of(path: Path, weights: dict[str, Tensor], arguments: dict[str, Any]) -> dict[str, int]:
    """Sizes of the graph transformer, from the shapes of tensors and, if shapes do not tell, from the arguments.

    Raises:
        PriorError: Tensors or arguments that the sizes depend on are missing.
    """
    needed = ("node_embedding.weight", "decoder.weight", "blocks.0.attention.to_q.weight")
    missing = [name for name in needed if name not in weights or weights[name].dim() != 2]
    flags = {
        "positions": arguments.get("use_abs_coords"),
        "displacements": arguments.get("use_intrinsic_coords"),
        "distances": arguments.get("use_distances"),
    }
    unsaid = [name for name, value in flags.items() if not isinstance(value, bool)]
    backbone = arguments.get("backbone_network", "graph-transformer")
    if missing or unsaid or backbone != "graph-transformer":
        raise PriorError(
            f"{path}: unknown layout: network {backbone!r}, tensors missing: {', '.join(missing) or 'none'}, arguments "
            f"missing: {', '.join(unsaid) or 'none'}. Supported: the graph transformer of {LAYOUT}."
        )
    hidden, known = weights["node_embedding.weight"].shape
    types = weights["type_embedding.weight"].shape[0] if "type_embedding.weight" in weights else 0
    return {
        "slots": known - 1 - 3 * bool(flags["positions"]) - (hidden if types else 0),
        "types": types,
        "hidden": hidden,
        "layers": len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
        "heads": weights["blocks.0.attention.to_q.weight"].shape[0] // HEAD_DIM,
        "head_dim": HEAD_DIM,
        "outputs": weights["decoder.weight"].shape[0],
        **{name: int(bool(value)) for name, value in flags.items()},
    }


def _scale(path: Path, arguments: dict[str, Any]) -> tuple[float, float]:
    """Length of a network unit in Angstrom, and temperature in K."""
    molecule = str(arguments.get("mol", "")).lower()
    if molecule not in _MOLECULES:
        raise PriorError(
            f"{path}: molecule {molecule!r}; the length of a network unit is known for {', '.join(_MOLECULES)}. "
            "Describe the model in a YAML file that gives it (docs/checkpoints.md)."
        )
    length, temperature = _MOLECULES[molecule]
    return (length if arguments.get("scale_data") else 1.0), temperature


def _clock(kind: str, levels: Any) -> str:
    if kind == "diffusion":
        return f"level i of {levels} is t = i/{levels}; published 10 to 20 is t = 0.01 to 0.02"
    return "latent time l of 10 is t = l/10 (noise 0, data 1: t = 1 - s); published l = 0.5 (s = 0.95) is t = 0.05"


def _notes(path: Path, weights: dict[str, Tensor]) -> tuple[str, ...]:
    notes = ["The averaged (EMA) weights are used."]
    if "type_embedding.weight" in weights:
        notes.append("The network serves many molecules; without a molecule it is tested on tetraalanine, 20 beads.")
        notes.append("Padding is left out, unlike in the published code.")
    return tuple(notes)
