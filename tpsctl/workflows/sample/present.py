"""What a run leaves for readers, made from its finished files."""

from pathlib import Path

from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.stored_run import StoredRun


def present(recipe: SampleRecipe, folder: Path) -> None:
    """Draw the figures of a finished run and write its report into its folder, as far as the recipe wants them."""
    run = StoredRun.read(folder)
    if recipe.output.figures and run.entries:
        from tpsctl.workflows.plot import FOLDER, draw_figures

        draw_figures(run, folder / FOLDER)
    if recipe.output.report:
        from tpsctl.workflows.report.run import write_report

        write_report(run)
