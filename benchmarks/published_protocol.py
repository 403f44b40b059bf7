"""The published protocol, written down plainly: Adam on the truncated action, one autograd pass per step.

All images are a leaf tensor in float32; the score is the gradient of the prior's energy with its graph kept; the sum

    S = sum_i |x_{i+1} - x_i|^2 / (4 D dt) + dt D |s(x_i)|^2 / 4

is differentiated as it stands, ends fixed. 5000 steps at a fixed learning rate of 0.2, in units of the data's standard
deviation. On all-atom structures that rate breaks bonds at every step, so smaller ones are run, too, and the
best counts.

    python -m benchmarks.published_protocol      runs all of it at full size: about half an hour

Source: Raja et al., arXiv:2504.18506, and its code.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor

from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.action.base import Action
from tpsctl.optimize.stages import Stage, interpolated
from tpsctl.prior.base import Prior
from tpsctl.prior.network import NetworkPrior
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble

STEPS = 5000
IMAGES = 200
PUBLISHED_RATE = 0.2
"""Adam's learning rate in standard deviations of the data; of the Mueller-Brown surface, in its own unit."""

ALANINE_RATES_NM = (3e-4, 2e-3)
"""Smaller rates for alanine dipeptide, nm."""


@dataclass(frozen=True)
class Problem:
    """A path to be found, the same for both sides.

    Attributes:
        name: "alanine dipeptide" or "Mueller-Brown".
        prior: Score.
        action: Whose value is compared, with its step dt.
        guess: One path at the images of `action`.
        stages: How tpsctl goes about it; the last stage minimizes `action`.
        rates: Learning rates of the published protocol, nm, the published one first.
    """

    name: str
    prior: Prior
    action: Action
    guess: Tensor
    stages: list[Stage]
    rates: tuple[float, ...]


def alanine_dipeptide(images: int = IMAGES) -> Problem:
    """The shipped recipe, its last stage at so many images and the same horizon."""
    file = ROOT / "recipes" / "alanine_dipeptide.yaml"
    recipe = load_recipe(file, SampleRecipe)
    dt_ps = recipe.action.dt_ps * (recipe.path.images - 1) / (images - 1)
    recipe = load_recipe(file, SampleRecipe, [f"path.images={images}", f"action.dt_ps={dt_ps}", "path.paths=1"])
    problem = _problem("alanine dipeptide", recipe, images)
    spread = problem.guess[0, [0, -1]]
    deviation = (spread - spread.mean(1, keepdim=True)).std().item()
    return Problem(**{**vars(problem), "rates": (PUBLISHED_RATE * deviation, *ALANINE_RATES_NM)})


def mueller_brown() -> Problem:
    """The published notebook's settings: 50 images, dt 0.1, D 0.2, straight line."""
    recipe = load_recipe(ROOT / "recipes" / "mueller_brown.yaml", SampleRecipe)
    return _problem("Müller–Brown", recipe, recipe.path.images)


def _problem(name: str, recipe: SampleRecipe, images: int) -> Problem:
    system = assemble.make_system(recipe.endpoints)
    prior = assemble.make_prior(recipe.prior, system, torch.device("cpu"))
    chosen = assemble.choose(recipe, system, prior, torch.device("cpu"), lambda: None)
    seed = torch.Generator().manual_seed(assemble.path_seed(recipe.seed, 0))
    guess = assemble.make_guess(recipe, prior, system).draw(system.ends, images, [seed])
    stages = assemble.make_stages(recipe, chosen, prior, system)
    return Problem(name, prior, stages[-1].action, interpolated(guess, images), stages, (PUBLISHED_RATE,))


def plain_score(problem: Problem) -> Callable[[Tensor], Tensor]:
    """The score with its graph."""
    if isinstance(problem.prior, NetworkPrior):
        output = problem.prior.output
        return lambda x: output.score(x, 0.01)
    return problem.prior._score


class PublishedRun:
    """Adam on one path, step by step.

    Attributes:
        action: S before the last step.
    """

    def __init__(self, problem: Problem, rate_nm: float) -> None:
        ends = problem.guess[0].float()
        self.inner = ends[1:-1].clone().requires_grad_(True)
        self._ends = ends[:1], ends[-1:]
        self._score = plain_score(problem)
        self._adam = torch.optim.Adam([self.inner], lr=rate_nm)
        dynamics = problem.action.dynamics
        self._dt, self._diffusion = dynamics.dt_ps, dynamics.diffusion.float().view(1, -1, 1)
        self.action = torch.inf

    def step(self) -> None:
        self._adam.zero_grad()
        x = torch.cat([self._ends[0], self.inner, self._ends[1]])
        kinetic = (x.diff(dim=0).square() / (4 * self._diffusion * self._dt)).sum()
        drift = (self._dt * self._diffusion * self._score(x[:-1]).square() / 4).sum()
        action = kinetic + drift
        action.backward()
        self._adam.step()
        self.action = action.item()  # the published loop prints it


def final_action(name: str, rate_nm: float, steps: int) -> dict[str, float | str]:
    """What a whole run ends at."""
    torch.set_num_threads(1)
    problem = PROBLEMS[name]()
    run = PublishedRun(problem, rate_nm)
    for _ in range(steps):
        run.step()
    found = {"system": name, "images": problem.guess.shape[1], "steps": steps, "rate_nm": rate_nm, "action": run.action}
    print(found, flush=True)
    return found


PROBLEMS = {"Müller–Brown": mueller_brown, "alanine dipeptide": alanine_dipeptide}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    facts = machine()
    tasks = [(name, rate, steps) for name, make in PROBLEMS.items() for rate in make().rates]
    with ProcessPoolExecutor(facts["cores"], get_context("spawn")) as pool:
        rows = list(pool.map(final_action, *zip(*tasks, strict=True)))
    table = Table("Where the published protocol ends", list(rows[0]), [list(row.values()) for row in rows])
    write_report("published_protocol", facts, {"runs": rows}, [table])


if __name__ == "__main__":
    main()
