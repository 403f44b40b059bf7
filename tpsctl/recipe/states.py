"""The section `validation.states`: when a trajectory has arrived in A or in B."""

from typing import Annotated, Literal

from pydantic import Field

from tpsctl.recipe.section import Section, key

_ATOM = 'an atom is named like "ALA2:N", or "A:ALA2:N" with its chain'


class DihedralConditionSection(Section):
    """A range of one dihedral."""

    kind: Literal["dihedral"] = key("A dihedral.")
    dihedral: str | tuple[str, str, str, str] = key(
        f'Its name, such as "phi ALA2" or "chi1 VAL3", or its four atoms; {_ATOM}.'
    )
    from_deg: float = key("Begin of the range.", "deg", ge=-360, le=360)
    to_deg: float = key(
        "End of the range, which is counted upwards and may cross 180 degrees: 150 to -150 are 60 degrees.",
        "deg",
        ge=-360,
        le=360,
    )


class DistanceConditionSection(Section):
    """A range of the distance of two atoms or beads."""

    kind: Literal["distance"] = key("A distance.")
    atoms: tuple[str, str] = key(f"The two atoms; {_ATOM}.")
    from_nm: float = key("Shortest distance.", "nm", default=0.0, ge=0)
    to_nm: float = key("Longest distance.", "nm", gt=0)


class RmsdConditionSection(Section):
    """Nearness to this end by the least RMSD after superposition."""

    kind: Literal["rmsd"] = key("RMSD from this end of the path.")
    below_nm: float = key("Largest RMSD.", "nm", gt=0)
    heavy_atoms: bool = key("Leave hydrogens out.", default=True)


class ContactsConditionSection(Section):
    """A range of the fraction of native contacts Q, with one end as the native structure. For proteins that fold."""

    kind: Literal["contacts"] = key("The fraction of native contacts, with smooth contacts (Best, Hummer, Eaton 2013).")
    native: Literal["A", "B"] = key("The end that is the native structure.", default="B")
    from_q: float = key("Least fraction.", "1", default=0.0, ge=0, le=1)
    to_q: float = key("Largest fraction; up to about 1, but not exactly.", "1", default=1.0, ge=0, le=1)
    cutoff_nm: float = key("Beads closer than this in the native structure are in contact.", "nm", default=0.8, gt=0)
    separation: int = key("Least number of bonds between two beads in contact.", "1", default=4, ge=1)


class TorsionsConditionSection(Section):
    """Nearness to this end by the torsions that differ between the two ends."""

    kind: Literal["torsions"] = key("Root-mean-square deviation of the turning torsions from this end of the path.")
    within_deg: float = key("Largest deviation.", "deg", gt=0, le=180)


class PointConditionSection(Section):
    """Nearness to this end in a model potential."""

    kind: Literal["point"] = key("Distance from this end of the path, without superposition.")
    within_nm: float = key("Largest distance.", "nm", gt=0)


ConditionSection = Annotated[
    DihedralConditionSection
    | DistanceConditionSection
    | RmsdConditionSection
    | ContactsConditionSection
    | TorsionsConditionSection
    | PointConditionSection,
    Field(discriminator="kind"),
]


class StatesSection(Section):
    """The states that shots must reach. A frame is in a state if it meets all of its conditions."""

    A: tuple[ConditionSection, ...] = key("Conditions of the state at the start.", min_length=1)
    B: tuple[ConditionSection, ...] = key("Conditions of the state at the end.", min_length=1)
