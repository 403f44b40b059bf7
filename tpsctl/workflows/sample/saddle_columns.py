"""The columns of paths.csv about the bound of the action and about the tops of paths."""

from collections.abc import Callable, Sequence

import torch

from tpsctl.output.tables import Column
from tpsctl.validation.saddle import MODES
from tpsctl.validation.tops import NextSaddle, PathTops, Peak
from tpsctl.workflows.sample.judge import PathVerdicts


def verdict_columns(verdict: PathVerdicts) -> dict[str, Column]:
    """The bound of the action, and for every landscape the verdict on the top with its numbers, as far as there are."""
    columns: dict[str, Column] = {} if verdict.bound is None else {"action_bound": verdict.bound.bound}
    for name, tops in verdict.tops.items():
        columns |= {f"{key}_{name}{unit}": column for (key, unit), column in _of_landscape(tops).items()}
    return columns


def _of_landscape(tops: Sequence[PathTops]) -> dict[tuple[str, str], Column]:
    """Columns by the beginning of their name and their unit."""
    peaks = [top.peaks[0] if top.peaks else None for top in tops]
    saddles = [top.saddle for top in tops]

    def at_top(value: Callable[[Peak], float | None]) -> torch.Tensor:
        return _numbers([None if peak is None else value(peak) for peak in peaks])

    def at_saddle(value: Callable[[NextSaddle], float]) -> torch.Tensor:
        return _numbers([None if saddle is None else value(saddle) for saddle in saddles])

    columns: dict[tuple[str, str], Column] = {
        ("top", ""): [top.words for top in tops],
        ("top_index", ""): at_top(lambda peak: peak.index),
        ("top_gradient", "_kj_per_mol_per_nm"): at_top(lambda peak: peak.gradient_kj_per_mol_per_nm),
        ("top_distance", "_nm"): at_top(lambda peak: peak.distance_nm),
        ("stationary_energy_above_start", "_kj_per_mol"): at_top(lambda peak: peak.stationary_energy_kj_per_mol),
        ("stationary_gradient", "_kj_per_mol_per_nm"): at_top(lambda peak: peak.stationary_gradient_kj_per_mol_per_nm),
    }
    for mode in range(MODES):
        lowest = [None if peak is None else (*peak.wavenumbers_per_cm, *[None] * MODES)[mode] for peak in peaks]
        columns[f"wavenumber_{mode + 1}", "_per_cm"] = _numbers(lowest)
    return columns | {
        ("saddle_energy_above_start", "_kj_per_mol"): at_saddle(lambda saddle: saddle.energy_kj_per_mol),
        ("saddle_gradient", "_kj_per_mol_per_nm"): at_saddle(lambda saddle: saddle.gradient_kj_per_mol_per_nm),
        ("saddle_joins", ""): ["" if saddle is None else " ".join(saddle.joins) for saddle in saddles],
        ("peaks_that_are_no_saddle", ""): [str(sum(not peak.is_saddle for peak in top.peaks)) for top in tops],
    }


def _numbers(values: Sequence[float | None]) -> torch.Tensor:
    return torch.tensor([float("nan") if value is None else float(value) for value in values], dtype=torch.float64)
