"""Paths of alanine dipeptide beside their controls, each run to convergence, by one command:

    python -m benchmarks.alanine_controls [--paths 4] [--without learned]

    learned        the recipe's own checkpoint
    force field    classical Onsager-Machlup paths: the force field itself as the prior
    flat           a model without an energy landscape (benchmarks/flat_model.py): must end elsewhere
    no OM          the guesses, not optimized
    NEB            a converged climbing-image band on the force field (benchmarks/neb.py): the reference

Each model and the band start from the recipe's guesses and from deliberately bad ones, bent through (phi, psi) =
(0, 84) degrees. Models are optimized by the recipe's own stages, the last one with more steps, and for the controls to
tight tolerances. What comes out is judged by raw and minimized force-field energies and by where the highest image
lies.

Two true saddles join C7eq and C7ax over phi = 0 (one negative mode, both minima reached downhill; found by
benchmarks/alanine_reference.py and, independently, by the bands): 36.37 kJ/mol above C7eq at (-2, -26) degrees, and
42.18 at (-1, 67). A bent guess starts in the valley of the second, where a local optimizer may rightly stay.

The result goes to benchmarks/results/ as JSON and as a table.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.flat_model import FlatPrior
from benchmarks.neb import converge_band
from benchmarks.report import RESULTS, ROOT, heading, machine
from tpsctl.console import make_progress
from tpsctl.environment import default_threads
from tpsctl.files import write_text
from tpsctl.prior.base import Prior
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.path import TorsionGuessSection, WaypointSection
from tpsctl.recipe.prior import OpenMMPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.judge import judge
from tpsctl.workflows.sample.optimization import optimize
from tpsctl.workflows.sample.tools import Tools

RECIPE = ROOT / "recipes" / "alanine_dipeptide.yaml"
BENT = TorsionGuessSection(
    kind="torsion", waypoints=(WaypointSection(fraction=0.5, torsions_deg={"phi ALA2": 0.0, "psi ALA2": 84.0}),)
)
SADDLES_DEG = {"lower": (-2.0, -26.0), "upper": (-1.0, 67.0)}
PHI_ZERO_ROUTE_DEG = 60.0
"""A path whose highest image has |phi| below this went over phi = 0."""
BAND_IMAGES = 21
TOLERANCES = {
    "force field": {"action_tolerance": 1e-4, "gradient_tolerance_per_nm": 5.0},
    "flat": {"action_tolerance": 1e-6, "gradient_tolerance_per_nm": 1.0},
}
"""Of the controls, tighter than the recipe's. A flat model's action hardly changes from step to step: with a recipe's
tolerances it would stay at its guess. The network keeps the recipe's: in single precision its gradient is known to a
few per nm."""
MODELS = ("learned", "force field", "flat")


class Study:
    """The recipe's system, what judges paths of it, and the rows found so far."""

    def __init__(self, recipe: SampleRecipe, progress: Progress, out: Path) -> None:
        self._out, self._machine = out, machine()
        assert recipe.validation.energy is not None, "the recipe must name a force field in validation.energy"
        self.recipe, self.progress = recipe, progress
        self.force_field = recipe.validation.energy.force_field
        self.system = assemble.make_system(recipe.endpoints)
        self.gate = assemble.make_gate(self.system)
        self.energies = assemble.make_energy_model(recipe.validation, self.system, default_threads())
        self.temperature_k = recipe.action.temperature_k or 300.0
        self.classical = OpenMMPrior(self.system.topology, self.force_field, temperature_k=self.temperature_k)
        self.rows: list[dict[str, Any]] = []

    def prior(self, name: str) -> Prior:
        """One of `MODELS`."""
        if name == "learned":
            return assemble.make_prior(self.recipe.prior, self.system, torch.device("cpu"))
        if name == "flat":
            return FlatPrior(self.system.topology, self.force_field, temperature_k=self.temperature_k)
        return self.classical

    def guesses(self, guess: TorsionGuessSection | Any) -> Tensor:
        """Screened initial paths of a kind."""
        recipe = self.recipe.model_copy(update={"path": self.recipe.path.model_copy(update={"guess": guess})})
        prior = self.prior("learned") if guess.kind == "latent" else self.classical
        return draw_guesses(self.tools(recipe, prior), range(recipe.path.paths), self.progress)[0]

    def tools(self, recipe: SampleRecipe, prior: Prior) -> Tools:
        """The study's ends and judges with a recipe and a prior."""
        tools = Tools(recipe, torch.device("cpu"), default_threads())
        vars(tools).update(system=self.system, gate=self.gate, energy_model=self.energies, prior=prior)
        return tools

    def optimized(self, name: str, start: str, guesses: Tensor, max_steps: int) -> None:
        """Optimize the guesses with a model, and add the row."""
        recipe = _for_control(self.recipe, name, max_steps)
        started = time.perf_counter()
        self.progress.say(f"{name}, {start} ...")
        paths, outcomes = optimize(self.tools(recipe, self.prior(name)), guesses, self.progress)
        outcome = outcomes[-1]
        seconds = time.perf_counter() - started
        converged = sum(status == "converged" for status in outcome.status)
        extra = {
            "action_median": outcome.terms.total.quantile(0.5).item(),
            "steps_median": sorted(outcome.steps)[len(paths) // 2],
        }
        self.add(name, start, paths, converged=converged, seconds=seconds, **extra)

    def band(self, start: str, guess: Tensor) -> None:
        """Converge a band from one guess, and add the row."""
        self.progress.say(f"NEB, {start} ...")
        thinned = guess[torch.linspace(0, len(guess) - 1, BAND_IMAGES).round().long()]
        band = converge_band(thinned, self.system.topology, self.force_field)
        extra = {
            "force_on_top_kj_per_mol_nm": band.force_on_top,
            "negative_modes": band.negative_modes,
            "force_calls": band.force_calls,
        }
        self.add("NEB", start, band.x[None], converged=int(band.converged), seconds=band.seconds, **extra)

    def add(self, name: str, start: str, paths: Tensor, *, converged: int | None, seconds: float, **extra: Any) -> None:
        """Judge paths and note what came of them."""
        verdict = judge(self.tools(self.recipe, self.classical), paths)
        raw, minimized = (verdict.profiles[kind] for kind in ("raw", "minimized"))
        angles = [verdict.dihedrals[f"{kind} ALA2"].rad2deg() for kind in ("phi", "psi")]
        top = torch.cat([angle.gather(1, raw.highest_image.unsqueeze(1)) for angle in angles], 1)
        over_zero = top[:, 0].abs() < PHI_ZERO_ROUTE_DEG
        middle = top[over_zero].quantile(0.5, dim=0) if over_zero.any() else torch.full((2,), torch.nan)
        self.rows.append(
            {
                "model": name,
                "start": start,
                "paths": len(paths),
                "converged": converged,
                "over_phi_zero": int(over_zero.sum()),
                "raw_highest_kj_per_mol": raw.barrier_forward.tolist(),
                "minimized_highest_kj_per_mol": minimized.barrier_forward.tolist(),
                "raw_highest_median": raw.barrier_forward[over_zero].quantile(0.5).item() if over_zero.any() else None,
                "raw_highest_worst": raw.barrier_forward.max().item(),
                "minimized_highest_median": minimized.barrier_forward[over_zero].quantile(0.5).item()
                if over_zero.any()
                else None,
                "top_deg": top.tolist(),
                "top_median_deg": middle.tolist(),
                **{f"within_10_deg_of_{name}_saddle": _near(top, at) for name, at in SADDLES_DEG.items()},
                "seconds": seconds,
                **extra,
            }
        )
        self.progress.say(_line(self.rows[-1]))
        self.save()

    def save(self) -> None:
        """The rows so far, as JSON and as a table."""
        report = {"machine": self._machine, "recipe": self.recipe.model_dump(mode="json"), "rows": self.rows}
        text = json.dumps(report, indent=1, default=str).replace(f"{ROOT}/", "")  # as in a checkout anywhere
        write_text(self._out.with_suffix(".json"), text + "\n")
        write_text(self._out.with_suffix(".md"), f"{heading(self._machine)}\n{table(self.rows)}")


def _for_control(recipe: SampleRecipe, name: str, max_steps: int) -> SampleRecipe:
    """The recipe with steps enough in its last stage; for force fields tight, and without the diffusion times."""
    last = {"max_steps": max_steps, **TOLERANCES.get(name, {})}
    stages = (*recipe.stages[:-1], recipe.stages[-1].model_copy(update=last))
    if name == "learned":
        return recipe.model_copy(update={"optimize": stages})
    without = tuple(stage.model_copy(update={"diffusion_time": None}) for stage in stages)
    prior = OpenMMPriorSection(kind="openmm", force_field=("amber99sbildn.xml",), temperature_k=300.0)
    return recipe.model_copy(update={"optimize": without, "prior": prior})


def _near(top_deg: Tensor, saddle_deg: tuple[float, float]) -> int:
    """Paths whose highest image is within 10 degrees of a saddle, in phi and in psi."""
    away = (top_deg - torch.tensor(saddle_deg) + 180) % 360 - 180
    return int((away.abs() <= 10).all(1).sum())


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table; energies in kJ/mol above C7eq, of paths over phi = 0."""
    head = (
        "| model | start | paths | converged | over phi 0 | raw, median | raw, worst | minimized, median "
        "| top (phi, psi), median | at lower saddle | at upper | s |\n" + "|---" * 12 + "|\n"
    )
    return head + "\n".join(_line(row) for row in rows) + "\n"


def _line(row: dict[str, Any]) -> str:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}" if abs(value) < 1e4 else f"{value:.1e}"

    phi, psi = row["top_median_deg"]
    cells = [
        row["model"],
        row["start"],
        row["paths"],
        "–" if row["converged"] is None else row["converged"],
        row["over_phi_zero"],
        *(number(row[key]) for key in ("raw_highest_median", "raw_highest_worst", "minimized_highest_median")),
        f"({phi:.0f}, {psi:.0f})",
        row["within_10_deg_of_lower_saddle"],
        row["within_10_deg_of_upper_saddle"],
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--paths", type=int, default=4, help="paths of each kind")
    parser.add_argument("--max-steps", type=int, default=2000, help="most optimizer steps of each stage")
    parser.add_argument("--without", nargs="*", default=[], choices=[*MODELS, "NEB"], help="controls to leave out")
    parser.add_argument("--out", type=Path, default=RESULTS / "alanine_controls", help="result file without suffix")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, SampleRecipe, [f"path.paths={arguments.paths}"])
    study = Study(recipe, make_progress(), arguments.out)
    starts = {"recipe": study.guesses(recipe.path.guess), "bent": study.guesses(BENT)}
    for start, guesses in starts.items():
        study.add("no OM", start, guesses, converged=None, seconds=0.0)
        if "NEB" not in arguments.without:
            study.band(start, guesses[0])
        for name in (name for name in MODELS if name not in arguments.without):
            study.optimized(name, start, guesses, arguments.max_steps)
    print(table(study.rows))


if __name__ == "__main__":
    main()
