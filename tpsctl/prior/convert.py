"""Foreign checkpoint to native file, shown to be the same model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.prior.open import read_model
from tpsctl.prior.published.layouts import read_published
from tpsctl.prior.published.model import Model, build
from tpsctl.prior.published.native import save_model

_TIMES = (0.02, 0.25, 0.9)
_COUNT = 4


def convert(source: Path, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a native file and compare the scores of both, in float32.

    Returns:
        Both files, the number of values compared and how many of them differ (none, or it raises).

    Raises:
        PriorError: The source is unusable, the target exists or is misnamed, or the outputs differ.
    """
    if target.suffix != ".safetensors":
        raise PriorError(f"{target}: a native checkpoint is named *.safetensors.")
    if target.exists() and not overwrite:
        raise PriorError(f"{target}: exists already. Choose another name, or --overwrite.")
    if source.suffix == ".safetensors":
        raise PriorError(f"{source}: is a native file already.")
    model = read_published(source)
    save_model(target, model)
    again = read_model(target)
    assert again is not None
    before, after = _scores(model), _scores(again)
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


def _scores(model: Model) -> Tensor:
    prior = build(model)
    shape = (_COUNT, prior.n_beads, prior.n_dims)
    x = prior.from_network(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32))
    return torch.cat([prior.at(t)(x) for t in _TIMES])
