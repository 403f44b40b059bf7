"""Folding paths of Trp-cage beside the transition paths of the simulation that its prior was trained on:

    python -m benchmarks.trp_cage DATASET.npz [--checkpoint PRIOR.safetensors --diffusion-time T] [--paths 32]

DATASET.npz is what `tpsctl simulate recipes/trp_cage/simulate.yaml` makes. All paths run from unfolded frames, another
one each, to the native structure; they have the ends, images and horizon of recipes/trp_cage_classical.yaml.

    MD               random ones of the simulation's own transition paths between Q = 0.25 and 0.8, those of unfolding
                     reversed in time: 100, whose energies set the limit, then as many as in the other rows
    straight line    linear interpolation, no Onsager-Machlup action
    line, ...        the action minimized from there, after broken bonds and clashes were mended, with
        exact forces     the forces of the model itself
        flat             bonds, angles and excluded volume, but no native torsions and contacts: what an optimizer
                         finds that knows no folding
        learned          a trained prior, with --checkpoint
    latent, ...      with --checkpoint: the latent guess without the action and with it
    ratchet, ...     ratcheted dynamics with exact forces or with the learned score, without the action and with it;
                     with --more also in the score of further priors, such as those of other training seeds

What is compared: the contact formation profile (mean formation of each native contact in three bins of Q) with that of
all MD paths, beside the same difference of random sets of as many MD paths; the order of helix and tail; bonds; the
highest energy of a path, raw and after a minimization with weak restraints that takes out thermal strain; the highest
free energy along Q. Figures that do not tell paths apart (nearest neighbors in the transition state, likelihood in a
Markov model) are left out: straight lines do best there.

The result goes to benchmarks/results/ as JSON and as a table.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.console import make_progress
from tpsctl.guess.base import straight_line
from tpsctl.molecule.contacts import NativeContacts
from tpsctl.progress import Progress
from tpsctl.recipe.force_field import StructureBasedSection
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.validation.energy import EnergyModel, Restraint
from tpsctl.validation.ensemble.free_energy import FreeEnergy, free_energy
from tpsctl.validation.ensemble.profiles import (
    PathContacts,
    compare,
    contact_profile,
    forms_first,
    lead,
    sampling_error,
)
from tpsctl.validation.ensemble.transitions import find_transitions
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.optimization import optimize
from tpsctl.workflows.sample.tools import Tools

RECIPE = ROOT / "recipes" / "trp_cage_classical.yaml"
IMAGES = 64
LOW, HIGH = 0.25, 0.8
EDGES = (0.25, 0.25 + 0.55 / 3, 0.25 + 1.1 / 3, 0.8)
HELIX_RESIDUES, TAIL_FROM, CORE_TO = 10, 18, 7
"""The helix is residues 1 to 10; the tail that packs on its residues 1 to 7 begins at residue 18."""
FLAT = ("torsion_kj_per_mol", "threefold_torsion_kj_per_mol", "contact_kj_per_mol", "cooperative_kj_per_mol")
"""What is zero in the flat prior."""
QUENCH = Restraint(strength_kj_per_mol_nm2=1000.0, tolerance_kj_per_mol_nm=1.0, max_steps=200)
"""A tenth of the spring constant of bonds: bonds and close contacts relax, and a chain keeps its fold."""
MD_ENERGY_PATHS, DRAWS = 100, 200


@dataclass(frozen=True)
class Row:
    """What came of one way to make paths; lists have one entry per path.

    Attributes:
        name: The way.
        paths: Number of paths.
        profile_difference: Mean absolute difference of the contact profile from that of all MD paths.
        profile_correlation: Correlation of the two profiles.
        bins: Bins of Q in which the paths have images.
        helix_lead: Mean formation of helix contacts minus that of tail contacts at equal Q.
        helix_first: Fraction of paths whose helix is half formed for good before the tail.
        bond_rms_nm: Root-mean-square deviation of bonds from their rest length, nm.
        bond_worst_nm: Largest deviation, nm.
        highest_raw: Highest energy of each path, kJ/mol.
        highest_quenched: Highest energy after the restrained minimization of each path, kJ/mol.
        highest_free_energy: Highest free energy at the Q of an image of each path, kJ/mol.
        seconds: Wall time of the optimization, s.
        converged: Paths whose optimization converged; None where there was none.
    """

    name: str
    paths: int
    profile_difference: float
    profile_correlation: float
    bins: int
    helix_lead: float
    helix_first: float
    bond_rms_nm: float
    bond_worst_nm: float
    highest_raw: list[float]
    highest_quenched: list[float]
    highest_free_energy: list[float]
    seconds: float
    converged: int | None


class Judge:
    """The simulation with its transition paths, and the force field, by which paths are judged.

    Args:
        dataset: The simulation.
        energies: The force field.
        bond_length_nm: Rest length of its bonds, nm.
    """

    def __init__(self, dataset: Dataset, energies: EnergyModel, bond_length_nm: float) -> None:
        stored = dataset.settings["native_contacts"]
        self.contacts = NativeContacts(tuple((i, j) for i, j in stored["pairs"]), tuple(stored["distances_nm"]))
        self.energies = energies
        x = dataset.positions.double()
        q = self.contacts.fraction(x)
        self.transitions = find_transitions(q, dataset.trajectories, low=LOW, high=HIGH)
        interval_ps = float(dataset.times_ps[1] - dataset.times_ps[0])
        self.mean_ps = sum(t.last - t.first for t in self.transitions) / len(self.transitions) * interval_ps
        self.md = [x[transition.frames()] for transition in self.transitions]
        self.md_contacts = [self.seen(path) for path in self.md]
        self.profile = contact_profile(self.md_contacts, EDGES)
        self.folded_fraction = float((q > 0.5).double().mean())
        self.free_energy: FreeEnergy = free_energy(q, bins=22, temperature_k=dataset.temperature_k)
        pairs = self.contacts.pairs
        self.helix = torch.tensor([j < HELIX_RESIDUES for _, j in pairs])
        self.tail = torch.tensor([i < CORE_TO and j >= TAIL_FROM - 1 for i, j in pairs])
        self._rest_nm, self.bonds = bond_length_nm, torch.tensor(dataset.topology.bonds).T

    def seen(self, path: Tensor) -> PathContacts:
        """A path as its contacts see it."""
        formed = self.contacts.formed(path)
        return PathContacts(formed, formed.mean(1))

    def row(self, name: str, paths: Sequence[Tensor], *, seconds: float = 0.0, converged: int | None = None) -> Row:
        """Judge paths (frame, bead, 3), nm."""
        seen = [self.seen(path) for path in paths]
        profile = contact_profile(seen, EDGES)
        difference = compare(profile, self.profile)
        frames, sizes = torch.cat(list(paths)), [len(path) for path in paths]
        away = (frames[:, self.bonds[0]] - frames[:, self.bonds[1]]).norm(dim=-1) - self._rest_nm
        raw, quenched = self.energies.energies(frames), self.energies.minimize(frames, QUENCH).energy
        along = self.free_energy.at(torch.cat([path.q for path in seen]))
        return Row(
            name=name,
            paths=len(paths),
            profile_difference=difference.mean,
            profile_correlation=difference.correlation,
            bins=difference.bins,
            helix_lead=lead(profile, self.helix, self.tail),
            helix_first=sum(forms_first(path, self.helix, self.tail) for path in seen) / len(seen),
            bond_rms_nm=float(away.square().mean().sqrt()),
            bond_worst_nm=float(away.abs().max()),
            highest_raw=[float(part.max()) for part in raw.split(sizes)],
            highest_quenched=[float(part.max()) for part in quenched.split(sizes)],
            highest_free_energy=[float(part.max()) for part in along.split(sizes)],
            seconds=seconds,
            converged=converged,
        )


def made(changes: Sequence[str], paths: int) -> Tools:
    """The recipe with some changes and so many paths, each from another unfolded frame."""
    frames = ",".join(map(str, range(paths)))
    recipe = load_recipe(RECIPE, SampleRecipe, [f"path.paths={paths}", f"endpoints.start.frames=[{frames}]", *changes])
    return Tools(recipe, torch.device("cpu"), torch.get_num_threads())


def optimized(changes: Sequence[str], paths: int, progress: Progress) -> tuple[Tensor, Tensor, int, float]:
    """Guesses and optimized paths of the recipe with some changes; how many converged, and the wall time, s."""
    tools = made(changes, paths)
    guesses, _ = draw_guesses(tools, range(paths), progress)
    started = time.perf_counter()
    found, outcomes = optimize(tools, guesses, progress)
    converged = sum(status == "converged" for status in outcomes[-1].status)
    return guesses, found, converged, time.perf_counter() - started


def rows_of(judge: Judge, arguments: argparse.Namespace, progress: Progress) -> list[Row]:
    """The rows of the table, MD first."""
    count, steps = arguments.paths, f"optimize={{method: {arguments.method}, max_steps: {arguments.max_steps}}}"
    generator = torch.Generator().manual_seed(arguments.seed)
    order = torch.randperm(len(judge.md), generator=generator).tolist()
    many, some = order[:MD_ENERGY_PATHS], order[MD_ENERGY_PATHS : MD_ENERGY_PATHS + count]
    rows = [judge.row("MD", [judge.md[k] for k in which]) for which in (many, some)]
    tools = made([], count)
    rows.append(judge.row("straight line", [straight_line(tools.system.ends_of(k), IMAGES) for k in range(count)]))
    _, found, converged, seconds = optimized([steps], count, progress)
    rows.append(judge.row("line, exact forces", list(found), seconds=seconds, converged=converged))
    ratchet = ["path.guess={kind: ratchet}", f"path.batch_paths={count}"]
    guesses, found, converged, seconds = optimized([steps, *ratchet], count, progress)
    rows.append(judge.row("ratchet, exact forces, no OM", list(guesses)))
    rows.append(judge.row("ratchet, exact forces", list(found), seconds=seconds, converged=converged))
    flat = [f"prior.force_field.{name}=0" for name in FLAT]
    _, found, converged, seconds = optimized([steps, *flat], count, progress)
    rows.append(judge.row("line, flat", list(found), seconds=seconds, converged=converged))
    if arguments.checkpoint is not None:
        learned = [steps, f"prior={{kind: checkpoint, checkpoint: {arguments.checkpoint}}}"]
        learned.append(f"prior.diffusion_time={arguments.diffusion_time}")
        _, found, converged, seconds = optimized(learned, count, progress)
        rows.append(judge.row("line, learned", list(found), seconds=seconds, converged=converged))
        guesses, found, converged, seconds = optimized([*learned, *ratchet], count, progress)
        rows.append(judge.row("ratchet, learned, no OM", list(guesses)))
        rows.append(judge.row("ratchet, learned", list(found), seconds=seconds, converged=converged))
        learned.append(f"path.guess={{kind: latent, level: {arguments.level}}}")
        guesses, found, converged, seconds = optimized(learned, count, progress)
        rows.append(judge.row("latent, no OM", list(guesses)))
        rows.append(judge.row("latent, learned", list(found), seconds=seconds, converged=converged))
    for checkpoint in arguments.more:
        learned = [steps, *ratchet, f"prior={{kind: checkpoint, checkpoint: {checkpoint}}}"]
        learned.append(f"prior.diffusion_time={arguments.diffusion_time}")
        _, found, converged, seconds = optimized(learned, count, progress)
        rows.append(judge.row(f"ratchet, {checkpoint.stem}", list(found), seconds=seconds, converged=converged))
    return rows


def quantile(values: Sequence[float], level: float) -> float:
    """A quantile of some numbers."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(level))


