"""Is an observable that was held out of the fit predicted better by guided samples of alanine dipeptide than by
unguided ones, where the truth is known?

    nice python -m benchmarks.held_out --work runs/held-out

The "experiment" is an ensemble that is known: the embedded prior, biased by a potential along phi,

    truth(x) ~ prior(x) exp(kappa cos(phi - phi_0)) ,       kappa = 1.3 , phi_0 = -140 degrees,

whose averages and their errors come from a pool of unguided samples with these weights, drawn with random numbers that
no run uses. The bias is no function of the coupling that is fitted, so the nearest ensemble with the same coupling is
not the truth, and the couplings that are held out test it.

Every seed is a run of `tpsctl guide` with a target for 3J(HN,HA) alone. Beside the guided ensemble stand the unguided
one, the unguided one reweighted, and that of classifier guidance. An ensemble predicts a held-out coupling better than
another one if it is nearer to the truth; by how many standard errors is the difference of the distances over the errors
of both averages and of the truth, added in squares. Finished runs and pools in the folder --work are not repeated.
"""

import argparse
import csv
import math
from pathlib import Path

import torch

from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.files import write_text
from tpsctl.molecule.atom_labels import find_dihedral
from tpsctl.molecule.observables.experimental import COUPLINGS, ScalarCoupling
from tpsctl.molecule.observables.geometric import angle_of
from tpsctl.progress import Progress
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.loader import load_recipe
from tpsctl.score.guidance.base import NoGuide
from tpsctl.score.guidance.work import unguided_averages
from tpsctl.workflows.guide.drawing import draw
from tpsctl.workflows.guide.run import guide_recipe
from tpsctl.workflows.guide.tools import make_tools
from tpsctl.workflows.sample.settings import RunSettings

KAPPA, PHI_0_DEG = 1.3, -140.0
POOL_SEED, POOL_PHASE, POOL_BLOCK = 777, 9, 500
NUCLEI = ("HN-HA", "HN-CB", "HN-C")
ENSEMBLES = ("unguided", "guided", "reweighted", "corrected", "classifier")
RECIPE = """\
version: 1
name: held-out
seed: {seed}
prior: {{kind: checkpoint, checkpoint: {root}/recipes/alanine_dipeptide/diffusion.safetensors}}
guide:
  kind: observables
  observables:
    - {{kind: coupling, dihedral: phi ALA2, nuclei: HN-HA, name: HN-HA, target_hz: {target}, error_hz: 0.1}}
    - {{kind: coupling, dihedral: phi ALA2, nuclei: HN-CB, name: HN-CB, held_out: true}}
    - {{kind: coupling, dihedral: phi ALA2, nuclei: HN-C, name: HN-C, held_out: true}}
  strength: {{height: {height}, decay: {decay}}}
sampling: {{samples: {samples}, steps: 60, batch_samples: 250}}
output: {{directory: {folder}, figures: false}}
"""


def loaded(file, **values):
    """The recipe with these values, written to a file."""
    write_text(file, RECIPE.format(root=ROOT, folder=file.with_suffix(""), **values))
    return load_recipe(file, GuideRecipe, [])


def pool_of(work, count):
    """The couplings and phi (sample, 4) of unguided samples with random numbers of their own."""
    given = {"seed": POOL_SEED, "target": 7, "samples": 10, "height": 1, "decay": 0}
    tools = make_tools(loaded(work / "pool.yaml", **given), torch.device("cpu"))
    atoms = find_dihedral(tools.topology, "phi ALA2", where="pool")
    blocks = []
    for k in range(math.ceil(count / POOL_BLOCK)):
        file = work / f"pool_{k:03d}.pt"
        if not file.exists():
            x = draw(tools, NoGuide(), POOL_BLOCK, phase=POOL_PHASE, stream=k).x
            found = [ScalarCoupling(name, atoms, COUPLINGS[name])(x) for name in NUCLEI]
            torch.save(torch.stack([*found, angle_of(x, atoms)], 1), file)
            print(f"pool: {k + 1} blocks of {POOL_BLOCK}", flush=True)
        blocks.append(torch.load(file))
    return torch.cat(blocks)


def truth_of(pool):
    """Averages of the couplings over the biased ensemble with their standard errors, and the effective share."""
    log_weights = KAPPA * torch.cos(pool[:, -1] - math.radians(PHI_0_DEG))
    averages, errors = unguided_averages(pool[:, :-1], -log_weights)
    weights = torch.softmax(log_weights, 0)
    share = float(1 / (len(pool) * weights.square().sum()))
    loss = float((weights * (weights * len(pool)).log()).sum())
    known = {name: (float(a), float(e)) for name, a, e in zip(NUCLEI, averages, errors, strict=True)}
    return known, {"effective_share": share, "relative_entropy_nats": loss, "samples": len(pool)}


