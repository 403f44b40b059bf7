"""Prints the findings of `tpsctl check` as a table."""

from tpsctl.console import print_table
from tpsctl.workflows.sample.check import Report


def show(report: Report) -> None:
    """Print every finding, and whether the recipe is ready to run."""
    rows = [[finding.what, finding.verdict, finding.text] for finding in report.findings]
    failures = sum(finding.verdict == "FAIL" for finding in report.findings)
    verdict = f"{failures} of {len(rows)} checks failed" if failures else "ready to run"
    print_table(report.recipe, ["what", "verdict", "found"], rows, notes=[f"{verdict} ({report.seconds:.1f} s)"])
