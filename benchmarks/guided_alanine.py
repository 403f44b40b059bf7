"""Path guidance to the transition state of alanine dipeptide: success by shooting, bonds, and diversity, by gamma_w.

    tpsctl sample recipes/alanine_dipeptide_routes.yaml
    nice python -m benchmarks.guided_alanine runs/alanine-dipeptide-routes --work runs/guided-alanine
    nice python -m benchmarks.guided_alanine runs/alanine-dipeptide-routes --work runs/guided-torsions --kernel torsions
    nice python -m benchmarks.guided_alanine runs/alanine-dipeptide-routes --work runs/guided-committor \
        --kernel committor --pool 8 --spread 3 --unguided-blocks 3 --unguided 400

Guides are five images near the saddles of the two lowest routes of the run. A sample succeeds if its committor, by
Langevin dynamics of the force field, lies in 0.4 to 0.6.

1. Unguided samples are drawn in blocks until enough of them succeed; their rate is the one to beat, and their diversity
   (mean pairwise RMSD of the successful ones) is the one to keep.
2. A pool of schedules, spread over the tuner's box and then chosen by its Gaussian process, is judged with few samples
   and at most 20 shots each. All gamma_w share it, because success and work of a schedule do not depend on gamma_w.
3. For each gamma_w the best schedule of the pool is drawn with more samples and up to 100 shots each.

The objective is (1 - success) + gamma_w W with W in nats, and beside it the published one with W divided by the number
of atoms. For the first there is a bound: W is at least the relative entropy of reaching a set of unguided probability p
with probability f, f ln(f/p) + (1 - f) ln((1 - f)/(1 - p)); above gamma_w = 1 / ln(1/p) no guidance is the best.

The committor kernel learns its coordinate first, from shots of unguided samples and in rounds; the shots of 2 and 3
teach it nothing. Its pool begins with the schedule of the defaults.

A shot ends after 4 ps at the latest; a sample from which more than a fifth of the shots reach no state is not wanted.
Every result is a file in the folder --work, which is not computed again; so the benchmark may be stopped at any time,
and goes on with larger --pool, --samples and --gammas.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import RESULTS, ROOT, Table, machine, write_report
from tpsctl.files import write_text
from tpsctl.molecule.openmm_system import XmlForceField
from tpsctl.optimize.tuning import next_point, spread_points
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.loader import load_recipe
from tpsctl.score.guidance.base import NoGuide
from tpsctl.simulation.engine import Engine, PhaseState, Thermostat
from tpsctl.simulation.shooting.committor import wilson_interval
from tpsctl.workflows.guide.campaigns.structures import PathCampaign
from tpsctl.workflows.guide.diversity import bond_deviation, distances_nm, diversity
from tpsctl.workflows.guide.drawing import Drawn, draw
from tpsctl.workflows.guide.structures import load_guides
from tpsctl.workflows.guide.tools import make_tools

RECIPE = """\
version: 1
name: guided-alanine
seed: 2026
prior: {{kind: checkpoint, checkpoint: {folder}/diffusion.safetensors}}
guide:
  kind: path
  kernel: {{kind: {kernel}}}
  guides: {{structures: [{guides}]}}
  success:
    kind: committor
    ends: {{structures: [{folder}/c7eq.pdb, {folder}/c7ax.pdb]}}
    dynamics: {{kind: force_field, force_field: [amber99sbildn.xml], longest_ps: {longest_ps}}}
