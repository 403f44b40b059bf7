"""What a checkpoint says of itself: its origin, data, settings and quality."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tpsctl.checkpoints.architectures.in_nm import VELOCITY_REGRESSION
from tpsctl.environment import versions
from tpsctl.recipe import train as sections
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.score.schedule import NoiseSchedule
from tpsctl.workflows.train.frames import MoleculeFrames

_OBJECTIVES = {
    "diffusion": "denoising score matching",
    "score_matching": "score matching with the weights of a schedule",
    "flow_matching": VELOCITY_REGRESSION,
    "action_matching": "Action Matching",
}
"""What was minimized for a molecule, by kind of model."""


def molecule_card(
    recipe: sections.TrainRecipe, identity: dict[str, Any], frames: MoleculeFrames, quality: dict[str, Any]
) -> dict[str, Any]:
    """The free part of the card of a model of a molecule; `quality` are its entries on how good the model is."""
    return {
        "name": recipe.name,
        "licence": recipe.output.licence,
        "objective": _OBJECTIVES[recipe.model.kind],
        "data": frames.facts | {"temperature_k": frames.temperature_k},
        "versions": versions(),
        **quality,
        **identity,
    }


def molecules_card(
    recipe: sections.TrainRecipe,
    identity: dict[str, Any],
    frames: Mapping[str, MoleculeFrames],
    quality: dict[str, Any],
) -> dict[str, Any]:
    """The same for a model of several molecules; the entries on each of them are under "molecules"."""
    of_each, whole = quality["molecules"], {key: value for key, value in quality.items() if key != "molecules"}
    any_of_them = next(iter(frames.values()))
    shared = {key: value for key, value in molecule_card(recipe, identity, any_of_them, whole).items() if key != "data"}
    return shared | {
        "molecules": [
            {"name": name, "data": one.facts | {"temperature_k": one.temperature_k}, **of_each[name]}
            for name, one in frames.items()
        ]
    }


_CLOCKS = {
    "diffusion": "t = i/levels",
    "flow_matching": "s from noise (0) to data (1) is t = 1 - s",
    "schroedinger_bridge": "t from data (0) to noise (1)",
    "score_matching": "t of the schedule; the network sees log(sigma/alpha)/4",
}
"""What the network's own clock is, by kind of model."""


def potential_card(
    recipe: TrainPotentialRecipe,
    points: Tensor,
    loss: dict[str, float],
    identity: dict[str, Any],
    widths: tuple[NoiseSchedule, float] | None,
) -> dict[str, Any]:
    """What the card of a model of points says beside the shapes of its network.

    Args:
        recipe: The recipe.
        points: The data, nm.
        loss: What the judgement found.
        identity: Digest, recipe and inputs.
        widths: Schedule and smallest noise width in spreads of the data, for a network that sees noise widths.
    """
    spread = points.std((0, 1))
    seen: dict[str, Any] = {}
    if widths is not None:
        smallest_nm = widths[1] * float(spread.double().square().mean().sqrt())
        seen = {"schedule": widths[0], "smallest_width_nm": smallest_nm}
    return {
        **seen,
        "kind": recipe.model.kind,
        "scale_nm": tuple(spread.tolist()),
        "offset_nm": tuple(points.mean((0, 1)).tolist()),
        "temperature_k": recipe.potential.temperature_k,
        "potential": recipe.potential.kind,
        "clock": _CLOCKS[recipe.model.kind],
        "provenance": {
            "name": recipe.name,
            "digest": identity["digest"],
            "recipe": identity["recipe"],
            "loss": loss,
            "versions": versions(),
        },
    }


def digest_of(card: dict[str, Any]) -> str | None:
    """Digest of the recipe that a model was trained by; None if its card does not say."""
    return card.get("digest") or card.get("provenance", {}).get("digest")
