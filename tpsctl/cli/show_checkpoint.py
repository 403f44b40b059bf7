"""Prints the findings of `tpsctl inspect` as a table."""

from typing import Any

from tpsctl.console import print_table
from tpsctl.workflows.train.verdict_tables import tables_in_card


def show(report: dict[str, Any]) -> None:
    """Print the facts and the self-test, or the dangerous names of a file that was not opened."""
    if not report["safe"]:
        names = [[name] for name in report["dangerous_names"]]
        print_table(f"{report['file']}: REFUSED, nothing was run", ["name the file asks for"], names)
        return
    left_out = {"file", "safe", "dangerous_names", "self_test", "sound", "provenance", "card", "notes", "log_density"}
    left_out |= {"fit_for_paths", "verdict"}
    rows = [[name, _flat(value)] for name, value in report.items() if name not in left_out]
    rows += [
        [test["check"], f"{test['value']:.3g} ({test['expected']}) {'ok' if test['passed'] else 'FAILED'}"]
        for test in report["self_test"]
    ]
    verdict = "sound" if report["sound"] else "NOT SOUND: a self-test failed; untrained, or a wrong unit of length"
    notes = [*report.get("notes", []), f"self-test: {verdict}", f"verdict: {report['verdict']}"]
    print_table(report["file"], ["what", "found"], rows, notes=notes)
    for table in tables_in_card(report.get("card", {})):
        print_table(table.title, table.columns, table.rows, notes=table.notes)
    if "log_density" in report:
        _show_log_density(report["log_density"])


def _show_log_density(found: dict[str, Any]) -> None:
    """Print one row per structure; the sentences say what the two numbers are."""
    rows = [
        [
            row["structure"],
            f"{row['normalized_nats']:.2f}",
            "none" if row["relative_nats"] is None else f"{row['relative_nats']:.2f}",
            f"{row['prior_mismatch_nats']:.2g}",
        ]
        for row in found["structures"]
    ]
    title = f"log-density at diffusion time {found['diffusion_time']:g}, noise of {found['noise_width_nm']:.3g} nm"
    notes = [
        f"normalized: from the probability-flow ODE, a density in nm^-{found['coordinates']} that integrates to one",
        "relative: the model's own energy, exact up to a constant at this time; only differences have a meaning",
        "prior mismatch: its mean over samples of the model bounds the mean error of the normalized value",
    ]
    print_table(title, ["structure", "normalized, nats", "relative, nats", "prior mismatch, nats"], rows, notes=notes)


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {_flat(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)
