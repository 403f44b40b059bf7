"""What a checkpoint says of itself: its origin, data, settings and quality."""

from typing import Any

from torch import Tensor

from tpsctl.environment import versions
from tpsctl.recipe import train as sections
from tpsctl.recipe.train_potential import PointDiffusionSection, TrainPotentialRecipe
from tpsctl.workflows.train.frames import MoleculeFrames


def molecule_card(
    recipe: sections.TrainRecipe, identity: dict[str, Any], frames: MoleculeFrames, quality: dict[str, Any]
) -> dict[str, Any]:
    """The free part of the card of a model of a molecule; `quality` are its entries on how good the model is."""
    return {
        "name": recipe.name,
        "licence": recipe.output.licence,
        "data": frames.facts | {"temperature_k": frames.temperature_k},
        "versions": versions(),
        **quality,
        **identity,
    }


def potential_card(
    recipe: TrainPotentialRecipe, points: Tensor, loss: dict[str, float], identity: dict[str, Any]
) -> dict[str, Any]:
    """What the card of a model of points says beside the shapes of its network."""
    diffusion = isinstance(recipe.model, PointDiffusionSection)
    return {
        "kind": recipe.model.kind,
        "scale_nm": tuple(points.std((0, 1)).tolist()),
        "offset_nm": tuple(points.mean((0, 1)).tolist()),
        "temperature_k": recipe.potential.temperature_k,
        "potential": recipe.potential.kind,
        "clock": "t = i/levels" if diffusion else "s from noise (0) to data (1) is t = 1 - s",
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
