"""What a run leaves for readers, made from its finished files."""

from pathlib import Path

from tpsctl.recipe.sample import SampleRecipe


def present(recipe: SampleRecipe, folder: Path) -> None:
    """Write the report of a finished run into its folder, if the recipe wants one."""
    if recipe.output.report:
        from tpsctl.workflows.report.run import write_report

        write_report(folder)
