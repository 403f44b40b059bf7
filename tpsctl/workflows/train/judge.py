"""How well a trained prior predicts torques about rotatable bonds on trajectories it has not seen.

Where the data have forces, the reference is the physical torque over kT on clean frames, and the model is
asked at small noise widths: R^2 = 1 is a perfect force field. Without forces the reference is the
denoising target -(y - x_0) / sigma^2 of noised frames y; its own noise keeps R^2 below 1 even for
a perfect model, so it compares models at one width and says little by itself.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tpsctl.prior.network import NetworkPrior
from tpsctl.training.metrics import torque_r2
from tpsctl.training.targets import TargetSource
from tpsctl.workflows.train.frames import MoleculeFrames

FRAMES = 2000
"""Held-out frames that are looked at."""

_FORCE_MULTIPLES = (1, 2, 4, 8, 16)
_DENOISING_MULTIPLES = (20, 40, 100, 400)
"""Noise widths, in units of the smallest one."""

_CHUNK = 500
_LEAST_R2, _AS_GOOD = 0.5, 0.02
"""Least mean R^2 of a model that is said to be sound anywhere, and by how much it may be below its best."""


def held_out_quality(prior: NetworkPrior, frames: MoleculeFrames, largest_width_nm: float) -> dict[str, Any]:
    """R^2 by noise width (nm, as text) and bond, with what it was measured against."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(frames.held_out), generator=generator)[:FRAMES]
    clean, forces = frames.held_out[chosen], frames.held_out_scores
    found = {}
    for multiple in _DENOISING_MULTIPLES if forces is None else _FORCE_MULTIPLES:
        width = multiple * prior.smallest_width_nm
        if width > largest_width_nm:
            continue
        if forces is None:
            x, reference = _denoising_targets(frames, clean, width, generator)
        else:
            x, reference = clean, forces[chosen]
        scores = torch.cat([prior.at(prior.time_of(width))(part) for part in x.split(_CHUNK)])
        found[f"{width:g}"] = torque_r2(frames.topology, x, scores, reference)
    return {
        "reference": "denoising targets" if forces is None else "physical forces",
        "frames": len(clean),
        "by_width_nm": {w: {bond: round(r2, 4) for bond, r2 in by_bond.items()} for w, by_bond in found.items()},
    }


def sound_times(prior: NetworkPrior, quality: dict[str, Any]) -> list[float] | None:
    """The smallest and the largest diffusion time at which torques are as good as at any, for the model card.

    Args:
        prior: The trained prior.
        quality: What `held_out_quality` found.

    Returns:
        Both times; None where torques were not compared with forces, or are poor at every width.
    """
    if quality["reference"] != "physical forces":
        return None
    mean = {float(width): sum(r2.values()) / len(r2) for width, r2 in quality["by_width_nm"].items() if r2}
    best = max(mean.values(), default=0.0)
    if best < _LEAST_R2:
        return None
    sound = [width for width, value in mean.items() if value >= best - _AS_GOOD]
    return [prior.time_of(min(sound)), prior.time_of(max(sound))]


def losses_at_both_ends(losses: Sequence[float]) -> dict[str, float]:
    """Mean loss of the first and of the last tenth of all steps."""
    tenth = max(1, len(losses) // 10)
    return {"first_tenth": sum(losses[:tenth]) / tenth, "last_tenth": sum(losses[-tenth:]) / tenth}


def _denoising_targets(
    frames: MoleculeFrames, clean: Tensor, width: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    log_sigmas = torch.tensor([width, 2 * width], dtype=clean.dtype).log()
    source = TargetSource(frames.topology, clean, None, None, log_sigmas)
    batch = source.draw(torch.full((len(clean),), width, dtype=clean.dtype), generator)
    return batch.y, batch.target
