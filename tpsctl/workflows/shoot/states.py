"""States A and B from the recipe, or neighborhoods of the two ends.

Without `validation.states`, a frame is in a state if the torsions that turn from one end to the other deviate from that
end by less than 30 degrees, root mean square, and by less than a third of what lies between the ends. Torsions that
turn by less than 30 degrees, and groups of three hydrogens, are left out. Where no torsion turns, the least RMSD is
used, up to a third of that between the ends. In a model potential it is a tenth of the distance between the ends.

A molecule must also be intact, whatever the conditions are.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import DataError, RecipeError
from tpsctl.molecule.contacts import find_contacts
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import Torsion, named_torsions, turning_angles
from tpsctl.molecule.z_matrix import wrapped
from tpsctl.recipe.states import (
    ConditionSection,
    ContactsConditionSection,
    DihedralConditionSection,
    DistanceConditionSection,
    PointConditionSection,
    RmsdConditionSection,
    StatesSection,
    TorsionsConditionSection,
)
from tpsctl.simulation.bias import atom_labels, find_dihedrals
from tpsctl.simulation.shooting.states import (
    Condition,
    ContactsFormed,
    DihedralRange,
    DistanceRange,
    Intact,
    PointWithin,
    RmsdBelow,
    TorsionsWithin,
    TwoStates,
)

TURNS_RAD = math.radians(30)
"""A torsion that differs by less than this between the ends does not count."""

RETURNS_RAD = math.radians(60)
"""A torsion that turns by this much along a path belongs to the collective variables of its ensemble."""

_WINDOW_DEG = 30.0
_FRACTION, _FRACTION_OF_POINT = 1 / 3, 1 / 10


class StateMaker:
    """Makes the conditions of both states.

    Args:
        topology: The molecule; None for a model potential.
        ends: Both ends (2, bead, dim), nm.
        key: Where the states stand in the recipe.
    """

    def __init__(
        self, topology: Topology | None, ends: Float[Tensor, "2 bead dim"], *, key: str = "validation.states"
    ) -> None:
        self.topology, self.ends, self._key = topology, ends, key
        self.turning = [] if topology is None else turning_torsions(topology, ends)

    def make(self, section: StatesSection | None) -> tuple[TwoStates, StatesSection]:
        """Both states, and the section that describes them.

        Raises:
            RecipeError: A condition does not fit the molecule, or the ends are not in their own states alone.
        """
        used = section or self._defaults()
        sides = [[self._condition(one, side, name) for one in conditions] for side, name, conditions in _sides(used)]
        self._require_sensible(sides)
        if self.topology is not None:
            sides = [
                [*conditions, Intact.like(self.topology, self.ends[side])] for side, conditions in enumerate(sides)
            ]
        return TwoStates(*sides), used

    def _defaults(self) -> StatesSection:
        if self.topology is None:
            distance = float((self.ends[1] - self.ends[0]).norm())
            both: ConditionSection = PointConditionSection(kind="point", within_nm=distance * _FRACTION_OF_POINT)
        elif self.turning:
            window = min(_WINDOW_DEG, math.degrees(self._turned()) * _FRACTION)
            both = TorsionsConditionSection(kind="torsions", within_deg=window)
        else:
            below = float(rmsd(self._heavy(0), self._heavy(1))) * _FRACTION
            both = RmsdConditionSection(kind="rmsd", below_nm=below)
        return StatesSection(A=(both,), B=(both,))

    def _condition(self, section: ConditionSection, side: int, name: str) -> Condition:
        where, end = f"{self._key}.{name}: {section.kind}", self.ends[side]
        if isinstance(section, PointConditionSection):
            return PointWithin(end, section.within_nm)
        if self.topology is None:
            raise RecipeError(f"{where}: a model potential has no such thing. Expected kind: point.")
        match section:
            case DihedralConditionSection():
                atoms = self._dihedral(where, section)
                return DihedralRange(atoms, math.radians(section.from_deg), math.radians(section.to_deg))
            case DistanceConditionSection():
                i, j = (self._atom(where, label) for label in section.atoms)
                return DistanceRange((i, j), section.from_nm, section.to_nm)
            case RmsdConditionSection():
                return RmsdBelow(end, self._beads(heavy=section.heavy_atoms), section.below_nm)
            case ContactsConditionSection():
                return self._contacts(where, section)
            case TorsionsConditionSection():
                if not self.turning:
                    raise RecipeError(f"{where}: no torsion turns by 30 degrees between the ends. Use kind: rmsd.")
                rows = torch.tensor([torsion.atoms for torsion in self.turning])
                return TorsionsWithin(rows, dihedral(end, rows), math.radians(section.within_deg))

    def _contacts(self, where: str, section: ContactsConditionSection) -> Condition:
        assert self.topology is not None
        native = self.ends["AB".index(section.native)]
        contacts = find_contacts(self.topology, native, cutoff_nm=section.cutoff_nm, separation=section.separation)
        if not contacts.pairs:
            raise RecipeError(
                f"{where}: no two beads of end {section.native} at least {section.separation} bonds apart are closer "
                f"than {section.cutoff_nm:g} nm. Give a larger cutoff_nm, or name the other end as native."
            )
        if section.from_q >= section.to_q:
            raise RecipeError(f"{where}: from_q is {section.from_q:g}, expected less than to_q ({section.to_q:g}).")
        return ContactsFormed(contacts, section.from_q, section.to_q)

    def _dihedral(self, where: str, section: DihedralConditionSection) -> tuple[int, int, int, int]:
        assert self.topology is not None
        named = {torsion.name: torsion.atoms for torsion in named_torsions(self.topology)}
        wanted = section.dihedral
        if isinstance(wanted, str) and wanted in named:
            return named[wanted]
        try:
            return find_dihedrals(self.topology, (wanted,))[0]
        except DataError as error:
            raise RecipeError(f"{where}: {error}") from None

    def _atom(self, where: str, label: str) -> int:
        assert self.topology is not None
        labels = atom_labels(self.topology)
        if label not in labels:
            raise RecipeError(f'{where}: no atom "{label}"; atoms are named like {next(iter(labels))}.')
        return labels[label]

    def _beads(self, *, heavy: bool) -> Tensor:
        assert self.topology is not None
        chosen = [i for i, atom in enumerate(self.topology.atoms) if not heavy or atom.element != "H"]
        return torch.tensor(chosen if len(chosen) > 2 else range(self.topology.n_atoms))

    def _heavy(self, side: int) -> Tensor:
        return self.ends[side][self._beads(heavy=True)]

    def _turned(self) -> float:
        atoms = torch.tensor([torsion.atoms for torsion in self.turning])
        return float(wrapped(dihedral(self.ends[1], atoms) - dihedral(self.ends[0], atoms)).square().mean().sqrt())

    def _require_sensible(self, sides: Sequence[Sequence[Condition]]) -> None:
        for side, name in enumerate("AB"):
            for end, letter in enumerate("AB"):
                inside = all(bool(condition.holds(self.ends[end : end + 1])) for condition in sides[side])
                if inside is not (side == end):
                    problem = "is in" if inside else "is not in"
                    raise RecipeError(
                        f"{self._key}.{name}: end {letter} of the path {problem} this state. Change its ranges, "
                        "so that each end is in its own state alone."
                    )


def turning_torsions(topology: Topology, ends: Float[Tensor, "2 bead 3"]) -> list[Torsion]:
    """The torsions that differ by at least `TURNS_RAD` between the ends, groups of three hydrogens left out."""
    torsions = [torsion for torsion in named_torsions(topology) if not torsion.rotor]
    if not torsions:
        return []
    angles = dihedral(ends, torch.tensor([torsion.atoms for torsion in torsions]))
    turned = wrapped(angles[1] - angles[0]).abs()
    return [torsion for torsion, by in zip(torsions, turned.tolist(), strict=True) if by >= TURNS_RAD]


def torsions_along(
    topology: Topology, path: Float[Tensor, "image bead 3"], turning: Sequence[Torsion]
) -> list[Torsion]:
    """Torsions that turn between the ends, and those that turn by `RETURNS_RAD` along the path and may turn back."""
    along = {course.name for course in turning_angles(topology, [path]) if course.turn_rad >= RETURNS_RAD}
    along |= {torsion.name for torsion in turning}
    return [torsion for torsion in named_torsions(topology) if torsion.name in along and not torsion.rotor]


def _sides(section: StatesSection) -> Iterator[tuple[int, str, Sequence[ConditionSection]]]:
    yield 0, "A", section.A
    yield 1, "B", section.B
