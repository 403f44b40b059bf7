"""Two observables: the distance of a point from a center, and how far atoms of one element are spread."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.topology import Topology


def make_radius(options: dict[str, Any], topology: Topology | None) -> Callable[[Tensor], Tensor]:
    """The distance of a point from `center_nm`, nm."""
    if topology is not None:
        raise RecipeError('observable "radius" is of a point, and this prior is of a molecule. Use "spread".')
    center = options.get("center_nm")
    if center is None:
        raise RecipeError('observable "radius": options.center_nm is missing. Give a coordinate for each dimension.')

    def radius(x: Tensor) -> Tensor:
        return (x[:, 0] - torch.tensor(center).to(x)).norm(dim=-1)

    return radius


def make_spread(options: dict[str, Any], topology: Topology | None) -> Callable[[Tensor], Tensor]:
    """Root mean square distance of the atoms of an `element` from their center, nm."""
    element = options.get("element", "C")
    atoms = [] if topology is None else [k for k, atom in enumerate(topology.atoms) if atom.element == element]
    if not atoms:
        raise RecipeError(f'observable "spread": the prior has no atom of the element {element}. Set options.element.')

    def spread(x: Tensor) -> Tensor:
        chosen = x[:, atoms]
        return (chosen - chosen.mean(1, keepdim=True)).square().sum(-1).mean(-1).sqrt()

    return spread
