"""Facts about a checkpoint, a check that it is safe, and a self-test of its prior.

The check of safety comes first and reads bytes only: it lists the names in the pickles without loading anything. The
self-test then checks properties that every sound prior has, whatever it was trained on:

* scores are finite;
* moving a molecule does not change its score;
* where the network has an energy, its slope along a line is the score's projection on it;
* at t = 1 a configuration is almost pure noise, so the network's estimate of the noise is x itself.

The last check fails for an untrained network and for a wrong unit of length.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints import archive, pickles
from tpsctl.checkpoints.architectures import ARCHITECTURES
from tpsctl.checkpoints.build import build
from tpsctl.checkpoints.layouts.two_for_one import arguments_name
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.source import find_checkpoint
from tpsctl.errors import PriorError
from tpsctl.prior.network import NetworkPrior
from tpsctl.prior.snapshots import SnapshotPrior
from tpsctl.score.base import Score

_TIMES = (0.02, 0.5)
_COUNT = 8


def describe(path: Path, model: Model, prior: NetworkPrior) -> dict[str, Any]:
    """Describe a checkpoint in facts that are JSON values."""
    about = model.description
    widths = {f"{t:g}": round(prior.sigma_nm(t), 6) for t in (0.01, 0.02, 0.05, 0.1)}
    facts = {
        "layout": about.layout,
        "kind": about.kind,
        "network": {"name": about.network, **about.sizes},
        "parameters": prior.field.n_parameters,
        "beads": prior.n_beads,
        "schedule": {**prior.schedule.to_dict(), "noise_nm_at_t": widths, **_clock(about)},
        "temperature_k": about.temperature_k,
        "conservative": prior.conservative,
        "sha256": about.provenance.get("sha256") if path.suffix != ".safetensors" else _sha256(path),
    }
    return facts | ARCHITECTURES[about.network].facts(about)


def describe_field(path: Path, model: Model, prior: SnapshotPrior) -> dict[str, Any]:
    """Describe the checkpoint of a field between snapshots in facts that are JSON values."""
    about = model.description
    return {
        "layout": about.layout,
        "kind": f"{about.kind}, a field between snapshots",
        "network": {"name": about.network, **about.sizes},
        "parameters": sum(parameter.numel() for parameter in prior.network.parameters()),
        "beads": prior.n_beads,
        "sha256": _sha256(path),
        **ARCHITECTURES[about.network].facts(about),
    }


def field_test(prior: SnapshotPrior) -> list[dict[str, Any]]:
    """The self-test of a field between snapshots: finite, and unchanged where a molecule is moved."""
    prior, generator = prior.to(device="cpu", dtype=torch.float64), torch.Generator().manual_seed(0)
    y = torch.randn(_COUNT, prior.n_beads, prior.n_dims, generator=generator, dtype=torch.float64)
    x = prior.units.from_network(y)
    scores = [prior.at(t)(x) for t in (0.0, 0.5, 1.0)]
    finite = all(bool(score.isfinite().all()) for score in scores)
    how = f"{_COUNT} configurations, at the first time, half way and at the last"
    tests = [_verdict("finite field", float(finite), "1", finite, how)]
    return tests if prior.topology is None else [*tests, _translation(prior.at(0.5), x, scores[1])]


def fixed_scores(model: Model) -> Tensor:
    """Scores of a model at fixed positions and times, 1/nm, for the comparison of two files.

    They are in float64 if a weight of the model is, and in float32 otherwise.
    """
    prior = build(model)
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(_COUNT, prior.n_beads, prior.n_dims, generator=generator, dtype=torch.float32)
    x = prior.units.from_network(y.to(prior.field.like))
    return torch.cat([prior.at(t)(x) for t in (*_TIMES, 0.9)])


def dangerous_names(path: Path) -> list[str]:
    """Names that files of this checkpoint would import although tensors and plain arguments do not need them."""
    if path.suffix in (".safetensors", ".yaml", ".yml"):
        return []
    file = find_checkpoint(path)
    found = list(archive.scan(file).dangerous)
    arguments = file.with_name(arguments_name(file.name))
    if arguments.is_file():
        try:
            inert = pickles.read_inert(arguments.read_bytes()[: pickles.MAX_BYTES])
        except ValueError as error:
            raise PriorError(f"{arguments}: not a readable pickle of arguments ({error}).") from None
        found += [name for name in inert.names if name not in pickles.ADMITTED]
    return [ascii(name)[1:-1] for name in found]


def self_test(prior: NetworkPrior) -> list[dict[str, Any]]:
    """Run the self-test that the module docstring lists; each result has a value, a limit and whether it passed."""
    prior, generator = prior.to(device="cpu", dtype=torch.float64), torch.Generator().manual_seed(0)
    x = prior.sampler.trial_positions(_COUNT, generator)
    smallest = max(_TIMES[0], prior.time_of(prior.smallest_width_nm))  # a model may know larger widths only
    scores = {t: prior.at(t)(x) for t in (smallest, _TIMES[1])}
    finite = all(bool(score.isfinite().all()) for score in scores.values())
    how = f"{_COUNT} configurations, t = {smallest:.2g} and 0.5"
    tests = [_verdict("finite score", float(finite), "1", finite, how)]
    if prior.n_dims == 3:
        tests.append(_translation(prior.at(_TIMES[1]), x, scores[_TIMES[1]]))
    slope = _slope(prior, x, scores[_TIMES[1]], generator)
    if slope is not None:
        tests.append(slope)
    return [*tests, _noise_scale(prior, generator)]


def _translation(score: Score, x: Tensor, before: Tensor) -> dict[str, Any]:
    change = _relative(score(x + 1.0), before)
    return _verdict("change of the score when moved by 1 nm", change, "< 1e-8", change < 1e-8, "relative, float64")


def _slope(prior: NetworkPrior, x: Tensor, score: Tensor, generator: torch.Generator) -> dict[str, Any] | None:
    """Compare a central difference of the energy along a random line with the score; None without an energy."""
    direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    ahead, behind = (prior.output.log_density(x + h * direction, _TIMES[1]) for h in (1e-6, -1e-6))
    if ahead is None or behind is None:
        return None
    error = _relative((ahead - behind) / 2e-6, (score * direction).sum((1, 2)))
    return _verdict("score against the slope of the energy", error, "< 1e-4", error < 1e-4, "relative, t = 0.5")


def _noise_scale(prior: NetworkPrior, generator: torch.Generator) -> dict[str, Any]:
    """Regress the network's estimate of the noise in pure noise on this noise; the slope is 1 for a trained model."""
    x = torch.randn(_COUNT, prior.n_beads, prior.n_dims, generator=generator, dtype=torch.float64)
    y, found = prior.field.gauge(x), prior.output.noise_in_noise(x)
    ratio = float((found * y).sum() / y.square().sum())
    return _verdict("noise seen in pure noise", ratio, "0.8 to 1.2", 0.8 < ratio < 1.2, "regression, most noise")


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def _verdict(check: str, value: float, expected: str, passed: bool, how: str) -> dict[str, Any]:
    return {"check": check, "value": value, "expected": expected, "passed": passed, "how": how}


def _clock(about: ModelDescription) -> dict[str, str]:
    return {"published_clock": about.clock} if about.clock else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
