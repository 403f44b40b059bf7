"""The tables of the verdict that a model card holds: rows for `tpsctl.cli` to print."""

from dataclasses import dataclass, replace
from statistics import median, stdev
from typing import Any

_BY_WIDTH = {
    "noise (nm)": "width_nm",
    "time": "diffusion_time",
    "R^2 forces": "torque_r2",
    "slope": "slope",
    "torque slope": "torque_slope",
    "strain": "strain",
    "FP residual": "fokker_planck_residual",
    "R^2 posterior": "posterior_r2",
    "effective frames": "posterior_effective_frames",
}
_MEANING = (
    "slopes are 1, and strain and residual 0, for a perfect model; the posterior is a reference only where many frames "
    "are effective"
)


_OF_BARRIERS = "barriers between two regions are wrong by as much as the errors of their energies differ"


@dataclass(frozen=True)
class TrainingTable:
    """What a training has led to.

    Attributes:
        title: Heading.
        columns: Names of the columns.
        rows: One list of cells per row.
        notes: Sentences below the table.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def verdict_tables(verdict: Any) -> list[TrainingTable]:
    """The tables of the verdict in a card; none without a verdict.

    For a prior these are the measures by noise width and those of the samples, for a field its arrivals at snapshots.

    A card of unknown origin may hold anything; what is no number is shown as "-".
    """
    if not isinstance(verdict, dict):
        return []
    if "arrivals" in verdict:
        return [_of_arrivals(verdict)]
    rows = [row for row in _list(verdict.get("by_width")) if isinstance(row, dict)]
    cells = [[*(_measure(row, key) for key in _BY_WIDTH.values()), _faults(row)] for row in rows]
    widths = TrainingTable(
        "fitness for paths by noise width, on held-out frames", [*_BY_WIDTH, "faults"], cells, [_MEANING]
    )
    samples = _of_samples(_dict(verdict.get("samples")), str(verdict.get("words", "-")))
    return [widths, *_of_regions(_dict(verdict.get("regions"))), samples]


def tables_in_card(card: dict[str, Any]) -> list[TrainingTable]:
    """The tables of the verdict in a card, or of the verdict on each of its molecules; none without a verdict."""
    molecules = [entry for entry in _list(card.get("molecules")) if isinstance(entry, dict)]
    if not molecules:
        return verdict_tables(card.get("verdict"))
    return [
        replace(table, title=f"{entry.get('name', '-')}: {table.title}")
        for entry in molecules
        for table in verdict_tables(entry.get("verdict"))
    ]


def _of_samples(samples: dict[str, Any], words: str) -> TrainingTable:
    by_sort, floor, worst = (_dict(samples.get(key)) for key in ("divergence", "floor", "worst"))
    rows = [[sort, _number(by_sort[sort]), _number(floor.get(sort)), _worst(worst.get(sort))] for sort in by_sort]
    right = [value for value in _dict(samples.get("handedness")).values() if isinstance(value, int | float)]
    notes = [f"handedness of the data in {100 * min(right):.0f} % of samples or more, at each center"] if right else []
    against = f"{_number(samples.get('count'))} samples against data, noise of {_number(samples.get('width_nm'))} nm"
    columns = ["JS divergence (nats)", "samples", "two halves of the data", "largest"]
    return TrainingTable(against, columns, rows, [*notes, f"verdict: {words}"])


def _of_regions(regions: dict[str, Any]) -> list[TrainingTable]:
    """How well energies of held-out frames agree from region to region; no table where there are no energies."""
    means = [value for value in _list(regions.get("residual_kj_per_mol")) if isinstance(value, int | float)]
    errors = [value for value in _list(regions.get("error_kj_per_mol")) if isinstance(value, int | float)]
    if len(means) < 2 or not errors:
        return []
    count = len(_list(regions.get("centers_deg")))
    title = (
        f"energies against the force field in {count} regions of the data (radius {_number(regions.get('radius_deg'))} "
    )
    title += f"degrees in {', '.join(map(str, _list(regions.get('torsions'))))})"
    columns = ["regions with energies", "spread of their errors (kJ/mol)", "largest difference", "statistical error"]
    cells = [str(len(means)), *map(_number, (stdev(means), regions.get("largest_error_kj_per_mol"), median(errors)))]
    return [TrainingTable(title, columns, [cells], [_OF_BARRIERS])]


def _of_arrivals(verdict: dict[str, Any]) -> TrainingTable:
    """How far carried frames are from each later snapshot."""
    found = [row for row in _list(verdict["arrivals"]) if isinstance(row, dict)]
    columns = {
        "snapshot (ps)": "time_ps",
        "frames": "frames",
        "carried frames (nm)": "distance_nm",
        "two halves of it": "floor_nm",
        "without moving": "unmoved_nm",
    }
    if any(row.get("effective_size") is not None for row in found):  # frames have weights
        columns |= {"effective size": "effective_size", "mass": "mass"}
    rows = [[_number(row.get(key)) for key in columns.values()] for row in found]
    title = "energy distance of carried frames from each snapshot, held-out frames"
    return TrainingTable(title, list(columns), rows, [f"verdict: {verdict.get('words', '-')}"])


def _measure(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if isinstance(value, dict):
        return f"{_number(value.get('value'))} +- {_number(value.get('error'))}"
    return _number(value)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def _faults(row: dict[str, Any]) -> str:
    return str(len(_list(row.get("faults")))) if _list(row.get("faults")) else "none"


def _worst(value: Any) -> str:
    return f"{value[0]} {_number(value[1])}" if isinstance(value, list | tuple) and len(value) == 2 else "-"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
