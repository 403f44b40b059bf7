"""The section `validation`: how finished paths are judged."""

from tpsctl.recipe.section import Section, key


class EnergySection(Section):
    """OpenMM energies of every image."""

    force_field: tuple[str, ...] = key("OpenMM force-field XML files, e.g. amber14-all.xml.", min_length=1)
    minimize: bool = key("Also after a short restrained minimization, with its displacement.", default=True)


class ValidationSection(Section):
    """How finished paths are judged. The geometry gate always runs for molecules."""

    energy: EnergySection | None = key("Energies with a force field; left out: none.", default=None)
