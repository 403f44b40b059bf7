"""Observables in a recipe: what they are of, and the average that an experiment found.

Atoms are named as in "ALA2:N", or "A:ALA2:N" with the chain; dihedrals by name ("phi ALA2") or by four atoms.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tpsctl.recipe.section import Section, key

Label = Annotated[str, Field(min_length=1)]
Dihedral = str | tuple[Label, Label, Label, Label]
_DIHEDRAL = 'The dihedral: its name, such as "phi ALA2", or four atoms, such as "ALA2:N".'
_TARGET = "Average that the guided ensemble shall have."
_ERROR = "Error of the target, by which the result is judged."


class AnyObservableSection(Section):
    """What all observables share."""

    name: str | None = key("Name in tables and figures; default: made of what it is.", default=None, min_length=1)
    held_out: bool = key("Leave the target out of the fit, and only compare the result with it.", default=False)


class CoordinateObservableSection(AnyObservableSection):
    """A coordinate of a point of a model potential."""

    kind: Literal["coordinate"] = key("A coordinate.")
    dimension: int = key("Which coordinate, from 0.", "1", ge=0, le=2)
    target_nm: float | None = key(_TARGET, "nm", default=None)
    error_nm: float | None = key(_ERROR, "nm", default=None, gt=0)


class DistanceObservableSection(AnyObservableSection):
    """The distance of two atoms."""

    kind: Literal["distance"] = key("A distance.")
    atoms: tuple[Label, Label] = key("The two atoms.")
    target_nm: float | None = key(_TARGET, "nm", default=None, gt=0)
    error_nm: float | None = key(_ERROR, "nm", default=None, gt=0)


class AngleObservableSection(AnyObservableSection):
    """The angle at the second of three atoms."""

    kind: Literal["angle"] = key("An angle.")
    atoms: tuple[Label, Label, Label] = key("The three atoms.")
    target_deg: float | None = key(_TARGET, "degrees", default=None, gt=0, lt=180)
    error_deg: float | None = key(_ERROR, "degrees", default=None, gt=0)


class DihedralObservableSection(AnyObservableSection):
    """A dihedral angle from -180 to 180 degrees, whose average has a meaning only away from 180."""

    kind: Literal["dihedral"] = key("A dihedral angle.")
    dihedral: Dihedral = key(_DIHEDRAL)
    target_deg: float | None = key(_TARGET, "degrees", default=None, ge=-180, le=180)
    error_deg: float | None = key(_ERROR, "degrees", default=None, gt=0)


class CosineObservableSection(AnyObservableSection):
    """The cosine of a dihedral angle plus a phase; a phase of -90 degrees gives the sine."""

    kind: Literal["cosine"] = key("The cosine of a dihedral.")
    dihedral: Dihedral = key(_DIHEDRAL)
    phase_deg: float = key("Added to the dihedral.", "degrees", default=0.0)
    target: float | None = key(_TARGET, "1", default=None, ge=-1, le=1)
    error: float | None = key(_ERROR, "1", default=None, gt=0)


class GyrationObservableSection(AnyObservableSection):
    """The radius of gyration of all beads, weighted by mass."""

    kind: Literal["radius_of_gyration"] = key("The radius of gyration.")
    target_nm: float | None = key(_TARGET, "nm", default=None, gt=0)
    error_nm: float | None = key(_ERROR, "nm", default=None, gt=0)


class ContactsObservableSection(AnyObservableSection):
    """The fraction of native contacts Q, with the smooth contacts of Best, Hummer and Eaton (2013)."""

    kind: Literal["contacts"] = key("The fraction of native contacts.")
    native: Path = key("Native structure with the beads of the prior: PDB, mmCIF or GRO.")
    select: str = key('Its beads, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)
    cutoff_nm: float = key("Beads closer than this in the native structure are in contact.", "nm", default=0.8, gt=0)
    separation: int = key("Least number of bonds between two beads in contact.", "1", default=4, ge=1)
    target: float | None = key(_TARGET, "1", default=None, ge=0, le=1)
    error: float | None = key(_ERROR, "1", default=None, gt=0)


class CurveSection(Section):
    """A Karplus curve A cos^2(phi + phase) + B cos(phi + phase) + C."""

    a_hz: float = key("A.", "Hz")
    b_hz: float = key("B.", "Hz")
    c_hz: float = key("C.", "Hz")
    phase_deg: float = key("Phase.", "degrees")


class CouplingObservableSection(AnyObservableSection):
    """A three-bond scalar coupling about a backbone phi; coefficients of Voegeli et al. (2007) unless given."""

    kind: Literal["coupling"] = key("A scalar coupling 3J.")
    dihedral: Dihedral = key(_DIHEDRAL)
    nuclei: Literal["HN-HA", "HN-C", "HN-CB"] = key("The two nuclei, which decide the Karplus curve.", default="HN-HA")
    curve: CurveSection | None = key("Another Karplus curve.", default=None)
    target_hz: float | None = key(_TARGET, "Hz", default=None)
    error_hz: float | None = key(_ERROR, "Hz", default=None, gt=0)


class NoeObservableSection(AnyObservableSection):
    """A distance of a nuclear Overhauser effect, averaged as r^-6 over pairs of nuclei and the ensemble."""

    kind: Literal["noe"] = key("An NOE distance.")
    pairs: tuple[tuple[Label, Label], ...] = key("Pairs of nuclei that are not told apart.", min_length=1)
    target_nm: float | None = key(_TARGET, "nm", default=None, gt=0)
    error_nm: float | None = key(_ERROR, "nm", default=None, gt=0)


class FretObservableSection(AnyObservableSection):
    """The efficiency of energy transfer between dyes at two atoms, 1 / (1 + (r / R0)^6)."""

    kind: Literal["fret"] = key("An efficiency of energy transfer (FRET).")
    atoms: tuple[Label, Label] = key("The two atoms.")
    foerster_nm: float = key("The Foerster radius R0.", "nm", gt=0)
    target: float | None = key(_TARGET, "1", default=None, ge=0, le=1)
    error: float | None = key(_ERROR, "1", default=None, gt=0)


class PluginObservableSection(AnyObservableSection):
    """An observable that another installed package provides (entry-point group tpsctl.observables)."""

    kind: Literal["plugin"] = key("A plug-in.")
    name: str = key("Name of the observable, as its package gives it.", min_length=1)
    label: str | None = key("Name in tables and figures; default: that of the plug-in.", default=None, min_length=1)
    unit: str = key("Unit of the observable, for tables and figures; none for a pure number.", default="")
    options: dict[str, Any] = key("Its own settings, as its package describes them.", default={})
    target: float | None = key(_TARGET, "of the observable", default=None)
    error: float | None = key(_ERROR, "of the observable", default=None, gt=0)


ObservableSection = Annotated[
    CoordinateObservableSection
    | DistanceObservableSection
    | AngleObservableSection
    | DihedralObservableSection
    | CosineObservableSection
    | GyrationObservableSection
    | ContactsObservableSection
    | CouplingObservableSection
    | NoeObservableSection
    | FretObservableSection
    | PluginObservableSection,
    Field(discriminator="kind"),
]


def has_target(section: AnyObservableSection) -> bool:
    """Whether an observable has a target, in whatever unit."""
    return any(name.startswith("target") and value is not None for name, value in section)
