"""The section `validation`: how finished paths are judged."""

from typing import Literal

from tpsctl.recipe.force_field import FORCE_FIELD, PLATFORM, ForceFieldSection
from tpsctl.recipe.section import Section, key
from tpsctl.recipe.states import StatesSection


class EnergySection(Section):
    """OpenMM energies of every image."""

    force_field: ForceFieldSection = key(FORCE_FIELD)
    minimize: bool = key(
        "Compute energies also after a short restrained minimization, with its displacement.", default=True
    )
    platform: str = key(PLATFORM, default="auto")


class ValidationSection(Section):
    """How finished paths are judged. The geometry gate always runs for molecules."""

    energy: EnergySection | None = key("Energies with a force field; without this key, none.", default=None)
    saddle: Literal["auto"] | bool = key(
        "Judge whether the highest image of each path is a saddle of the prior's own energy, if it has one, and of the "
        "force field. auto: for molecules of up to 40 atoms.",
        default="auto",
    )
    committor: bool = key(
        "After the paths are judged, shoot from images near the top of the best one, as `tpsctl shoot` does without "
        "options.",
        default=False,
    )
    states: StatesSection | None = key(
        "States A and B for shots; without this key, neighborhoods of the two ends.", default=None
    )
