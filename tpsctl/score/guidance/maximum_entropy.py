"""The ensemble nearest to a given one whose averages of observables are those of an experiment.

Of all ensembles q with averages <f> = F, the one with the least KL(q | p) is

    q(x) = p(x) exp(-lambda . f(x)) / Z(lambda) .

Its multipliers lambda minimize the convex function log Z(lambda) + lambda . F, whose gradient is F - <f>_q and whose
Hessian is the covariance of f under q; minus its least value is the entropy loss KL(q | p). Newton's method with
halved steps finds it from samples of p. Targets outside of the convex hull of the samples' values have no solution.

Source: Jaynes, Phys. Rev. 106 (1957) 620; Pitera and Chodera, J. Chem. Theory Comput. 8 (2012) 3445.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import TpsctlError

_STEPS, _HALVINGS, _TOLERANCE = 200, 40, 1e-9
_LARGEST = 60.0
"""Largest multiplier, in the inverse of the observable's standard deviation, that is taken for a solution."""

_REPLICATES = 200


@dataclass(frozen=True)
class Multipliers:
    """Multipliers that move the averages of samples onto targets.

    Attributes:
        values: lambda, in the inverse of each observable's unit, (observable,).
        errors: Standard deviation of lambda over bootstrap replicates of the samples, (observable,).
        averages: Averages of the reweighted samples, which are the targets, (observable,).
        entropy_loss: KL(q | p), nats.
        effective_size: Effective number of the reweighted samples, over their number.
        replicates: Number of bootstrap replicates that had a solution.
    """

    values: Float[Tensor, " observable"]
    errors: Float[Tensor, " observable"]
    averages: Float[Tensor, " observable"]
    entropy_loss: float
    effective_size: float
    replicates: int


def maximum_entropy(
    values: Float[Tensor, "sample observable"],
    targets: Float[Tensor, " observable"],
    *,
    names: Sequence[str],
    weights: Float[Tensor, " sample"] | None = None,
    generator: torch.Generator | None = None,
) -> Multipliers:
    """The multipliers of observables that were evaluated on samples.

    Args:
        values: Observables of the samples, each in its own unit.
        targets: Averages that are wanted.
        names: Names of the observables with their units, for messages.
        weights: Weights of the samples (or of the nodes of a quadrature), above 0; None for equal ones.
        generator: Source of the bootstrap replicates, on the CPU; None for none, whose errors are nan.

    Raises:
        TpsctlError: A value is not finite, an observable is constant, or the targets are out of reach; the message has
            the range that can be reached.
    """
    f = values.double()
    _require_usable(f, targets, names)
    weights = torch.ones(len(f), dtype=f.dtype) if weights is None else weights.double()
    scale, origin = f.std(0), f.mean(0)
    z, wanted = (f - origin) / scale, (targets.double() - origin) / scale
    found, solved = _solve(z, wanted, weights.log().unsqueeze(0))
    log_q = torch.log_softmax(weights.log() - z @ found[0], 0)
    if not bool(solved[0]):
        raise TpsctlError(_jointly(names, targets, log_q.exp() @ f))
    log_p = torch.log_softmax(weights.log(), 0)
    replicas, errors = 0, torch.full_like(found[0], torch.nan)
    if generator is not None:
        drawn = _replicates(weights, generator)
        again, good = _solve(z, wanted, drawn)
        replicas, errors = int(good.sum()), again[good].std(0) / scale
    q = log_q.exp()
    return Multipliers(
        values=found[0] / scale,
        errors=errors,
        averages=q @ f,
        entropy_loss=float((q * (log_q - log_p)).sum()),
        effective_size=float(1 / (len(f) * q.square().sum())),
        replicates=replicas,
    )


def _solve(z: Tensor, wanted: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers of standardized observables for each row of log-weights, and whether each is a solution."""
    multipliers = torch.zeros(len(log_weights), z.shape[1], dtype=z.dtype)
    eye = torch.eye(z.shape[1], dtype=z.dtype)

    def dual(at: Tensor) -> Tensor:
        return torch.logsumexp(log_weights - at @ z.T, 1) + at @ wanted

    for _ in range(_STEPS):
        q = torch.softmax(log_weights - multipliers @ z.T, 1)
        mean = q @ z
        gradient = wanted - mean
        open_ones = (gradient.abs().amax(1) > _TOLERANCE) & (multipliers.abs().amax(1) < _LARGEST)
        if not bool(open_ones.any()):
            break
        away = z.unsqueeze(0) - mean.unsqueeze(1)
        covariance = torch.einsum("rn,rni,rnj->rij", q, away, away)
        step = torch.linalg.solve(covariance + 1e-12 * eye, gradient)
        step = step * open_ones.unsqueeze(1)
        multipliers = multipliers - _halved(dual, multipliers, step, gradient).unsqueeze(1) * step
    q = torch.softmax(log_weights - multipliers @ z.T, 1)
    solved = ((wanted - q @ z).abs().amax(1) < 1e-6) & (multipliers.abs().amax(1) < _LARGEST)
    return multipliers, solved


def _halved(dual: Callable[[Tensor], Tensor], at: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
    """For each row the largest of 1, 1/2, 1/4, ... by which its step lowers the dual enough (Armijo)."""
    before, slope = dual(at), (gradient * step).sum(1)
    factor = torch.ones(len(at), dtype=at.dtype)
    for _ in range(_HALVINGS):
        worse = dual(at - factor.unsqueeze(1) * step) > before - 1e-4 * factor * slope + 1e-13
        if not bool(worse.any()):
            break
        factor = torch.where(worse, factor / 2, factor)
    return factor


def _replicates(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Log-weights of bootstrap replicates: how often each sample was drawn, with replacement."""
    count = len(weights)
    drawn = torch.randint(count, (_REPLICATES, count), generator=generator)
    times = torch.zeros(_REPLICATES, count, dtype=weights.dtype).scatter_add_(
        1, drawn, torch.ones_like(drawn, dtype=weights.dtype)
    )
    return (times * weights).log()


def _require_usable(f: Tensor, targets: Tensor, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        column, target = f[:, k], float(targets[k])
        bad = int((~column.isfinite()).sum())
        if bad:
            raise TpsctlError(f"{name}: is not a number for {bad} of {len(column)} samples. Check its atoms.")
        low, high = float(column.min()), float(column.max())
        if not high - low > 1e-12 * max(abs(high), abs(low)):
            raise TpsctlError(f"{name}: is {low:g} for every sample, so no ensemble has another average. Leave it out.")
        if not low < target < high:
            raise TpsctlError(
                f"{name}: target {target:g} is out of reach: the samples of the prior have values from {low:g} to "
                f"{high:g}, average {float(column.mean()):g}. Give a target inside this range, or draw more samples."
            )


def _jointly(names: Sequence[str], targets: Tensor, nearest: Tensor) -> str:
    each = "; ".join(
        f"{name}: target {float(target):g}, reached {float(found):g}"
        for name, target, found in zip(names, targets, nearest, strict=True)
    )
    return (
        "the targets cannot be reached together, though each one is within the range of the samples of the prior: "
        f"{each}. Check the targets, or leave one out."
    )
