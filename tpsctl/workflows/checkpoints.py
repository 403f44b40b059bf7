"""Checkpoints of every layout: opened as priors, inspected, converted. Nothing in a checkpoint is ever run."""

from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.checkpoints.architectures.snapshot_potential import SnapshotPotentialArchitecture, snapshot_prior
from tpsctl.checkpoints.build import build_from
from tpsctl.checkpoints.inspect import dangerous_names, describe, describe_field, field_test, fixed_scores, self_test
from tpsctl.checkpoints.layouts import plain
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.checkpoints.layouts.two_for_one import arguments_name
from tpsctl.checkpoints.model import Model
from tpsctl.checkpoints.native import load_model, save_model
from tpsctl.checkpoints.stored_verdict import NO_VERDICT, read_verdict
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.network import NetworkPrior
from tpsctl.recipe.checkpoint_description import CheckpointDescription
from tpsctl.recipe.loader import load_recipe


def open_prior(path: Path, topology: Topology | None = None) -> NetworkPrior:
    """The prior in a checkpoint, on the CPU.

    Args:
        path: A file, a folder with one published checkpoint, or a YAML file that describes one.
        topology: The user's molecule, for networks that serve many.

    Raises:
        PriorError: Missing, unsafe, damaged, of no known layout, or not for this molecule.
    """
    return build_from(path, read_model(path), topology)


def read_model(path: Path) -> Model:
    """The model in a checkpoint, native or in a published layout.

    Raises:
        PriorError: Missing, unsafe, damaged, or of no known layout.
        RecipeError: A YAML description is wrong.
    """
    if path.suffix in (".yaml", ".yml"):
        return plain.read(path, _state_dict_description(load_recipe(path, CheckpointDescription, [])))
    return load_model(path) if path.suffix == ".safetensors" else read_published(path)


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
    """Facts about a checkpoint, the verdict that it carries and the outcome of its self-test, as JSON values.

    A file with dangerous names is reported with `safe` false, and nothing else is looked at.

    Raises:
        PriorError: Missing, damaged or of no known layout.
    """
    names = dangerous_names(path)
    report = {"file": str(path), "safe": not names, "dangerous_names": names, "sound": False}
    if names:
        return report
    model, verdict = read_model(path), read_verdict(path)
    if model.description.network == SnapshotPotentialArchitecture.name:
        field = snapshot_prior(model)
        report |= describe_field(path, model, field)
        tests = field_test(field)
    else:
        report |= describe(path, model, build_from(path, model))
        tests = _self_tests(path, model)
    report |= {"fit_for_paths": verdict.is_fit, "verdict": verdict.words or NO_VERDICT}
    return report | {"self_test": tests, "sound": all(test["passed"] for test in tests)}


def _self_tests(path: Path, model: Model) -> list[dict[str, Any]]:
    """The self-test of a model, for each of its molecules if it has several."""
    about = model.description
    if not about.molecules:
        return self_test(build_from(path, model))
    return [
        test | {"check": f"{entry['name']}: {test['check']}"}
        for entry, topology in zip(about.facts["molecules"], about.molecules, strict=True)
        for test in self_test(build_from(path, model, topology))
    ]


def convert(source: Path, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Foreign checkpoint to native file, whose scores are compared with the source's before it is put in place.

    Returns:
        Both files, the precision of the weights in each (float16 and bfloat16 become float32, which contains them),
        the number of values compared and how many of them differ (none, or it raises).

    Raises:
        PriorError: The source is unusable, the target exists or is misnamed, or the outputs differ.
    """
    if target.suffix != ".safetensors":
        raise PriorError(f"{target}: a native checkpoint is named *.safetensors.")
    if target.exists() and not overwrite:
        raise PriorError(f"{target}: exists already. Choose another name, or --overwrite.")
    if source.suffix == ".safetensors":
        raise PriorError(f"{source}: is a native file already.")
    found = read_model(source)
    model = found.widened()
    before = _scores(source, model)
    unchecked = target.with_name(target.name + ".unchecked")
    try:
        save_model(unchecked, model)
        differing = int((before != _scores(unchecked, load_model(unchecked))).sum())
        if differing:
            raise PriorError(
                f"{target}: {differing} of {before.numel()} scores would differ from {source}; nothing was kept."
            )
        unchecked.replace(target)
    finally:
        unchecked.unlink(missing_ok=True)
    return {
        "source": str(source),
        "target": str(target),
        "layout": model.description.layout,
        "source_sha256": model.description.provenance["sha256"],
        "source_precision": str(found.precision).removeprefix("torch."),
        "target_precision": str(model.precision).removeprefix("torch."),
        "scores_compared": before.numel(),
        "scores_differing": differing,
    }


def _scores(path: Path, model: Model) -> Tensor:
    """`fixed_scores`, with the file named where it cannot be computed."""
    try:
        return fixed_scores(model)
    except PriorError as error:
        raise PriorError(f"{path}: {error}") from None


def _state_dict_description(about: CheckpointDescription) -> plain.StateDictDescription:
    return plain.StateDictDescription(
        weights=about.weights,
        state_dict=about.state_dict,
        prefix=about.prefix,
        kind=about.kind,
        length_angstrom=_tuple(about.length_angstrom),
        origin_angstrom=_tuple(about.origin_angstrom),
        temperature_k=about.temperature_k,
        levels=about.diffusion_steps,
        sees=about.graph_transformer.model_dump() if about.graph_transformer else None,
        perceptron=(about.perceptron.names, about.perceptron.activation) if about.perceptron else None,
    )


def _tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
