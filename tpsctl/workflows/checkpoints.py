"""Checkpoints of every layout: opened as priors, inspected, converted. Nothing in a checkpoint is ever run."""

from pathlib import Path
from typing import Any

from tpsctl.checkpoints.inspect import dangerous_names, describe, fixed_scores, self_test
from tpsctl.checkpoints.layouts import plain
from tpsctl.checkpoints.layouts.recognize import read_published
from tpsctl.checkpoints.layouts.two_for_one import arguments_name
from tpsctl.checkpoints.model import Model, build
from tpsctl.checkpoints.native import load_checkpoint, read_card
from tpsctl.checkpoints.native_published import NETWORKS, load_model, save_model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.recipe.checkpoint_description import CheckpointDescription
from tpsctl.recipe.loader import load_recipe


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
        RecipeError: A YAML description is wrong.
    """
    if path.suffix in (".yaml", ".yml"):
        return plain.read(path, _plain_card(load_recipe(path, CheckpointDescription, [])))
    if path.suffix != ".safetensors":
        return read_published(path)
    network = read_card(path).get("network")
    if isinstance(network, dict) and network.get("name") in NETWORKS:
        return load_model(path, read_card(path))
    return None


def files_beside(path: Path) -> list[Path]:
    """Further files that are read when a checkpoint file is opened: its arguments, or the weights a YAML file names.

    Raises:
        RecipeError: A YAML description is wrong.
    """
    if path.suffix in (".yaml", ".yml"):
        return [load_recipe(path, CheckpointDescription, []).weights]
    arguments = path.with_name(arguments_name(path.name))
    return [arguments] if path.suffix == ".pt" and arguments.is_file() else []


def inspect(path: Path) -> dict[str, Any]:
    """Facts about a checkpoint and the outcome of its self-test, as JSON values.

    A file with dangerous names is reported with `safe` false, and nothing else is looked at.

    Raises:
        PriorError: Missing, damaged or of no known layout.
    """
    names = dangerous_names(path)
    report = {"file": str(path), "safe": not names, "dangerous_names": names, "sound": False}
    if names:
        return report
    model = read_model(path)
    prior: Prior = load_checkpoint(path) if model is None else build(model)
    report |= describe(path, model, prior)
    tests = self_test(prior)
    return report | {"self_test": tests, "sound": all(test["passed"] for test in tests)}


def convert(source: Path, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Foreign checkpoint to native file, whose scores (float32) are then compared with the source's.

    Returns:
        Both files, the number of values compared and how many of them differ (none, or it raises).

    Raises:
        PriorError: The source is unusable, the target exists or is misnamed, or the outputs differ.
    """
    if target.suffix != ".safetensors":
        raise PriorError(f"{target}: a native checkpoint is named *.safetensors.")
    if target.exists() and not overwrite:
        raise PriorError(f"{target}: exists already. Choose another name, or --overwrite.")
    model = None if source.suffix == ".safetensors" else read_model(source)
    if model is None:
        raise PriorError(f"{source}: is a native file already.")
    save_model(target, model)
    again = read_model(target)
    assert again is not None
    before, after = fixed_scores(model), fixed_scores(again)
    differing = int((before != after).sum())
    if differing:
        target.unlink()
        raise PriorError(f"{target}: {differing} of {before.numel()} scores differ from {source}; nothing was kept.")
    return {
        "source": str(source),
        "target": str(target),
        "layout": model.description.layout,
        "source_sha256": model.description.provenance["sha256"],
        "scores_compared": before.numel(),
        "scores_differing": differing,
    }


def _plain_card(card: CheckpointDescription) -> plain.Card:
    return plain.Card(
        weights=card.weights,
        state_dict=card.state_dict,
        prefix=card.prefix,
        kind=card.kind,
        length_angstrom=_tuple(card.length_angstrom),
        origin_angstrom=_tuple(card.origin_angstrom),
        temperature_k=card.temperature_k,
        levels=card.diffusion_steps,
        sees=card.graph_transformer.model_dump() if card.graph_transformer else None,
        perceptron=(card.perceptron.names, card.perceptron.activation) if card.perceptron else None,
    )


def _tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
