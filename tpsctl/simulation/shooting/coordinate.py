"""The reaction coordinate by the likelihood of shots: a logit of the committor that is linear in features.

    p_B(x) = 1 / (1 + exp(-r(x))) ,      r(x) = w . f(x) + c

A configuration from which n_A shots reached A and n_B reached B has the log-likelihood

    n_B r - (n_A + n_B) log(1 + exp(r)) .

Features are standardized, and w maximizes the sum of it minus penalty |w|^2 / 2, by Newton steps. The penalty is the
one with the least held-out deviance: samples are dealt into folds, each of which is predicted by a fit to the others.
The deviance of a configuration is twice the log-likelihood of the best p_B for it alone minus that of r; where r is
exact, its mean is `expected_deviance`, which is about 1 for many shots and less where p_B is near 0 or 1.

Source: Peters and Trout, J. Chem. Phys. 125 (2006) 054108; Ma and Dinner, J. Phys. Chem. B 109 (2005) 6769.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from tpsctl.errors import DataError
from tpsctl.molecule.features import Features

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Penalties that are tried."""

FOLDS = 4
"""Parts into which samples are dealt to judge a penalty."""

_NEWTON_STEPS, _CONVERGED = 60, 1e-9
_NEAR = 2.0
"""Logits around the dividing surface in which the variables are weighed."""


@dataclass(frozen=True)
class Weight:
    """How much a variable matters for the committor.

    Attributes:
        variable: Its name.
        logits: Root mean square change of r by one spread of the variable, over samples near the dividing surface.
    """

    variable: str
    logits: float


@dataclass(frozen=True, eq=False)
class ReactionCoordinate:
    """The logit of the committor as a linear function of features.

    Attributes:
        features: f.
        weights: w, of the features as they are, (feature,).
        offset: c.
    """

    features: Features
    weights: Float[Tensor, " feature"]
    offset: float

    def __call__(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, " batch"]:
        """r of configurations in nm, float64, differentiable."""
        return self.of_features(self.features(x.double()))

    def of_features(self, f: Float[Tensor, "batch feature"]) -> Float[Tensor, " batch"]:
        """r as a function of the features."""
        return f @ self.weights.to(f.device) + self.offset

    def weighed(self, x: Float[Tensor, "sample bead dim"]) -> list[Weight]:
        """The variables, the most important one first, from samples of which some are near the dividing surface, nm."""
        values = self.features.variables_of(x.double())
        with torch.enable_grad():
            v = values.detach().requires_grad_(True)
            r = self.of_features(self.features.of_variables(v))
            (slope,) = torch.autograd.grad(r.sum(), v)
        near = r.detach().abs() < _NEAR
        near = near if bool(near.any()) else torch.ones_like(near)
        logits = slope[near].square().mean(0).sqrt() * self.features.spread(values[near])
        order = sorted(range(len(logits)), key=lambda k: (-float(logits[k]), k))
        return [Weight(self.features.variables[k], float(logits[k])) for k in order]


@dataclass(frozen=True, eq=False)
class CoordinateFit:
    """A reaction coordinate, and how well it predicts shots.

    Attributes:
        coordinate: The fit to all samples.
        penalty: Its penalty.
        held_out: Mean held-out deviance of a sample for every penalty that was tried.
        deviance: That of the chosen one.
        expected: What it would be if the coordinate were exact.
        null: Deviance of a p_B that is the same for all samples.
        samples: Number of samples.
        shots: Number of their shots.
    """

    coordinate: ReactionCoordinate
    penalty: float
    held_out: dict[float, float]
    deviance: float
    expected: float
    null: float
    samples: int
    shots: int


