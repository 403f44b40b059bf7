"""The panel: lowest verified routes of small molecules, for several seeds, with what they cost.

    python -m benchmarks.panel MOLECULES [--only NAME,NAME] [--seeds 1,2,3,4] [--rounds N] [--out FILE.json]
    python -m benchmarks.panel --peptides SER,VAL,GLY-GLY [--seeds 1,2,3] [--rounds N] [--out FILE.json]

MOLECULES is the folder of the structures (ace_pro_nme_trans.pdb, butane.xml, ...). Every molecule runs with one set of
settings, the defaults. A finite-difference Hessian counts as 6N force evaluations. Seconds are those of this process
on one core, so that other work on the machine does not count (though it slows the caches). Peptides of `--peptides` are
made from their sequence alone (`capped_peptides.py`); for them the table shows how often seeds agree. `--rounds` ends
a search after so many rounds, for large molecules. Rows of FILE.json for other molecules or seeds are kept, and
FILE.md is written beside it.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.endpoints.match import match
from tpsctl.guess.untangle import untangled
from tpsctl.landscape.attempts import SearchedMolecule, run_block
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.search import begin, search
from tpsctl.landscape.search_state import SearchResult, SearchSettings
from tpsctl.landscape.surface import ForceFieldSurface
from tpsctl.molecule.curvature import Curvature
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source
from tpsctl.molecule.topology import Topology

AMBER14 = ("amber14-all.xml",)


@dataclass(frozen=True)
class Case:
    """A molecule of the panel.

    Attributes:
        start: Structure file of A, without ending; `~` stands for the repository's recipes.
        end: Structure file of B.
        force_field: XML files; a leading `@` means the folder of the molecules.
        expected: Highest saddle of the lowest route above A, kJ/mol; an upper bound where `at_most`.
        keep_labels: Whether relabeled structures are different states.
        at_most: Whether lower is fine.
    """

    start: str
    end: str
    force_field: tuple[str, ...]
    expected: float
    keep_labels: bool = False
    at_most: bool = False


CASES = {
    "alanine dipeptide": Case("~alanine_dipeptide/c7eq", "~alanine_dipeptide/c7ax", ("amber99sbildn.xml",), 36.37),
    "ACE-PRO-NME": Case("ace_pro_nme_trans", "ace_pro_nme_cis", AMBER14, 62.03),
    "ACE-ALA-ALA-NME": Case("ace_ala2_nme_c7eq", "ace_ala2_nme_c7ax", AMBER14, 26.01),
    "butane": Case("butane_anti", "butane_gauche", ("@butane.xml",), 13.75),
    "butane g+ g-": Case("butane_gauche", "butane_gauche_minus", ("@butane.xml",), 10.47),
    "cyclohexane": Case(
        "cyclohexane_chair", "cyclohexane_chair_flipped", ("@cyclohexane.xml",), 46.96, keep_labels=True
    ),
    "ACE-ALA5-NME": Case("ace_ala5_nme_helix", "ace_ala5_nme_extended", AMBER14, 67.3, at_most=True),
    "ACE-PRO-NME GBn2": Case("ace_pro_nme_trans", "ace_pro_nme_cis", (*AMBER14, "implicit/gbn2.xml"), float("nan")),
}


def molecule_of(
    topology: Topology, x: torch.Tensor, force_field: tuple[str, ...], *, keep_labels: bool = False
) -> SearchedMolecule:
    """All that the search needs, from a topology and a force field."""
    made = as_source(force_field).create(topology)
    guesses = TurningGuesses(topology, lambda path: untangled(path, topology))
    return SearchedMolecule(
        surface=ForceFieldSurface(
            ContextPool(made.system, threads=1).energies_and_forces,
            made.masses_amu,
            Curvature(made.system, threads=1).hessian,
        ),
        coordinates=BondedCoordinates(topology),
        equivalence=equivalence_of(topology, x, keep_labels=keep_labels),
        bonds=Bonds(topology),
        guess=guesses.of_style,
    )


def load_case(case: Case, folder: Path) -> tuple[Topology, torch.Tensor, tuple[str, ...]]:
    """Topology, both ends (2, atom, 3) with matching labels, and the force field's files."""
    recipes = Path(__file__).parents[1] / "recipes"

    def path(name: str) -> Path:
        return (recipes / name[1:] if name.startswith("~") else folder / name).with_suffix(".pdb")

    start, end = load_structure(path(case.start)), load_structure(path(case.end))
    order = range(len(end.x)) if case.keep_labels else match(start, end).order
    files = tuple(str(folder / name[1:]) if name.startswith("@") else name for name in case.force_field)
    return start.topology, torch.stack((start.x, end.x[list(order)])), files


def searched(
    molecule: SearchedMolecule, ends: torch.Tensor, seed: int, rounds: int | None = None
) -> tuple[SearchResult, list[float]]:
    """A search with default settings, and its seconds of processor time after every round; at most `rounds` rounds."""
    settings = SearchSettings() if rounds is None else SearchSettings(most_rounds=rounds)
    started, seconds = time.process_time(), []
    result = search(
        begin(molecule, ends),
        lambda blocks: [run_block(molecule, b) for b in blocks],
        seed,
        settings,
        lambda state: seconds.append(time.process_time() - started),
    )
    return result, seconds


