"""Observable guidance on four wells in one dimension: how far the guided ensemble is from the truth, with and without
the excess work in the objective of the tuner, and with common or fresh random numbers in its evaluations.

    python -m benchmarks.four_wells                   exact scores
    python -m benchmarks.four_wells --prior trained   a network for each repetition
    python -m benchmarks.four_wells --report          benchmarks/results/four_wells.md of what was measured

The truth is exp(-V) with V = 4 (x^8 + 0.8 exp(-80 x^2) + 0.2 exp(-80 (x - 1/2)^2) + 0.5 exp(-40 (x + 1/2)^2)). The
prior is the truth times exp(-2 x), one clean tilt. Its score at every noise width is either exact (quadrature on a
grid), so that all errors are those of the guidance, or that of a small network which was trained by denoising on
samples of the prior, another one in each repetition. The one observable is the average of x, taken from the truth; the
nearest ensemble is the truth itself. Each repetition has other random numbers: it draws samples, fits the multiplier,
tunes (a, b) of a exp(-b t) with gamma_w = 0 or 0.1, and draws guided samples. The tuner meets the same random numbers
in every evaluation ("common"), or other ones each time, as published ("fresh"); "wide" lets it choose a up to 20. The
misfit is counted in the error of the target, a tenth of the spread of the data, or in the unit of x, as published
("plain misfit"). Each of these can be measured alone (--tuners) and is added to what was measured before.

KL is that of a histogram of the samples to the truth. The finite number of samples alone gives the floor in the table.
Published (arXiv:2505.13375): 0.75 +- 1.5 without and 0.03 +- 0.01 with the work term. Their prior is a network trained
on a mixture of tilts, with weights exp((x - x_min) c x_max i / N), c = -4, that depend on the number i of the sample,
and their tuner draws fresh noise in each evaluation; the numbers are not the same quantity.
"""

import argparse
import json
import math

import torch
from torch import nn
from torch.nn.functional import silu

from benchmarks.report import RESULTS, Table, machine, write_report
from tpsctl.files import write_text
from tpsctl.optimize.tuning import Interval, next_point, spread_points
from tpsctl.score.base import AutogradScore
from tpsctl.score.guidance.base import DenoisedGuide, NoGuide, NoisedGuide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.maximum_entropy import maximum_entropy
from tpsctl.score.guidance.process import guided_diffusion, initial_noise
from tpsctl.score.guidance.schedules import ExponentialStrength
from tpsctl.score.guidance.work import excess_work
from tpsctl.score.likelihood import Diffusion
from tpsctl.score.reverse_process import geometric_widths

TILT, LEAST, LARGEST, STEPS = -2.0, 0.04, 8.0, 50
BOX = (Interval(0.2, 2.5), Interval(0.0, 6.0))
WIDE = (Interval(0.2, 20.0), Interval(0.0, 6.0))
EVALUATIONS, INITIAL, TUNED_SAMPLES, SAMPLES, BINS = 12, 8, 200, 1000, 28
DATA, HIDDEN, TRAINING_STEPS, BATCH = 20_000, 64, 2000, 256
WAVES = torch.arange(1, 6, dtype=torch.float64)
"""Wave numbers of what the network sees of a position, in the inverse of the spread of noised data."""
GRID = torch.linspace(-1.4, 1.4, 201, dtype=torch.float64)
FINE = torch.linspace(-1.4, 1.4, 100 * BINS + 1, dtype=torch.float64)[:-1] + 1.4 / (100 * BINS)
"""Centers of 100 cells in each bin of the histograms."""
TUNERS = (
    ("noised", NoisedGuide, "common", BOX),
    ("denoised", DenoisedGuide, "common", BOX),
    ("noised", NoisedGuide, "fresh", BOX),
    ("denoised", DenoisedGuide, "fresh", BOX),
    ("noised", NoisedGuide, "fresh, wide", WIDE),
    ("noised", NoisedGuide, "fresh, wide, plain misfit", WIDE),
)


def potential(x):
    """V in kT."""
    wells = 0.8 * (-80 * x**2).exp() + 0.2 * (-80 * (x - 0.5) ** 2).exp() + 0.5 * (-40 * (x + 0.5) ** 2).exp()
    return 4 * (x**8 + wells)


def moments(log_density):
    """Mean and standard deviation of a density on the grid."""
    weights = torch.softmax(log_density, 0)
    mean = weights @ GRID
    return float(mean), float((weights @ GRID.square() - mean**2).sqrt())