sampling: {{steps: {steps}, corrections: {corrections}}}
output: {{directory: {work}/unused}}
"""
FOLDER = ROOT / "recipes" / "alanine_dipeptide"
STEPS, SPREAD, BLOCK, ENOUGH, LONGEST_PS = 100, 16, 100, 10, 4.0
OF_POOL = (0.0, 1e-4, 1e-3, 3e-3)
"""gamma_w per nat for which the pool is enlarged in turn."""
CORRECTIONS = {"committor": 2}
"""Langevin steps at every noise width, where there are any."""
UNGUIDED, POOL, FINAL, LESSON = 0, 1, 2, 100
"""Phases of random numbers."""


class Measurement:
    """The guided prior, and the folder in which its results are kept."""

    def __init__(self, run, work, kernel, spread, rounds):
        self.work, self.spread = work.resolve(), spread
        self.work.mkdir(parents=True, exist_ok=True)
        recipe = self.work / "guide.yaml"
        guides = guides_of(run, self.work)
        names = ", ".join(map(str, guides))
        numbers = {"steps": STEPS, "longest_ps": LONGEST_PS, "corrections": CORRECTIONS.get(kernel, 0)}
        kernel += f", rounds: {rounds}" if kernel == "committor" else ""
        write_text(recipe, RECIPE.format(folder=FOLDER, guides=names, work=self.work, kernel=kernel, **numbers))
        self.tools = make_tools(load_recipe(recipe, GuideRecipe, []), torch.device("cpu"))
        self.campaign = PathCampaign(self.tools, self.tools.recipe.guide)

    def drawn(self, name, guide, count, phase, stream, *, tuning=False, shots=None):
        """Samples with their committors, from a file if it is there."""
        file = self.work / f"{name}.pt"
        if not file.exists():
            found = draw(self.tools, guide, count, phase=phase, stream=stream)
            words = (self.tools.recipe.seed, phase, stream)
            if shots is None:
                marks = self.campaign.mark(found.x, words, tuning=tuning)
            else:
                marks = self.campaign.mark_lesson(found.x, words, shots)
            kept = found.store() | {f"marks.{key}": value for key, value in marks.items()}
            torch.save(kept, file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
        found = Drawn.joined([torch.load(file)])
        wanted = f"{int(found.marks['wanted'].sum())} of " if "wanted" in found.marks else ""
        print(f"{name}: {wanted}{len(found.x)}, {found.work.nats:.2f} nats, {shots_of(found)} shots", flush=True)
        return found

    def learn(self, unguided):
        """What the kernel learns from unguided samples, and from lessons if it has any."""
        self.campaign.learn(unguided)
        number = 0
        while (lesson := self.campaign.lesson()) is not None:
            name, phase = lesson.name.replace(" ", "_"), LESSON + number
            found = self.drawn(name, lesson.guide, lesson.samples, phase, 0, shots=lesson.shots)
            print(f"{name}: {self.campaign.study(found)}", flush=True)
            number += 1
        return self.campaign.kernel.facts()

    def unguided(self, most):
        """Blocks of unguided samples until enough of them succeed, or until there are at least `most` of them."""
        blocks = []
        while len(blocks) * BLOCK < most:
            name, stream = f"unguided_{len(blocks)}", len(blocks)
            blocks.append(self.drawn(name, NoGuide(), BLOCK, UNGUIDED, stream, tuning=False).store())
            if sum(int(block["marks.wanted"].sum()) for block in blocks) >= ENOUGH:
                break
        return Drawn.joined(blocks)

    def pool(self, count, samples):
        """Schedules with their success and work, from spread points and then from two objectives in turn."""
        box, seed = self.campaign.box, self.tools.recipe.seed
        points, found = [list(self.campaign.given), *spread_points(box, self.spread, seed)], []
        for k in range(count):
            if k > self.spread:
                gamma = OF_POOL[k % len(OF_POOL)]
                values = [math.log(1e-3 + 1 - f + gamma * work) for f, work in found]
                points.append(next_point(box, points, values, seed))
            name = f"pool_{named(points[k])}_{samples}"
            here = self.drawn(name, self.campaign.guide(points[k]), samples, POOL, 0, tuning=True)
            found.append((fraction(here), here.work.nats))
        return points[:count], found


def guides_of(run, work):
    """Five images near the saddles of the two lowest routes of a run, as PDB files."""
    import mdtraj

    paths = json.loads((run / "manifest.json").read_text())["paths"]
    tops = [int(entry["raw"]["highest_image"]) for entry in paths[:2]]
    chosen = [(0, tops[0] - 1), (0, tops[0]), (0, tops[0] + 1), (1, tops[1]), (1, tops[1] + 1)]
    files = []
    for path, image in chosen:
        files.append(work / f"guide_{path}_{image}.pdb")
        mdtraj.load(str(run / f"paths/path_{path:04d}.pdb"))[image].save_pdb(str(files[-1]))
    return files


def data_of(tools, ends, frames=500):
    """Frames of Langevin dynamics in both basins, 0.1 ps apart, after 2 ps: what bonds are in the data."""
    import openmm

    made = XmlForceField(("amber99sbildn.xml",)).create(tools.topology)
    engine = Engine(
        openmm.XmlSerializer.serialize(made.system), None, Thermostat(0.001, 1.0, 300.0), seed=1, platform="Reference"
    )
    found = []
    for x in ends:
        engine.set_state(PhaseState(x.numpy(), np.zeros(tuple(x.shape))))
        engine.step(2000)
        for _ in range(frames // 2):
            engine.step(100)
            found.append(torch.from_numpy(engine.positions()))
    return torch.stack(found)


def named(point):
    """A name of a schedule, so that a file is never taken for that of another one."""
    return "_".join(f"{number:.4g}" for number in point)


def fraction(drawn):
    return float(drawn.marks["wanted"].double().mean())


def shots_of(drawn):
    return int(sum(drawn.marks[name].sum() for name in ("to_a", "to_b", "to_neither", "failed")))


def row_of(name, drawn, measurement, data, reference_nm):
    """What the table says of an ensemble."""
    x, wanted = drawn.x, drawn.marks["wanted"]
    low, high = wilson_interval(int(wanted.sum()), len(x))
    own = diversity(x[wanted], superposed=True)
    to_guide = distances_nm(x, measurement.campaign.guides, superposed=True).amin(1)
    return {
        "ensemble": name,
        "samples": len(x),
        "success": fraction(drawn),
        "low": low,
        "high": high,
        "work_nats": drawn.work.nats,
        "work_per_atom_nats": drawn.work.nats / x.shape[1],
        "bond_deviation": bond_deviation(x, data, measurement.tools.topology.bonds),
        "diversity_nm": None if math.isnan(own) else own,  # fewer than two successful samples have none
        "diversity_share": None if math.isnan(own) else own / reference_nm,
        "to_guide_nm": float(to_guide.median()),
        "shots": shots_of(drawn),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory of `tpsctl sample`, with PDB files of its paths")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results so far")
    parser.add_argument("--pool", type=int, default=28, help="schedules in the pool")
    parser.add_argument("--pool-samples", type=int, default=24, help="samples per schedule of the pool")
    parser.add_argument("--samples", type=int, default=40, help="guided samples of the best schedules")
    parser.add_argument("--unguided", type=int, default=2000, help="most unguided samples")
    parser.add_argument("--gammas", type=float, nargs="+", default=[0, 1e-4, 1e-3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    parser.add_argument(
        "--kernel", choices=("superposed", "torsions", "committor"), default="superposed", help="what is guided"
    )
    parser.add_argument("--spread", type=int, default=16, help="schedules spread over the box before any is chosen")
    parser.add_argument("--rounds", type=int, default=8, help="most rounds that teach the committor kernel")
    parser.add_argument("--unguided-blocks", type=int, default=1, help="blocks of 100 unguided samples to learn from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine() | {"threads": 1, "steps": STEPS, "pool": given.pool, "pool_samples": given.pool_samples}
    facts["kernel"] = given.kernel
    measurement = Measurement(given.run, given.work, given.kernel, given.spread, given.rounds)
    tools, campaign = measurement.tools, measurement.campaign
    first = [
        measurement.drawn(f"unguided_{k}", NoGuide(), BLOCK, UNGUIDED, k).store() for k in range(given.unguided_blocks)
    ]
    facts |= measurement.learn(Drawn.joined(first))
    points, found = measurement.pool(given.pool, given.pool_samples)
    finals = {}
    atoms = tools.prior.n_beads
    for per, divisor in (("nat", 1), ("nat and atom", atoms)):
        for gamma in given.gammas:
            values = [1 - f + gamma * work / divisor for f, work in found]
            best = values.index(min(values))
            finals[f"gamma_w {gamma:g} per {per}"] = best, min(values) >= 1.0
    judged = {}
    for best in sorted({best for best, _ in finals.values()}):
        name = f"final_{named(points[best])}_{given.samples}"
        judged[best] = measurement.drawn(name, campaign.guide(points[best]), given.samples, FINAL, 0, tuning=False)
    report(measurement, facts, measurement.unguided(given.unguided), finals, judged, (points, found))


def reference_of(unguided, facts):
    """Diversity of unguided samples in the window, nm; that of the superposed kernel's run where they are too few."""
    wanted = unguided.marks["wanted"]
    facts["reference"] = f"{int(wanted.sum())} unguided samples in the window"
    if facts["kernel"] != "committor":
        return diversity(unguided.x[wanted], superposed=True)
    row = json.loads((RESULTS / "guided_alanine.json").read_text())["rows"][0]
    facts["reference"] = f"{round(row['success'] * row['samples'])} unguided samples in the window, without corrections"
    return row["diversity_nm"]


