"""The report of a training, in a folder beside the checkpoint: a log as CSV, and figures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tpsctl.files import write_text
from tpsctl.output.figures import learning_curve, sample_distributions
from tpsctl.output.figures.distributions import DistributionPanel
from tpsctl.training.loop import Loop
from tpsctl.training.quality.distributions import divergences, internal_coordinates
from tpsctl.workflows.train.task import Compared

_ROWS = 200
"""Largest number of rows of the log."""

_PANELS = 4
"""Panels per sort of coordinate: those whose samples are farthest from the data."""

_UNITS = {"bonds": "nm", "angles": "rad", "torsions": "rad", "pair distances": "nm"}


def report_folder(checkpoint: Path) -> Path:
    """The folder for the report of a training, beside its checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}_report")


def write_report(folder: Path, name: str, loop: Loop[Any], compared: Mapping[str, Compared]) -> None:
    """Write log.csv, the learning curve and, for a model with samples, their distributions; earlier ones are replaced.

    Args:
        folder: Where to write; it is made if it is not there.
        name: Name of the model, for titles.
        loop: The finished run.
        compared: Samples and data by the name of the molecule, or "" if there is only one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(log_rows(loop))
    cells = [
        [str(step), f"{rate:.6g}", f"{loss:.8g}", "" if other is None else f"{other:.8g}"]
        for step, rate, loss, other in rows
    ]
    lines = ["step,learning_rate,loss,held_out_loss", *(",".join(row) for row in cells)]
    write_text(folder / "log.csv", "\n".join(lines) + "\n")
    curve = [(step, loss) for step, _, loss, _ in rows]
    learning_curve(folder / "learning_curve", curve, loop.held_out_losses, title=name)
    for molecule, found in compared.items():
        noise = f"noise of {found.width_nm:.2g} nm in both" if found.width_nm else "no noise"
        both = f"{name}, {molecule}" if molecule else name
        title = f"{both}: the coordinates whose samples differ most from data ({noise})"
        file = f"sample_distributions_{molecule}" if molecule else "sample_distributions"
        sample_distributions(folder / file, list(_panels(found)), title=title)


def log_rows(loop: Loop[Any]) -> Iterator[tuple[int, float, float, float | None]]:
    """Step, learning rate, mean loss since the row before, and the held-out loss where it was taken, for every row."""
    held_out, before = dict(loop.held_out_losses), 0
    every = max(1, -(-len(loop.losses) // _ROWS))
    for step in sorted({*range(every, len(loop.losses) + 1, every), *held_out, len(loop.losses)} - {0}):
        recent = loop.losses[before:step]
        yield step, loop.settings.learning_rate(step - 1), sum(recent) / len(recent), held_out.get(step)
        before = step


def _panels(compared: Compared) -> Iterator[DistributionPanel]:
    samples, data = (internal_coordinates(compared.topology, x) for x in (compared.samples, compared.data))
    by_sort = divergences(samples, data)
    for sort, values in by_sort.items():
        names = sorted(values, key=lambda name: -values[name])[:_PANELS]
        for one, other in zip(samples[sort], data[sort], strict=True):
            if one.name in names:
                yield DistributionPanel(one.name, _UNITS[sort], one.values, other.values)