def exact_law(log_density):
    """The diffused law of a density on the grid."""

    def score_at(width):
        def score(y):
            away = y.flatten(1) - GRID
            posterior = torch.softmax(log_density - away.square() / (2 * width**2), 1)
            return ((posterior @ GRID).unsqueeze(1) - y.flatten(1)).view_as(y) / width**2

        return AutogradScore(score)

    return Diffusion(score_at, LEAST, LARGEST, spread=moments(log_density)[1])


class Denoiser(nn.Module):
    """The posterior mean of clean data, preconditioned so that it is that of a Gaussian before training.

    Source: Karras et al., arXiv:2206.00364, table 1 (EDM).
    """

    def __init__(self, mean, spread):
        super().__init__()
        self.mean, self.spread = mean, spread
        sizes = [2 + 2 * len(WAVES), HIDDEN, HIDDEN, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, y, width):
        z, total = y - self.mean, (width**2 + self.spread**2) ** 0.5
        waves = z / total * WAVES
        h = torch.cat((z / total, torch.log(width / self.spread) / 4, waves.sin(), waves.cos()), 1)
        for layer in self.layers[:-1]:
            h = silu(layer(h))
        return self.mean + self.spread**2 / total**2 * z + width * self.spread / total * self.layers[-1](h)


def trained_law(log_density, seed):
    """The law that a network learns from samples of the density."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    mean, spread = moments(log_density)
    data = drawn_from(log_density, DATA, generator)
    net = Denoiser(mean, spread).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINING_STEPS)
    low, high = math.log(LEAST / 1.5), math.log(1.5 * LARGEST)
    for _ in range(TRAINING_STEPS):
        clean = data[torch.randint(DATA, (BATCH,), generator=generator)].unsqueeze(1)
        width = (low + (high - low) * torch.rand(BATCH, 1, generator=generator, dtype=clean.dtype)).exp()
        noised = clean + width * torch.randn(BATCH, 1, generator=generator, dtype=clean.dtype)
        weight = (width**2 + spread**2) / (width * spread) ** 2
        loss = (weight * (net(noised, width) - clean).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.requires_grad_(False)

    def score_at(width):
        def score(y):
            z = y.flatten(1)
            return ((net(z, torch.full_like(z, width)) - z) / width**2).view_as(y)

        return AutogradScore(score)

    return Diffusion(score_at, LEAST, LARGEST, spread=spread)


def drawn_from(log_density, count, generator):
    """Samples of a density on the grid, spread evenly over its cells."""
    cell = torch.multinomial(torch.softmax(log_density, 0), count, replacement=True, generator=generator)
    within = torch.rand(count, generator=generator, dtype=GRID.dtype) - 0.5
    return GRID[cell] + within * (GRID[1] - GRID[0])


def draw(law, guide, count, seed):
    generator = torch.Generator().manual_seed(seed)
    start = initial_noise(law, torch.zeros(count, 1, 1, dtype=torch.float64), generator)
    return guided_diffusion(law, guide, start, geometric_widths(LARGEST, LEAST, STEPS), generator)


def divergence_to_truth(x, weights=None):
    """KL of a histogram to the truth, nats."""
    edges = torch.linspace(-1.4, 1.4, BINS + 1, dtype=torch.float64)
    place = torch.bucketize(x.clamp(-1.399, 1.399), edges[1:-1])
    weights = torch.ones_like(x) if weights is None else weights
    q = torch.zeros(BINS, dtype=x.dtype).scatter_add_(0, place, weights)
    q = q / q.sum()
    p = torch.softmax(-potential(FINE), 0).view(BINS, -1).sum(1)
    return float((q[q > 0] * (q[q > 0] / p[q > 0].clamp_min(1e-12)).log()).sum())


def tuned(found_fn, box, target, error, gamma, seed, noise):
    """(a, b) with the least objective; `found_fn` draws samples with these numbers and a seed."""

    def objective(point, number):
        other = 0 if noise == "common" else 1_000_000 * (1 + number)
        found = found_fn(point, seed + other)
        misfit = ((float(found.y.mean()) - target) / error) ** 2
        return math.log(1e-3 + misfit + gamma * excess_work(found).nats)

    points = spread_points(box, INITIAL, seed)
    values = [objective(point, number) for number, point in enumerate(points)]
    while len(points) < EVALUATIONS:
        points.append(next_point(box, points, values, seed))
        values.append(objective(points[-1], len(points) - 1))
    return points[values.index(min(values))]


def repetition(seed, log_truth, law, target, tuners=TUNERS):
    """KL to the truth, work and tuned (a, b) of every kind of ensemble."""
    x = draw(law, NoGuide(), SAMPLES, 10 * seed).y.flatten()
    found = maximum_entropy(x.unsqueeze(1), torch.tensor([target], dtype=x.dtype), names=["x"])
    multiplier, clock = float(found.values), GuidanceClock(law.spread)
    rows = {
        "unguided": (divergence_to_truth(x), 0.0, []),
        "reweighted": (divergence_to_truth(x, torch.exp(-multiplier * x)), 0.0, []),
    }
    for name, kind, noise, box in tuners:

        def sampled(point, at, count=TUNED_SAMPLES, kind=kind):
            schedule = ExponentialStrength(*point)
            guide = kind(lambda y: -multiplier * y.sum((1, 2)), lambda width: schedule(clock.time(width)))
            return draw(law, guide, count, at)

        for gamma in (0.0, 0.1):
            error = 1.0 if "plain" in noise else 0.1 * law.spread
            point = tuned(sampled, box, target, error, gamma, 10 * seed + 1, noise.split(",")[0])
            guided = sampled(point, 10 * seed + 2, SAMPLES)
            kl = divergence_to_truth(guided.y.flatten())
            rows[f"{name}, {noise}, gamma_w {gamma:g}"] = (kl, excess_work(guided).nats, point)
    given = drawn_from(log_truth, SAMPLES, torch.Generator().manual_seed(seed))
    rows["samples of the truth (floor)"] = (divergence_to_truth(given), 0.0, [])
    return rows


def measure(prior, first, count, chosen):
    """Repetitions with one kind of prior, stored as they are done, beside what was stored of other tuners."""
    tuners = [tuner for tuner in TUNERS if tuner[2] in (chosen or (tuner[2],))]
    file = RESULTS / f"four_wells_{prior}.json"
    before = json.loads(file.read_text())["repetitions"] if chosen and file.exists() else []
    torch.set_num_threads(1)
    facts = machine()
    log_truth = -potential(GRID)
    log_prior = log_truth + TILT * GRID
    target = moments(log_truth)[0]
    found = []
    for seed in range(first, first + count):
        law = exact_law(log_prior) if prior == "exact" else trained_law(log_prior, seed)
        known = before[seed] if seed < len(before) else {}
        found.append(known | repetition(seed, log_truth, law, target, tuners))
        print(seed, {name: round(row[0], 4) for name, row in found[-1].items()}, flush=True)
        stored = {"machine": facts, "target": target, "repetitions": found + before[len(found) :]}
        write_text(file, json.dumps(stored, indent=1) + "\n")


def table(prior):
    """The table of one kind of prior, from its stored repetitions."""
    found = json.loads((RESULTS / f"four_wells_{prior}.json").read_text())["repetitions"]
    rows = []
    for name in found[0]:
        done = [each[name] for each in found if name in each]
        kl, work = (torch.tensor([row[k] for row in done], dtype=torch.float64) for k in (0, 1))
        spread, error = float(kl.std()), float(kl.std()) / len(kl) ** 0.5
        cells = (f"{kl.mean():.4f} ± {spread:.4f}", f"{error:.4f}", f"{kl.max():.3f}", f"{work.mean():.3f}")
        rows.append((name, len(done), *cells))
    head = (
        "samples",
        "repetitions",
        "KL, mean ± standard deviation (nats)",
        "error of the mean",
        "largest KL",
        "work (nats)",
    )
    return Table(f"Prior: {prior} scores", head, rows)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--prior", choices=("exact", "trained"), default="exact")
    arguments.add_argument("--repetitions", type=int, default=20)
    arguments.add_argument("--first", type=int, default=0, help="number of the first repetition")
    arguments.add_argument("--tuners", nargs="+", help='only these, e.g. "fresh, wide"; their rows are added')
    arguments.add_argument("--report", action="store_true", help="only write the page of what was measured")
    given = arguments.parse_args()
    if not given.report:
        measure(given.prior, given.first, given.repetitions, given.tuners)
        print(table(given.prior).markdown())
        return
    files = {prior: RESULTS / f"four_wells_{prior}.json" for prior in ("exact", "trained")}
    measured = [prior for prior, file in files.items() if file.exists()]
    tables = [table(prior) for prior in measured]
    results = {each.title: {row[0]: list(row[1:]) for row in each.rows} for each in tables}
    facts = json.loads(files[measured[-1]].read_text())["machine"]
    write_report("four_wells", facts, {"tables": results}, tables)


if __name__ == "__main__":
    main()