def table_of(rows: Sequence[Row], error: float) -> Table:
    """The rows for a person; energies are medians over paths."""
    limit = {kind: quantile(getattr(rows[0], kind), 0.9) for kind in ("highest_raw", "highest_quenched")}
    head = (
        "paths", "number", "converged", "profile difference", "in MD sampling errors", "correlation", "bins",
        "helix lead over tail", "helix first", "bonds rms, nm", "worst, nm", "highest U raw, kJ/mol", "quenched",
        "quenched below MD's 90 %", "highest F(Q), kJ/mol", "s",
    )  # fmt: skip
    lines = [
        (
            row.name,
            row.paths,
            "–" if row.converged is None else row.converged,
            row.profile_difference,
            row.profile_difference / error,
            row.profile_correlation,
            row.bins,
            row.helix_lead,
            row.helix_first,
            row.bond_rms_nm,
            row.bond_worst_nm,
            quantile(row.highest_raw, 0.5),
            quantile(row.highest_quenched, 0.5),
            f"{sum(value <= limit['highest_quenched'] for value in row.highest_quenched)} of {row.paths}",
            quantile(row.highest_free_energy, 0.5),
            row.seconds,
        )
        for row in rows
    ]
    return Table("Folding paths of Trp-cage", head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the simulation")
    parser.add_argument("--checkpoint", type=Path, help="a trained prior, for the learned rows")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="further priors, for a row of ratchet each")
    parser.add_argument("--diffusion-time", default="auto", help="its diffusion time")
    parser.add_argument("--level", type=float, default=0.25, help="noise level of latent guesses")
    parser.add_argument("--paths", type=int, default=32, help="paths of each kind, up to 32")
    parser.add_argument("--method", default="lbfgs", help="minimizer: lbfgs, or levenberg_marquardt")
    parser.add_argument("--max-steps", type=int, default=120, help="most steps of the minimizer")
    parser.add_argument("--name", default="trp_cage", help="file name of the results, without suffix")
    parser.add_argument("--seed", type=int, default=2026, help="of the random sets of MD paths")
    arguments = parser.parse_args()
    progress, facts = make_progress(), machine()
    recipe = load_recipe(RECIPE, SampleRecipe)
    tools = Tools(recipe, torch.device("cpu"), torch.get_num_threads())
    field = recipe.validation.energy.force_field if recipe.validation.energy else None
    assert tools.energy_model is not None, f"{RECIPE} names a force field"
    assert isinstance(field, StructureBasedSection), f"{RECIPE} names a structure-based model"
    judge = Judge(Dataset.load(arguments.dataset), tools.energy_model, field.bond_length_nm)
    generator = torch.Generator().manual_seed(arguments.seed)
    errors = sampling_error(judge.md_contacts, EDGES, count=arguments.paths, draws=DRAWS, generator=generator)
    differences, correlations = [d.mean for d in errors], [d.correlation for d in errors]
    rows = rows_of(judge, arguments, progress)
    results: dict[str, Any] = {
        "transitions": len(judge.md),
        "mean_transition_path_ps": judge.mean_ps,
        "folded_fraction": judge.folded_fraction,
        "barrier_kj_per_mol": judge.free_energy.barrier(LOW, HIGH),
        "sampling_error": {"mean": sum(differences) / DRAWS, "percentile_95": quantile(differences, 0.95)},
        "rows": [asdict(row) for row in rows],
    }
    simulation = Table(
        f"The simulation, and what {arguments.paths} random paths of it differ from the others",
        (
            "transitions",
            "mean length, ps",
            "folded",
            "barrier on Q, kJ/mol",
            "profile difference",
            "95 %",
            "correlation",
        ),
        [
            (
                len(judge.md),
                judge.mean_ps,
                judge.folded_fraction,
                results["barrier_kj_per_mol"],
                results["sampling_error"]["mean"],
                results["sampling_error"]["percentile_95"],
                sum(correlations) / DRAWS,
            )
        ],
    )
    about = (
        facts
        | {"threads": torch.get_num_threads()}
        | {name: getattr(arguments, name) for name in ("paths", "method", "max_steps", "level", "seed")}
    )
    write_report(arguments.name, about, results, [simulation, table_of(rows, results["sampling_error"]["mean"])])


if __name__ == "__main__":
    main()
