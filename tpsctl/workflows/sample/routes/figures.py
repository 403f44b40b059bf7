"""The figures of a search for routes."""

from pathlib import Path

from tpsctl.workflows.sample.routes.found import FoundRoutes
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.sample.verdict_files import draw_verdict


def draw_routes(folder: Path, tools: Tools, found: FoundRoutes) -> None:
    """Draw energies along the paths, and Ramachandran plots where there are phi and psi."""
    assert found.verdict is not None
    draw_verdict(folder, found.verdict, title=tools.recipe.name)
