"""OpenMM Systems from a `Topology` and force-field files: vacuum or implicit solvent, all atoms free.

No cutoff, no constraints: the potential energy is a smooth function of all coordinates, equal for
everybody who names the same XML files (amber99sbildn.xml; amber14-all.xml + implicit/gbn2.xml; ...).
A residue that no template fits is reported with its name, what it lacks and what to do about it.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.topology import Atom, Topology


def openmm_topology(topology: Topology) -> Any:
    """The same molecule as an `openmm.app.Topology`: atoms in order, names, ids and bonds kept."""
    from openmm import app

    made = app.Topology()
    chain: Any = None
    previous: Atom | None = None
    atoms = []
    for residue in residues(topology):
        first = topology.atoms[residue[0]]
        if previous is None or first.chain_id != previous.chain_id:
            chain = made.addChain(first.chain_id)
        home = made.addResidue(first.residue_name, chain, str(first.residue_id))
        atoms += [made.addAtom(topology.atoms[i].name, _element(topology.atoms[i]), home) for i in residue]
        previous = first
    for i, j in topology.bonds:
        made.addBond(atoms[i], atoms[j])
    return made


def residues(topology: Topology) -> Iterator[list[int]]:
    """Atom indices of each residue: neighbors in the file with one chain, name and number, no atom name twice."""
    here: list[int] = []
    for i, atom in enumerate(topology.atoms):
        if here and not _same_residue(atom, [topology.atoms[j] for j in here]):
            yield here
            here = []
        here.append(i)
    if here:
        yield here


def create_system(topology: Topology, force_field: Sequence[str | Path]) -> Any:
    """`openmm.System` of the molecule, without cutoff and constraints.

    Args:
        topology: All atoms of the molecule, hydrogens included.
        force_field: XML files, by path or by the name under which OpenMM ships them.

    Raises:
        ValidationError: A file is not found, a bead is no atom, or a residue fits no template.
    """
    from openmm import app

    _require_atoms(topology)
    field = _load(force_field)
    molecule = openmm_topology(topology)
    unmatched = field.getUnmatchedResidues(molecule)
    if unmatched:
        raise ValidationError(_template_message(field, unmatched, force_field))
    try:
        return field.createSystem(molecule, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False)
    except ValueError as error:
        raise ValidationError(
            f"force field {_names(force_field)}: {error} Name a complete set of XML files "
            "(an implicit solvent needs the protein force field it was made for)."
        ) from error


def _load(force_field: Sequence[str | Path]) -> Any:
    from openmm import app

    if not force_field:
        raise ValidationError('force_field: got no file, expected at least one, e.g. ["amber99sbildn.xml"].')
    try:
        return app.ForceField(*(str(name) for name in force_field))
    except ValueError as error:
        missing = [str(name) for name in force_field if str(name) in str(error)]
        hint = difflib.get_close_matches(missing[0], _shipped(), n=1, cutoff=0.5) if missing else []
        suggestion = f' Did you mean "{hint[0]}"?' if hint else ""
        raise ValidationError(
            f"force field {_names(force_field)}: {error}.{suggestion} "
            "Give the path of a file, or the name of one that OpenMM ships."
        ) from error


def _shipped() -> list[str]:
    from openmm import app

    folder = Path(app.__file__).parent / "data"
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.xml")]


def _require_atoms(topology: Topology) -> None:
    beads = [atom.label for atom in topology.atoms if not atom.element]
    if beads:
        raise ValidationError(
            f"{len(beads)} of {topology.n_atoms} beads are no atoms (first: {beads[0]}), and an all-atom force field "
            "has no energy for them. Reconstruct all atoms first, or leave out validation.energy."
        )
    if topology.n_atoms > 1 and {atom.name for atom in topology.atoms} == {"CA"}:
        raise ValidationError(
            f"the structure has only the {topology.n_atoms} CA atoms, and an all-atom force field has no energy for "
            "them. Reconstruct all atoms first, or leave out validation.energy."
        )


def _template_message(field: Any, unmatched: Sequence[Any], force_field: Sequence[str | Path]) -> str:
    found = "; ".join(f"{_label(residue)}: {_problem(field, residue)}" for residue in unmatched[:3])
    more = f" (and {len(unmatched) - 3} more residues)" if len(unmatched) > 3 else ""
    return f"no template found in {_names(force_field)} for {found}{more}."


def _problem(field: Any, residue: Any) -> str:
    """What is wrong with one residue, and the cure."""
    template = field._templates.get(residue.name)  # OpenMM offers no public view of a template's atoms
    if template is None:
        return "the force field does not know this residue. Add an XML file with its parameters to force_field"
    names = {atom.name for atom in residue.atoms()}
    expected = {atom.name for atom in template.atoms}
    missing, extra = sorted(expected - names), sorted(names - expected)
    if missing:
        hydrogens = all(name.startswith("H") for name in missing)
        cure = "Add the hydrogens" if hydrogens else "Complete the structure"
        also = f" and has the unknown {', '.join(extra)}" if extra else ""
        return f"it lacks {', '.join(missing)}{also}. {cure} (e.g. with PDBFixer)"
    if extra:
        return f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} in no template of it. Rename or remove"
    return (
        "its atoms are right but its bonds are not. Cap or close the chain here (ACE, NME, or charged ends with "
        "H2, H3, OXT), and give CONECT records for non-standard bonds"
    )


def _label(residue: Any) -> str:
    chain = f" of chain {residue.chain.id}" if residue.chain.id.strip() else ""
    return f"residue {residue.name}{residue.id}{chain}"


def _same_residue(atom: Atom, members: Sequence[Atom]) -> bool:
    first = members[0]
    same = (atom.chain_id, atom.residue_name, atom.residue_id) == (first.chain_id, first.residue_name, first.residue_id)
    return same and atom.name not in {member.name for member in members}


def _element(atom: Atom) -> Any:
    from openmm import app

    return app.Element.getBySymbol(atom.element) if atom.element else None


def _names(force_field: Sequence[str | Path]) -> str:
    return " + ".join(str(name) for name in force_field)
