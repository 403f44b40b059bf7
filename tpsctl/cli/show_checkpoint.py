"""Prints the findings of `tpsctl inspect` as a table."""

from typing import Any

from tpsctl.console import print_table
from tpsctl.workflows.train.verdict_tables import verdict_tables


def show(report: dict[str, Any]) -> None:
    """Print the facts and the self-test, or the dangerous names of a file that was not opened."""
    if not report["safe"]:
        names = [[name] for name in report["dangerous_names"]]
        print_table(f"{report['file']}: REFUSED, nothing was run", ["name the file asks for"], names)
        return
    left_out = {"file", "safe", "dangerous_names", "self_test", "sound", "provenance", "card", "notes"}
    left_out |= {"fit_for_paths", "verdict"}
    rows = [[name, _flat(value)] for name, value in report.items() if name not in left_out]
    rows += [
        [test["check"], f"{test['value']:.3g} ({test['expected']}) {'ok' if test['passed'] else 'FAILED'}"]
        for test in report["self_test"]
    ]
    verdict = "sound" if report["sound"] else "NOT SOUND: a self-test failed; untrained, or a wrong unit of length"
    notes = [*report.get("notes", []), f"self-test: {verdict}", f"verdict: {report['verdict']}"]
    print_table(report["file"], ["what", "found"], rows, notes=notes)
    stored = report.get("card", {}).get("verdict")
    for table in () if stored is None else verdict_tables(stored):
        print_table(table.title, table.columns, table.rows, notes=table.notes)


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {_flat(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)
