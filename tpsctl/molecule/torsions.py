"""Names for the torsions of a molecule, and the angles that change most along paths.

Peptide torsions have their usual names with the residue (phi, psi, omega, chi1 ...). Every other torsion about a bond
that can turn is named by its four atoms. Rings take part with their puckering angles (`tpsctl.molecule.rings`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.rings import Pucker, Ring, puckering, rings
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.z_matrix import wrapped

SIDE_CHAIN = "GDEZH"
"""Second letters of the names of side-chain atoms, from CB outwards."""

MOST_ANGLES = 8
"""Most angles that a figure shows."""

LEAST_TURN_RAD = 0.35
"""Angles that change by less than this (20 degrees) along all paths are left out."""


@dataclass(frozen=True)
class Torsion:
    """A torsion with its name.

    Attributes:
        name: E.g. "phi ALA2", "chi1 VAL2", or "C1-C2-C3-C4" for a torsion without a usual name.
        atoms: Numbers of its four atoms.
        rotor: Whether a group of three hydrogens is all that turns (methyl, ammonium).
    """

    name: str
    atoms: tuple[int, int, int, int]
    rotor: bool = False


@dataclass(frozen=True)
class AngleCourse:
    """One angle along one or several paths.

    Attributes:
        name: Name of the torsion, or of the ring with "phase" or "theta" and the range of its amplitude.
        values: The angle at the images of every path, rad; NaN where a phase is undefined.
        turn_rad: Range of the angle, followed continuously along a path, of the path where it is largest.
        rotor: Whether a group of three hydrogens is all that turns.
    """

    name: str
    values: tuple[Float[Tensor, " _"], ...]
    turn_rad: float
    rotor: bool = False


def named_torsions(topology: Topology) -> tuple[Torsion, ...]:
    """One torsion for every bond that can turn, and all backbone torsions, in the order of their bonds in the file."""
    found: dict[tuple[int, int], Torsion] = {}
    usual = [Torsion(name, atoms) for name, atoms in topology.backbone_dihedrals]
    for torsion in (*usual, *_side_chain_torsions(topology), *_other_torsions(topology)):
        _, j, k, _ = torsion.atoms
        found.setdefault((min(j, k), max(j, k)), torsion)
    torsions = [found[bond] for bond in sorted(found)]
    count = Counter(torsion.name for torsion in torsions)
    return tuple(t if count[t.name] == 1 else _with_chain(topology, t) for t in torsions)


def turning_angles(
    topology: Topology, paths: Sequence[Float[Tensor, "_ atom 3"]], *, most: int = MOST_ANGLES
) -> list[AngleCourse]:
    """The torsions and ring puckers that change most along the paths, at most `most`, in the order of the molecule.

    An angle counts by its largest range along one path, followed over the edge at 180 degrees, and is left out below
    `LEAST_TURN_RAD`. Groups of three hydrogens are shown only if nothing else turns; and if nothing turns at all, the
    one angle that changes most is shown.

    Args:
        topology: Atoms and bonds.
        paths: Images of one or several paths, nm, whose neighbors along a path are less than half a turn apart.
        most: Most angles to return.
    """
    courses = list(_courses(topology, paths))
    ranked = sorted(range(len(courses)), key=lambda k: (-courses[k].turn_rad, k))
    turning = [k for k in ranked if courses[k].turn_rad >= LEAST_TURN_RAD]
    chosen = [k for k in turning if not courses[k].rotor] or turning or ranked[:1]
    return [courses[k] for k in sorted(chosen[:most])]


def end_atom(topology: Topology, center: int, *, without: int) -> int:
    """The neighbor of `center` at the end of its dihedral: the first heavy atom if there is one."""
    around = [i for i in topology.neighbors[center] if i != without]
    return min(around, key=lambda i: (topology.atoms[i].element == "H", i))


def _courses(topology: Topology, paths: Sequence[Tensor]) -> Iterator[AngleCourse]:
    """All torsions, then all rings."""
    torsions = named_torsions(topology)
    if torsions:
        quadruples = torch.tensor([torsion.atoms for torsion in torsions])
        values = [dihedral(path, quadruples) for path in paths]
        for k, torsion in enumerate(torsions):
            yield _course(torsion.name, [value[:, k] for value in values], rotor=torsion.rotor)
    for ring in rings(topology):
        yield from _pucker_courses(ring, [puckering(path, ring) for path in paths])


def _pucker_courses(ring: Ring, puckers: Sequence[Pucker]) -> Iterator[AngleCourse]:
    amplitude = torch.cat([pucker.amplitude_nm for pucker in puckers])
    low, high = float(amplitude.min()), float(amplitude.max())
    shown = f"Q {low:.3f} to {high:.3f} nm"
    thetas = [pucker.theta for pucker in puckers if pucker.theta is not None]
    if thetas:
        yield _course(f"{ring.name} theta, {shown}", thetas)
    for m in range(puckers[0].phases.shape[1]):
        name = "phase" if puckers[0].phases.shape[1] == 1 else f"phase {m + 2}"
        yield _course(
            f"{ring.name} {name}" if thetas else f"{ring.name} {name}, {shown}", [p.phases[:, m] for p in puckers]
        )


def _course(name: str, values: Sequence[Float[Tensor, " _"]], *, rotor: bool = False) -> AngleCourse:
    return AngleCourse(name, tuple(values), max((_range(value) for value in values), default=0.0), rotor)


def _range(angle: Float[Tensor, " image"]) -> float:
    """Difference of the largest and the smallest value of an angle that is followed continuously, rad."""
    angle = angle[~angle.isnan()]
    if len(angle) < 2:
        return 0.0
    followed = torch.cat((angle[:1] * 0, wrapped(angle.diff()).cumsum(0)))
    return float(followed.max() - followed.min())


def _side_chain_torsions(topology: Topology) -> Iterator[Torsion]:
    """chi1, chi2 ... of amino acids, up to the first bond in a ring; the outermost atom of each is a heavy one."""
    rotatable = set(topology.rotatable_bonds)
    for ca, atom in enumerate(topology.atoms):
        around = {topology.atoms[i].name: i for i in topology.neighbors[ca]}
        if atom.name != "CA" or not {"N", "C", "CB"} <= set(around):
            continue
        chain = [around["N"], ca, around["CB"]]
        for number, letter in enumerate(SIDE_CHAIN, start=1):
            bond = (min(chain[-2:]), max(chain[-2:]))
            further = [i for i in topology.neighbors[chain[-1]] if _is_side_chain(topology, i, letter)]
            if bond not in rotatable or not further:
                break
            chain.append(min(further, key=lambda i: (topology.atoms[i].name[2:], i)))
            yield Torsion(f"chi{number} {topology.atoms[ca].residue}", (chain[-4], chain[-3], chain[-2], chain[-1]))


def _is_side_chain(topology: Topology, index: int, letter: str) -> bool:
    atom = topology.atoms[index]
    return atom.element != "H" and atom.name[1:2] == letter


def _other_torsions(topology: Topology) -> Iterator[Torsion]:
    """For every bond that can turn the torsion between its heaviest neighbors, named by its atoms."""
    several = len({atom.residue for atom in topology.atoms}) > 1
    for j, k in topology.rotatable_bonds:
        i, m = end_atom(topology, j, without=k), end_atom(topology, k, without=j)
        name = "-".join(topology.atoms[atom].name for atom in (i, j, k, m))
        rotor = 3 in (lone_hydrogens(topology, j, without=k), lone_hydrogens(topology, k, without=j))
        yield Torsion(f"{name} {topology.atoms[j].residue}" if several else name, (i, j, k, m), rotor)


def lone_hydrogens(topology: Topology, center: int, *, without: int) -> int:
    """Number of hydrogens on `center` if it carries nothing else beside `without`, as in methyl groups; else 0."""
    around = [topology.atoms[i].element for i in topology.neighbors[center] if i != without]
    return len(around) if all(element == "H" for element in around) else 0


def _with_chain(topology: Topology, torsion: Torsion) -> Torsion:
    """The torsion with its chain in its name, or else with the number of an atom."""
    chain = topology.atoms[torsion.atoms[1]].chain_id.strip()
    place = f"chain {chain}" if chain else f"atom {torsion.atoms[1] + 1}"
    return replace(torsion, name=f"{torsion.name} ({place})")