def report(measurement, facts, unguided, finals, judged, pool):
    """Write the tables."""
    ends = load_guides(measurement.tools, measurement.tools.recipe.guide.success.ends, "ends")
    data = data_of(measurement.tools, ends)
    reference = reference_of(unguided, facts)
    rows = [row_of("unguided", unguided, measurement, data, reference)]
    for name, (best, alone) in finals.items():
        row = row_of(name, judged[best], measurement, data, reference)
        rows.append(row | {"schedule": best, "numbers": pool[0][best], "no_guidance_is_better": alone})
    guides = measurement.campaign.guides
    marks = measurement.campaign.mark(guides, (measurement.tools.recipe.seed, 9, 0), tuning=False)
    shown = [
        [
            row["ensemble"],
            row.get("schedule", "-"),
            f"{row['success']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['work_nats']:.1f}",
            f"{row['bond_deviation']:.2f}",
            "-" if row["diversity_nm"] is None else f"{row['diversity_nm']:.4f} ({row['diversity_share']:.0%})",
            f"{row['to_guide_nm']:.4f}",
            row["shots"],
            "yes" if row.get("no_guidance_is_better") else "",
        ]
        for row in rows
    ]
    head = ["ensemble", "schedule", "committor in 0.4 to 0.6", "work (nats)", "bonds (std of data)"]
    head += ["diversity (nm; share of unguided)", "to guide (nm)", "shots", "no guidance is better"]
    tried = [[k, *point, f, work] for k, (point, (f, work)) in enumerate(zip(*pool, strict=True))]
    facts |= {"guides_committor": marks["p_b"].tolist(), "guides_diversity_nm": diversity(guides, superposed=True)}
    write_report(
        "guided_alanine" if facts["kernel"] == "superposed" else f"guided_alanine_{facts['kernel']}",
        facts,
        {"rows": rows, "pool": tried},
        [
            Table("Alanine dipeptide: guided samples with a committor of 0.4 to 0.6", head, shown),
            Table("The pool of schedules", ["schedule", *measurement.campaign.names, "success", "work (nats)"], tried),
        ],
    )


if __name__ == "__main__":
    main()
