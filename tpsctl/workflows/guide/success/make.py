"""The criterion of success that a recipe names."""

from torch import Tensor

from tpsctl.recipe.guide_success import CommittorSuccessSection, RangesSuccessSection, SuccessSection
from tpsctl.workflows.guide.success.base import Success
from tpsctl.workflows.guide.success.neighbors import neighbors_success
from tpsctl.workflows.guide.success.ranges import RangesSuccess
from tpsctl.workflows.guide.tools import GuideTools


def make_success(tools: GuideTools, section: SuccessSection, guides: Tensor) -> Success:
    """The criterion; guides are (guide, bead, dim), nm.

    Raises:
        RecipeError: What it needs is not there, or does not fit the prior.
    """
    if isinstance(section, RangesSuccessSection):
        return RangesSuccess(tools, section)
    if isinstance(section, CommittorSuccessSection):
        from tpsctl.workflows.guide.success.committor import committor_success

        return committor_success(tools, section, guides)
    return neighbors_success(tools, section)