def run(work, seed, target, given):
    """Averages (value, error) of each coupling by ensemble, and what the run cost."""
    values = {"samples": given.samples, "height": given.height, "decay": given.decay}
    recipe = loaded(work / f"seed_{seed}.yaml", seed=seed, target=round(target, 3), **values)
    manifest = guide_recipe(recipe, RunSettings(threads=1), Progress())
    with (work / f"seed_{seed}" / "observables.csv").open() as stream:
        rows = {row["observable"]: row for row in csv.DictReader(stream)}
    found = {
        name: {each: (float(rows[name][each]), float(rows[name][f"{each}_error"])) for each in ENSEMBLES}
        for name in NUCLEI
    }
    keys = ("outcome", "excess_work_nats", "excess_work_error_nats", "entropy_loss_nats", "effective_size_corrected")
    return {"seed": seed, "averages": found} | {key: manifest[key] for key in keys}


def improvement(averages, truth, ensemble):
    """By how much an ensemble is nearer to the truth than the unguided one, in Hz and in standard errors."""
    (value, error), (unguided, unguided_error), (known, known_error) = (
        averages[ensemble],
        averages["unguided"],
        truth,
    )
    gain = abs(unguided - known) - abs(value - known)
    return gain, gain / math.hypot(error, unguided_error, known_error)


def tables_of(truth, runs):
    """What a person should see."""
    shown = ("unguided", "guided", "reweighted", "classifier")
    by_seed = []
    for done in runs:
        for name in NUCLEI:
            cells = ["{:.3f} ± {:.3f}".format(*done["averages"][name][each]) for each in shown]
            gain, significance = improvement(done["averages"][name], truth[name], "guided")
            role = "fitted" if name == NUCLEI[0] else "held out"
            known = "{:.3f} ± {:.3f}".format(*truth[name])
            by_seed.append([done["seed"], f"3J({name}), {role}", known, *cells, f"{gain:.3f}", f"{significance:.1f}"])
    head = ["seed", "coupling (Hz)", "truth", *shown, "guided nearer by (Hz)", "in standard errors"]
    costs = [
        [
            done["seed"],
            done["outcome"],
            "{:.2f} ± {:.2f}".format(done["excess_work_nats"], done["excess_work_error_nats"]),
            f"{done['entropy_loss_nats']:.4f}",
            f"{done['effective_size_corrected']:.3f}",
        ]
        for done in runs
    ]
    misses = [
        [
            name,
            *(
                f"{_root_mean_square([d['averages'][name][each][0] - truth[name][0] for d in runs]):.3f}"
                for each in shown
            ),
        ]
        for name in NUCLEI
    ]
    return [
        Table("Averages", head, by_seed),
        Table("Root mean square distance from the truth over the seeds (Hz)", ["coupling", *shown], misses),
        Table("Cost", ["seed", "outcome", "work (nats)", "entropy loss (nats)", "effective share, corrected"], costs),
    ]


def _root_mean_square(values):
    return math.sqrt(sum(value**2 for value in values) / len(values))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--work", type=Path, required=True, help="folder of pools and runs")
    arguments.add_argument("--pool", type=int, default=6000, help="samples of the pool")
    arguments.add_argument("--samples", type=int, default=1500, help="samples of a run")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    arguments.add_argument("--height", type=float, default=6.0, help="a of the strength")
    arguments.add_argument("--decay", type=float, default=8.0, help="b of the strength")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    facts = machine()
    given.work.mkdir(parents=True, exist_ok=True)
    truth, about = truth_of(pool_of(given.work.resolve(), given.pool))
    print({name: tuple(round(part, 3) for part in each) for name, each in truth.items()}, about, flush=True)
    runs = []
    for seed in given.seeds:
        runs.append(run(given.work.resolve(), seed, truth[NUCLEI[0]][0], given))
        fixed = {"samples": given.samples, "height": given.height, "decay": given.decay}
        results = {"bias": {"kappa": KAPPA, "phi_0_deg": PHI_0_DEG}, "pool": about, "truth": truth, "runs": runs}
        write_report("held_out", facts, results | {"settings": fixed}, tables_of(truth, runs))


if __name__ == "__main__":
    main()
