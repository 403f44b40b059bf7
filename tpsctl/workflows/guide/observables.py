"""Observables of a recipe, made for a molecule, with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass

from tpsctl.endpoints.load import load_structures
from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.molecule.atom_labels import find_atoms, find_dihedral
from tpsctl.molecule.contacts import find_contacts
from tpsctl.molecule.observables.base import Observable, PointCoordinate
from tpsctl.molecule.observables.experimental import (
    COUPLINGS,
    Karplus,
    NoeDistance,
    ScalarCoupling,
    TransferEfficiency,
)
from tpsctl.molecule.observables.geometric import (
    BondAngle,
    ContactFraction,
    DihedralAngle,
    DihedralCosine,
    Distance,
    RadiusOfGyration,
)
from tpsctl.molecule.observables.plugin import make_plugin_observable
from tpsctl.recipe import observables as sections
from tpsctl.workflows.guide.tools import GuideTools, in_order_of_prior


@dataclass(frozen=True)
class Measured:
    """An observable with what an experiment found.

    Attributes:
        observable: The observable.
        target: What was found, as it is reported; None if nothing was.
        error: Its error; None if unknown.
        held_out: Whether the target is left out of the fit.
    """

    observable: Observable
    target: float | None
    error: float | None
    held_out: bool


def make_measured(tools: GuideTools, given: Sequence[sections.AnyObservableSection], key: str) -> list[Measured]:
    """The observables of a recipe, each with another name.

    Raises:
        RecipeError: An atom, dihedral or coordinate is not there, or two observables have the same name.
    """
    found = []
    for k, section in enumerate(given):
        observable = make_observable(tools, section, f"{key}.{k}")
        target, error = _target(section)
        found.append(Measured(observable, target, error, section.held_out))
    names = [each.observable.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f'{key}: {names.count(name)} observables are called "{name}". '
                "Give each another name, or another label if it is a plug-in."
            )
    return found


def make_observable(tools: GuideTools, section: sections.AnyObservableSection, key: str) -> Observable:
    """One observable of a recipe; `key` is where it stands.

    Raises:
        RecipeError: An atom, dihedral or coordinate is not there.
    """
    is_point = isinstance(section, sections.CoordinateObservableSection)
    if is_point == tools.is_molecule and not isinstance(section, sections.PluginObservableSection):
        what, other = ("a molecule", "a point") if tools.is_molecule else ("a point", "a molecule")
        raise RecipeError(f"{key}: the prior is of {what}, and this observable is one of {other}.")
    try:
        return _observable(tools, section, key)
    except RecipeError:
        raise
    except TpsctlError as error:
        raise RecipeError(str(error)) from None


def _observable(tools: GuideTools, section: sections.AnyObservableSection, key: str) -> Observable:
    topology, name = tools.topology, section.name
    match section:
        case sections.CoordinateObservableSection():
            if section.dimension >= tools.prior.n_dims:
                raise RecipeError(f"{key}.dimension: got {section.dimension}, the prior has {tools.prior.n_dims}.")
            return PointCoordinate(name or "xyz"[section.dimension], section.dimension)
        case sections.DistanceObservableSection():
            return Distance(name or _named("d", section.atoms), find_atoms(topology, section.atoms, where=key))
        case sections.AngleObservableSection():
            return BondAngle(name or _named("angle", section.atoms), find_atoms(topology, section.atoms, where=key))
        case sections.DihedralObservableSection():
            atoms = find_dihedral(topology, section.dihedral, where=key)
            return DihedralAngle(name or _dihedral_name(section.dihedral), atoms)
        case sections.CosineObservableSection():
            atoms = find_dihedral(topology, section.dihedral, where=key)
            phase = f" {section.phase_deg:+g}" if section.phase_deg else ""
            text = f"cos({_dihedral_name(section.dihedral)}{phase})"
            return DihedralCosine(name or text, atoms, section.phase_deg)
        case sections.GyrationObservableSection():
            return RadiusOfGyration(name or "radius of gyration", topology.masses_amu)
        case sections.ContactsObservableSection():
            return _contacts(tools, section, key)
        case sections.CouplingObservableSection():
            atoms, curve = find_dihedral(topology, section.dihedral, where=key), COUPLINGS[section.nuclei]
            if section.curve is not None:
                given = section.curve
                curve = Karplus(given.a_hz, given.b_hz, given.c_hz, given.phase_deg)
            return ScalarCoupling(name or f"3J({section.nuclei}) {_dihedral_name(section.dihedral)}", atoms, curve)
        case sections.NoeObservableSection():
            pairs = [find_atoms(topology, pair, where=key) for pair in section.pairs]
            return NoeDistance(name or _named("NOE", section.pairs[0]), [(i, j) for i, j in pairs])
        case sections.FretObservableSection():
            atoms_ = find_atoms(topology, section.atoms, where=key)
            return TransferEfficiency(name or _named("FRET", section.atoms), atoms_, section.foerster_nm)
        case sections.PluginObservableSection():
            label, molecule = section.label or section.name, topology if tools.is_molecule else None
            options = dict(section.options)
            return make_plugin_observable(section.name, options, molecule, label=label, unit=section.unit, key=key)
    raise AssertionError(section)


def _target(section: sections.AnyObservableSection) -> tuple[float | None, float | None]:
    """Target and error, as they are reported."""
    match section:
        case (
            sections.CoordinateObservableSection()
            | sections.DistanceObservableSection()
            | sections.GyrationObservableSection()
            | sections.NoeObservableSection()
        ):
            return section.target_nm, section.error_nm
        case sections.AngleObservableSection() | sections.DihedralObservableSection():
            return section.target_deg, section.error_deg
        case sections.CouplingObservableSection():
            return section.target_hz, section.error_hz
        case (
            sections.CosineObservableSection()
            | sections.ContactsObservableSection()
            | sections.FretObservableSection()
            | sections.PluginObservableSection()
        ):
            return section.target, section.error
    raise AssertionError(section)


def _contacts(tools: GuideTools, section: sections.ContactsObservableSection, key: str) -> Observable:
    native = load_structures(section.native, select=section.select)[:1]
    x = in_order_of_prior(tools, native, f"{key}.native")[0]
    found = find_contacts(tools.topology, x, cutoff_nm=section.cutoff_nm, separation=section.separation)
    if not found.pairs:
        raise RecipeError(f"{key}: there is no contact within {section.cutoff_nm:g} nm. Raise cutoff_nm.")
    return ContactFraction(section.name or "native contacts Q", found)


def _named(what: str, atoms: Sequence[str]) -> str:
    return f"{what} {' '.join(atoms)}"


def _dihedral_name(given: str | Sequence[str]) -> str:
    return given if isinstance(given, str) else "-".join(given)
