"""The routes on learned landscapes beside those of the force field that the priors were trained on.

    python -m benchmarks.learned_panel [RUNS] [--only ala2,pro,butane]

RUNS is the folder into which the recipes of recipes/panel wrote (default: runs/panel): NAME.safetensors, and the run
directory NAME. `make reproduce-panel` does all of it from nothing. For every molecule the table has

    verdict          the prior's own verdict, with the diffusion times that it is fit for
    expected error   the error of barriers that the verdict expects, kJ/mol: the largest between two regions of the data
    route            the saddles of the best route on the learned landscape, kJ/mol above A
    barrier          the highest of them
    force field      the saddle of the force field that the top of this route leads to, kJ/mol above A
    lowest           the lowest barrier of the force field, from its own search (`benchmarks.panel`)
    same mechanism   whether the top of the learned route leads to that very saddle
    worst            the largest difference over all valid routes between the barrier on the learned landscape and the
                     saddle of the force field that its top leads to, kJ/mol
    lost             number of valid routes whose top leads to no saddle of the force field
    invalid          number of routes that the geometry gate refuses, which count nowhere else
"""

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from benchmarks.panel import CASES
from benchmarks.report import ROOT, Table, machine, write_report
from tpsctl.workflows.checkpoints import read_model

MOLECULES = {"butane": "butane", "pro": "ACE-PRO-NME", "ala2": "ACE-ALA-ALA-NME"}
"""Names of the recipes and of the cases in `benchmarks.panel`."""

SAME_KJ_PER_MOL = 0.05
"""Two saddles of a force field within this difference are the same one."""


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a table of a run directory."""
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def compared(name: str, runs: Path) -> dict[str, Any]:
    """The best learned route of a molecule beside the force field, energies in kJ/mol above A."""
    run = runs / name
    routes, paths, saddles = (rows_of(run / f"{table}.csv") for table in ("routes", "paths", "saddles"))
    above = {row["saddle"]: float(row["energy_above_start_kj_per_mol"]) for row in saddles}
    valid = [row["valid"] == "valid" for row in routes]
    routes, paths = ([row for row, is_valid in zip(rows, valid, strict=True) if is_valid] for rows in (routes, paths))
    learned = [float(row["barrier_forward_kj_per_mol"]) for row in routes]
    exact = [float(row["saddle_energy_above_start_force_field_kj_per_mol"] or "nan") for row in paths]
    differences = [abs(a - b) for a, b in zip(learned, exact, strict=True)]
    expected = CASES[MOLECULES[name]].expected
    verdict = read_model(runs / f"{name}.safetensors").description.facts.get("verdict", {"words": "none"})
    return {
        "molecule": MOLECULES[name],
        "verdict": verdict["words"].split(". ")[0],
        "expected_error": verdict.get("regions", {}).get("largest_error_kj_per_mol"),
        "route": [round(above[number], 2) for number in routes[0]["saddles"].split()],
        "barrier": learned[0],
        "force_field": exact[0],
        "lowest": expected,
        "same_mechanism": abs(exact[0] - expected) <= SAME_KJ_PER_MOL,
        "routes": list(zip(learned, exact, strict=True)),
        "worst": max((each for each in differences if not math.isnan(each)), default=math.nan),
        "lost": sum(map(math.isnan, differences)),
        "invalid": valid.count(False),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=ROOT / "runs" / "panel")
    parser.add_argument("--only", default=",".join(MOLECULES))
    options = parser.parse_args()
    facts = machine()
    results = [compared(name, options.runs) for name in options.only.split(",")]
    head = (
        "molecule",
        "verdict",
        "expected error",
        "route",
        "barrier",
        "force field",
        "lowest",
        "same mechanism",
        "routes",
        "worst",
        "lost",
        "invalid",
    )
    rows = [
        (
            row["molecule"],
            row["verdict"],
            row["expected_error"],
            ", ".join(f"{energy:.2f}" for energy in row["route"]),
            f"{row['barrier']:.2f}",
            f"{row['force_field']:.2f}",
            row["lowest"],
            "yes" if row["same_mechanism"] else "no",
            len(row["routes"]),
            f"{row['worst']:.2f}",
            row["lost"],
            row["invalid"],
        )
        for row in results
    ]
    write_report("learned_panel", facts, {"molecules": results}, [Table("Learned landscapes, kJ/mol", head, rows)])


if __name__ == "__main__":
    main()