def fit_coordinate(
    features: Features,
    x: Float[Tensor, "sample bead dim"],
    to_a: Int[Tensor, " sample"],
    to_b: Int[Tensor, " sample"],
    *,
    seed: int,
    penalties: Sequence[float] = PENALTIES,
) -> CoordinateFit:
    """Fit a reaction coordinate to shots.

    Args:
        features: What it is linear in.
        x: Where the shots started, nm.
        to_a: How many of them reached A.
        to_b: How many of them reached B. Samples without an arrival are left out.
        seed: Seed of the dealing into folds.
        penalties: Penalties to choose from.

    Raises:
        DataError: Shots reached only one of the states, or there are fewer samples than folds.
    """
    shot = (to_a + to_b) > 0
    a, b = to_a[shot].double(), to_b[shot].double()
    if len(a) < 2 * FOLDS or float(a.sum()) == 0 or float(b.sum()) == 0:
        raise DataError(
            f"a reaction coordinate needs shots that reach both states: got {len(a)} samples with {int(a.sum())} shots "
            f"to A and {int(b.sum())} to B, expected at least {2 * FOLDS} samples. Draw more unguided samples, or give "
            "states that they reach."
        )
    f = features(x[shot].double())
    place = torch.randperm(len(f), generator=torch.Generator().manual_seed(seed)).argsort() % FOLDS
    predicted = {penalty: _predicted(f, a, b, place, penalty) for penalty in penalties}
    held_out = {penalty: float(deviances(r, a, b).mean()) for penalty, r in predicted.items()}
    best = min(held_out, key=lambda penalty: (held_out[penalty], penalty))
    weights, offset = _fit(f, a, b, best)
    return CoordinateFit(
        ReactionCoordinate(features, weights, offset),
        best,
        held_out,
        held_out[best],
        expected_deviance(predicted[best], a + b),
        float(deviances((b.sum() / a.sum()).log().expand(len(a)), a, b).mean()),
        len(a),
        int((a + b).sum()),
    )


def deviances(
    r: Float[Tensor, " sample"], to_a: Float[Tensor, " sample"], to_b: Float[Tensor, " sample"]
) -> Float[Tensor, " sample"]:
    """The deviance of each sample's shots from the committor with the logit r."""
    shots = to_a + to_b
    best = torch.special.xlogy(to_b, to_b / shots) + torch.special.xlogy(to_a, to_a / shots)
    return 2 * (best - to_b * r + shots * softplus(r))


def expected_deviance(r: Float[Tensor, " sample"], shots: Float[Tensor, " sample"]) -> float:
    """Mean of the deviances if r were exact: a sum over all outcomes of the shots of each sample."""
    total = 0.0
    for n in shots.unique().tolist():
        k = torch.arange(n + 1, dtype=torch.float64)
        here, m = r[shots == n].double().unsqueeze(1), torch.tensor(n, dtype=torch.float64)
        ways = torch.lgamma(m + 1) - torch.lgamma(k + 1) - torch.lgamma(m - k + 1)
        chance = (ways + k * here - m * softplus(here)).exp()
        total += float((chance * deviances(here, m - k, k)).sum())
    return total / len(r)


def _predicted(f: Tensor, a: Tensor, b: Tensor, place: Tensor, penalty: float) -> Float[Tensor, " sample"]:
    """r of each sample from a fit to the other folds."""
    found = torch.empty(len(f), dtype=torch.float64)
    for fold in range(FOLDS):
        out = place == fold
        weights, offset = _fit(f[~out], a[~out], b[~out], penalty)
        found[out] = f[out] @ weights + offset
    return found


def _fit(f: Tensor, a: Tensor, b: Tensor, penalty: float) -> tuple[Float[Tensor, " feature"], float]:
    """Weights of the features, and the offset, by Newton steps that are halved while they overshoot."""
    mean, spread = f.mean(0), f.std(0)
    spread = torch.where(spread > 1e-9, spread, torch.inf)  # what never changes has no weight
    z = torch.cat(((f - mean) / spread, torch.ones(len(f), 1, dtype=f.dtype)), 1)
    held = torch.full((z.shape[1],), penalty, dtype=f.dtype)
    held[-1] = 1e-6  # the offset is free, and stays finite where one state was never reached
    theta, n = torch.zeros_like(held), a + b

    def loss(theta: Tensor) -> float:
        r = z @ theta
        return float((n * softplus(r) - b * r).sum() + (held * theta.square()).sum() / 2)

    value = loss(theta)
    for _ in range(_NEWTON_STEPS):
        p = torch.sigmoid(z @ theta)
        gradient = z.T @ (n * p - b) + held * theta
        step = torch.linalg.solve((z.T * (n * p * (1 - p))) @ z + held.diag(), gradient)
        size = 1.0
        while (tried := loss(theta - size * step)) > value and size > 1e-8:
            size /= 2
        theta, gained, value = theta - size * step, value - tried, tried
        if gained <= _CONVERGED * (1 + abs(value)):
            break
    weights = theta[:-1] / spread
    return weights, float(theta[-1] - weights @ mean)
