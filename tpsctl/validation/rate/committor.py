"""Committor and rate constant from weighted equilibrium samples, by the variational backward Kolmogorov equation.

For overdamped dynamics dx = D grad(log rho) dt + sqrt(2 D) dW, the committor q, which is the probability to reach B
before A, minimizes the functional over all functions with q = 0 in A and q = 1 in B:

    functional        F[q] = 1/2 E |grad q|^2                      1/nm^2, for D that is the same for all beads
    reactive flux     nu   = E sum_a D_a |grad_a q|^2  = 2 D F     1/ps
    rate constant     k_AB = nu / E[1 - q]                         1/ps

E is the mean over equilibrium. These are three numbers. F is an upper bound for any q, and so is nu. In collective
variables c(x), q is a function of c, and the bound is that of the best such function:

    sum_a D_a |grad_a q|^2 = g^T M g ,    g = dq/dc ,    M_ij = sum_a D_a grad_a c_i . grad_a c_j .

q is d_A e^n / (d_A e^n + d_B) with a perceptron n(c) and the distances d_A and d_B to the edges of both states, which
are balls in c: the conditions at the states hold for every n. ln F is minimized by Adam first, then by L-BFGS, and
the network of least F on samples that are held out is taken.

Sources: Khoo, Lu and Ying, Res. Math. Sci. 6 (2019) 1 (variational committors by networks); E and Vanden-Eijnden, Annu.
Rev. Phys. Chem. 61 (2010) 391 (flux and rate).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tpsctl.errors import ValidationError

TRANSITION_REGION = (0.05, 0.95)
"""Committors of samples that decide the rate: the reactive flux passes through their region."""
FEW_SAMPLES = 100
"""Fewer samples in the transition region than these give no rate."""
_FIRST_STEPS, _LEARNING_RATE = 100, 1e-2
"""Steps of Adam with which the fit leaves its flat beginning."""
_STEPS_TOGETHER, _PATIENCE = 10, 3
"""L-BFGS steps between two looks at the flux of the held-out samples, and how often it may fail to fall."""
_HELD_OUT = 3
"""One in so many groups is held out from the fit, to end it before it follows the noise of the samples."""


@dataclass(frozen=True)
class States:
    """States A and B as balls in collective variables.

    Attributes:
        a: Center of A.
        b: Center of B.
        radius: Radius of both, in the unit of the variables, nm or rad.
        periodic: Whether the variables are angles, rad.
    """

    a: Float[Tensor, " variable"]
    b: Float[Tensor, " variable"]
    radius: float
    periodic: bool

    def __post_init__(self) -> None:
        apart = float(self.distance(self.a.unsqueeze(0), self.b))
        if not 0 < 2 * self.radius < apart:
            raise ValidationError(
                f"states: got a radius of {self.radius:g}, expected one above 0 and below {apart / 2:.4g}, half the "
                "distance of the centers in the collective variables. Choose a smaller radius."
            )

    def distance(self, c: Float[Tensor, "sample variable"], center: Float[Tensor, " variable"]) -> Tensor:
        """Distance of points from a center; angles are apart by at most pi."""
        away = c - center
        if self.periodic:
            away = away - 2 * torch.pi * (away.detach() / (2 * torch.pi)).round()
        return away.square().sum(1).clamp_min(1e-30).sqrt()

    def edges(self, c: Float[Tensor, "sample variable"]) -> tuple[Tensor, Tensor]:
        """Distances (sample) from the edges of A and B, 0 inside."""
        near_a, near_b = (self.distance(c, center) - self.radius for center in (self.a, self.b))
        return near_a.clamp_min(0), near_b.clamp_min(0)


@dataclass(frozen=True)
class WeightedSamples:
    """Samples that stand for equilibrium with their weights.

    Attributes:
        c: Collective variables, nm or rad.
        metric: The matrix M of every sample, nm^2/ps times the square of the variables' unit over nm^2.
        weights: Weights in equilibrium; they need not be normalized.
        groups: Group of every sample, e.g. its trajectory; samples of one group may be correlated.
    """

    c: Float[Tensor, "sample variable"]
    metric: Float[Tensor, "sample variable variable"]
    weights: Float[Tensor, " sample"]
    groups: Int[Tensor, " sample"]


class CommittorNetwork(nn.Module):
    """q(c) with the conditions at both states built in.

    Args:
        states: A and B.
        center: Typical value of the variables, subtracted before the network.
        scale: Their typical spread.
        width: Neurons in each of the two hidden layers.
        seed: Seed of the first weights.
    """

    def __init__(self, states: States, center: Tensor, scale: Tensor, *, width: int = 32, seed: int = 1) -> None:
        super().__init__()
        self.states, self.center, self.scale = states, center, scale
        inputs = len(center) * (2 if states.periodic else 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = (nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
            self.network = nn.Sequential(*layers).double()

    def forward(self, c: Float[Tensor, "sample variable"]) -> Float[Tensor, " sample"]:
        seen = torch.cat((c.cos(), c.sin()), 1) if self.states.periodic else (c - self.center) / self.scale
        growth = self.network(seen).squeeze(1).clamp(-60, 60).exp()
        near_a, near_b = self.states.edges(c)
        return near_a * growth / (near_a * growth + near_b)


@dataclass(frozen=True)
class RateEstimate:
    """What samples that took no part in the fit give.

    Attributes:
        flux_per_ps: nu, 1/ps.
        population_a: E[1 - q], the probability to come from A.
        rate_per_ps: k_AB, 1/ps.
        flux_interval_per_ps: 95 % interval of nu, by a bootstrap over groups.
        rate_interval_per_ps: 95 % interval of k_AB.
        effective_samples: Kish's effective number of all samples.
        transition_samples: Number of samples in the transition region.
    """

    flux_per_ps: float
    population_a: float
    rate_per_ps: float
    flux_interval_per_ps: tuple[float, float]
    rate_interval_per_ps: tuple[float, float]
    effective_samples: float
    transition_samples: int


def fit_committor(
    samples: WeightedSamples, states: States, *, steps: int, seed: int, tell: Callable[[int, float], None] | None = None
) -> CommittorNetwork:
    """The committor of least functional over the samples.

    Args:
        samples: Samples of equilibrium.
        states: A and B.
        steps: Most steps, those of Adam included.
        seed: Seed of the network's first weights.
        tell: Is called with the step and a number that is proportional to the flux of the samples held out.

    Raises:
        ValidationError: All samples to fit, or all that are held out, lie in the states.
    """
    center, scale = samples.c.mean(0), samples.c.std(0).clamp_min(1e-12)
    found = CommittorNetwork(states, center, scale, seed=seed)
    held_out = samples.groups % _HELD_OUT == 0
    fitted, judge = (_outside(samples, states, mask) for mask in (~held_out, held_out))
    report = tell or _tell_nobody

    def loss() -> Tensor:
        found.zero_grad()
        value = _log_flux(found, fitted, create_graph=True)
        value.backward()
        return value

    first = torch.optim.Adam(found.parameters(), lr=_LEARNING_RATE)
    for _ in range(_FIRST_STEPS):
        first.step(loss)
    then = torch.optim.LBFGS(
        found.parameters(),
        max_iter=_STEPS_TOGETHER,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    best, least, worse = copy.deepcopy(found.state_dict()), math.inf, 0
    for step in range(_FIRST_STEPS, steps + 1, _STEPS_TOGETHER):
        value = _log_flux(found, judge).item()
        report(step, math.exp(value))
        if value < least:
            best, least, worse = copy.deepcopy(found.state_dict()), value, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
        then.step(loss)
    found.load_state_dict(best)
    return found


def _outside(samples: WeightedSamples, states: States, mask: Tensor) -> WeightedSamples:
    """The samples of a mask that lie outside both states, within which the gradient of q vanishes.

    Raises:
        ValidationError: There are none.
    """
    kept = mask & (torch.stack(states.edges(samples.c)).amin(0) > 0)
    if not bool(kept.any()):
        raise ValidationError(
            "of the samples to fit, or of those to judge the fit, all lie in state A or B: no rate follows from them. "
            "Give more samples, in at least three pieces, or a smaller radius."
        )
    return WeightedSamples(samples.c[kept], samples.metric[kept], samples.weights[kept], samples.groups[kept])


def _log_flux(
    committor: CommittorNetwork, samples: WeightedSamples, *, create_graph: bool = False
) -> Float[Tensor, ""]:
    """ln of the mean of g^T M g over samples outside both states."""
    _, density = dissipation(committor, samples.c, samples.metric, create_graph=create_graph)
    return ((samples.weights * density).sum() / samples.weights.sum()).log()


def _tell_nobody(step: int, flux: float) -> None:
    pass


def dissipation(
    committor: CommittorNetwork, c: Tensor, metric: Tensor, *, create_graph: bool = False
) -> tuple[Float[Tensor, " sample"], Float[Tensor, " sample"]]:
    """q and g^T M g of every sample, g = dq/dc by automatic differentiation."""
    with torch.enable_grad():
        points = c.detach().requires_grad_(True)
        q = committor(points)
        (slope,) = torch.autograd.grad(q.sum(), points, create_graph=create_graph)
    return q, torch.einsum("si,sij,sj->s", slope, metric, slope)


def measure_rate(committor: CommittorNetwork, samples: WeightedSamples, *, draws: int, seed: int) -> RateEstimate:
    """Flux and rate constant with their intervals.

    Args:
        committor: A fitted committor.
        samples: Samples that took no part in the fit, so that the bound holds but for their sampling error.
        draws: Number of bootstrap draws over groups.
        seed: Seed of the draws.
    """
    q, density = (x.detach() for x in dissipation(committor, samples.c, samples.metric))
    count = int(samples.groups.max()) + 1
    sums = torch.stack((samples.weights, samples.weights * density, samples.weights * (1 - q)))
    of_groups = torch.zeros(3, count, dtype=sums.dtype).index_add_(1, samples.groups, sums)
    drawn = torch.randint(count, (draws, count), generator=torch.Generator().manual_seed(seed))
    weight, flux, from_a = of_groups[:, drawn].sum(2)
    total, total_flux, total_a = of_groups.sum(1).tolist()
    low, high = TRANSITION_REGION
    return RateEstimate(
        flux_per_ps=total_flux / total,
        population_a=total_a / total,
        rate_per_ps=total_flux / total_a,
        flux_interval_per_ps=_interval(flux / weight),
        rate_interval_per_ps=_interval(flux / from_a),
        effective_samples=float(samples.weights.sum().square() / samples.weights.square().sum()),
        transition_samples=int(((q > low) & (q < high)).sum()),
    )


def _interval(values: Tensor) -> tuple[float, float]:
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high