def row_of(name: str, seed: int, result: SearchResult, seconds: list[float]) -> dict:
    """What the table says of one search; energies above A, kJ/mol."""
    network = result.network
    zero = network.minima[result.start].energy
    routes = [[round(network.saddles[k].energy - zero, 2) for k in route.saddles] for route in result.routes]
    first = next((k for k, r in enumerate(result.rounds) if r.top == result.rounds[-1].top), len(result.rounds) - 1)
    saddles = [network.saddles[k] for route in result.routes for k in route.saddles]
    return {
        "molecule": name,
        "seed": seed,
        "barrier": max(routes[0]) if routes else None,
        "routes": routes[:4],
        "tops": [max(route) for route in routes],
        "all_saddles": sorted({round(saddle.energy - zero, 2) for saddle in network.saddles})[:60],
        "largest_gradient": max((saddle.gradient_norm for saddle in saddles), default=None),
        "all_index_one": all(saddle.index == 1 for saddle in saddles),
        "complete": result.complete,
        "missing": round(result.missing, 3),
        "minima": len(network.minima),
        "saddles": len(network.saddles),
        "rounds": len(result.rounds),
        "found_in_round": first + 1,
        "evaluations": result.rounds[-1].evaluations,
        "evaluations_to_find": result.rounds[first].evaluations,
        "seconds": round(seconds[-1], 1),
        "seconds_to_find": round(seconds[first], 1),
    }


def run_panel(folder: Path, names: list[str], seeds: list[int], rounds: int | None = None) -> Iterator[dict]:
    """Rows of the molecules of the panel."""
    for name in names:
        case = CASES[name]
        for seed in seeds:
            topology, ends, files = load_case(case, folder)
            molecule = molecule_of(topology, ends[0], files, keep_labels=case.keep_labels)
            row = row_of(name, seed, *searched(molecule, ends, seed, rounds))
            found = row["barrier"]
            row["expected"] = case.expected
            row["right"] = found is not None and (
                found <= case.expected + 0.05 if case.at_most else abs(found - case.expected) <= 0.05
            )
            yield row


def run_peptides(sequences: list[str], seeds: list[int], rounds: int | None = None) -> Iterator[dict]:
    """Rows of peptides made from their sequence."""
    from benchmarks.capped_peptides import build

    for sequence in sequences:
        topology, ends = build(sequence.split("-"), AMBER14)
        for seed in seeds:
            molecule = molecule_of(topology, ends[0], AMBER14)
            yield row_of(f"ACE-{sequence}-NME", seed, *searched(molecule, ends, seed, rounds))


def write(rows: list[dict], out: Path) -> None:
    """Add rows to the file, in place of older ones of the same molecule and seed, and write the table."""
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    new = {(row["molecule"], row["seed"]) for row in rows}
    kept = [row for row in kept if (row["molecule"], row["seed"]) not in new] + rows
    names = [*CASES, *sorted({row["molecule"] for row in kept} - set(CASES))]
    kept.sort(key=lambda row: (names.index(row["molecule"]), row["seed"]))
    out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table(kept), encoding="utf-8")


def table(rows: list[dict]) -> str:
    """The rows as a table in markdown."""
    lines = [
        "| molecule | seed | barrier, kJ/mol | expected | route, kJ/mol | second route | further tops | CPU s | "
        "forces | forces until found | minima | saddles | missing | complete |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bound = "" if "expected" not in row or math.isnan(row["expected"]) else f"{row['expected']:.2f}"
        routes = [", ".join(f"{saddle:.2f}" for saddle in route) for route in (*row["routes"], [], [])[:2]]
        further = ", ".join(f"{top:.2f}" for top in row["tops"][2:])
        lines.append(
            f"| {row['molecule']} | {row['seed']} | {row['barrier']} | {bound} | {routes[0]} | {routes[1]} | "
            f"{further} | {row['seconds']} | {row['evaluations']} | {row['evaluations_to_find']} | {row['minima']} | "
            f"{row['saddles']} | {row['missing']} | {'yes' if row['complete'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def print_row(row: dict) -> None:
    expected = "" if "expected" not in row else f" (expected {row['expected']}: {'yes' if row['right'] else 'NO'})"
    print(
        f"{row['molecule']:20s} seed {row['seed']}: {row['barrier']} kJ/mol{expected}, {row['seconds']} s, "
        f"{row['evaluations']} forces, found after {row['evaluations_to_find']}; {row['minima']} minima, "
        f"{row['saddles']} saddles, missing {row['missing']}, {'complete' if row['complete'] else 'budget spent'}; "
        f"routes {row['routes'][:2]}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", default="1,2,3,4")
    parser.add_argument("--peptides", default="")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.peptides:
        rows = run_peptides(options.peptides.split(","), seeds, options.rounds)
    elif options.folder is None:
        sys.exit("benchmarks.panel: got neither a folder of molecules nor --peptides. Name one.")
    else:
        names = [name for name in CASES if not options.only or name in options.only.split(",")]
        rows = run_panel(options.folder, names, seeds, options.rounds)
    for row in rows:
        print_row(row)
        if options.out:
            write([row], options.out)


if __name__ == "__main__":
    main()
