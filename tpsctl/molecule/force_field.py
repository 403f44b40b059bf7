"""OpenMM Systems from a `Topology` and force-field XML files: vacuum or implicit solvent, all atoms free.

The Systems have no cutoff and no constraints, so the potential energy is a smooth function of all coordinates, and
the same XML files (amber99sbildn.xml; amber14-all.xml + implicit/gbn2.xml; ...) give everybody the same energy. A
message about a residue that fits no template names the residue, the atoms that it lacks, and the remedy.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.force_field_files import find_file, locate, read_files, shown
from tpsctl.molecule.topology import Atom, Topology


def openmm_topology(topology: Topology) -> Any:
    """Convert the molecule to an `openmm.app.Topology` with the same order of atoms, names, numbers and bonds."""
    from openmm import app

    made = app.Topology()
    chain: Any = None
    previous: Atom | None = None
    atoms = []
    for residue in residues(topology):
        first = topology.atoms[residue[0]]
        if previous is None or first.chain_id != previous.chain_id:
            chain = made.addChain(first.chain_id)
        home = made.addResidue(first.residue_name, chain, str(first.residue_id), first.insertion_code)
        atoms += [made.addAtom(topology.atoms[i].name, _element(topology.atoms[i]), home) for i in residue]
        previous = first
    for i, j in topology.bonds:
        made.addBond(atoms[i], atoms[j])
    return made


def residues(topology: Topology) -> Iterator[list[int]]:
    """Atom indices of each residue.

    A residue consists of consecutive atoms with the same chain, residue name and residue number, and it has no two
    atoms of the same name.
    """
    here: list[int] = []
    for i, atom in enumerate(topology.atoms):
        if here and not _same_residue(atom, [topology.atoms[j] for j in here]):
            yield here
            here = []
        here.append(i)
    if here:
        yield here


def create_system(topology: Topology, force_field: Sequence[str | Path]) -> Any:
    """Create the `openmm.System` of the molecule, without cutoff and constraints.

    Args:
        topology: Atoms of the molecule, hydrogens included, or the beads of a coarse-grained force field.
        force_field: XML files, by path or by the name under which OpenMM ships them.

    Raises:
        ValidationError: A file is not found or damaged, or a residue fits no template.
    """
    from openmm import app

    field = _load(force_field)
    molecule = openmm_topology(topology)
    try:
        unmatched = field.getUnmatchedResidues(molecule)
    except Exception as error:  # e.g. several templates fit one residue
        raise ValidationError(
            f"force field {_names(force_field)}: {_one_line(error)}. Name one force field only, or remove all but "
            "one of these templates."
        ) from error
    if unmatched:
        raise ValidationError(_template_message(topology, field, unmatched, force_field))
    try:
        return field.createSystem(molecule, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False)
    except Exception as error:  # a Script, or a force whose parameters are missing, may raise any exception
        raise ValidationError(
            f"force field {_names(force_field)}: {_one_line(error)}. Name a complete set of XML files "
            "(an implicit solvent needs the protein force field it was made for)."
        ) from error


def _load(force_field: Sequence[str | Path]) -> Any:
    from openmm import app

    if not force_field:
        raise ValidationError('force_field: got no file, expected at least one, e.g. ["amber99sbildn.xml"].')
    files = read_files(force_field)
    try:
        return app.ForceField(*(str(find_file(name)) for name in force_field))
    except Exception as error:  # a mistake in the file may raise any exception in OpenMM's reader
        if defined := _defined_twice(error):
            raise ValidationError(
                f"force field {_names(force_field)}: more than one of these files defines {defined}. Name one force "
                "field only, with the solvent that belongs to it."
            ) from error
        place = locate(error, files) or f"force field {_names(force_field)}: OpenMM cannot read it ({_one_line(error)})"
        raise ValidationError(f"{place}. Mend the file, or name another.") from error


def _defined_twice(error: Exception) -> str:
    """What OpenMM says that two files define, in words; "" if the error is another one."""
    found = re.search(r"Residue template (\S+) .*already exists|multiple definitions for atom type: (\S+)", str(error))
    if found is None:
        return ""
    return f"the residue {found[1]}" if found[1] else f"the atom type {found[2]}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _template_message(
    topology: Topology, field: Any, unmatched: Sequence[Any], force_field: Sequence[str | Path]
) -> str:
    kind = kind_of_beads(topology)
    if kind in (BeadKind.ALPHA_CARBONS, BeadKind.COARSE_GRAINED) and _has_all_atom_templates(field, unmatched):
        return (
            f"no template of {_names(force_field)} fits {_label(unmatched[0])}: it is for all atoms, and the structure "
            f"has {topology.n_atoms} {kind}. Reconstruct all atoms first, or take a coarse-grained force field with "
            "templates for these beads."
        )
    found = "; ".join(f"{_label(residue)}: {_problem(field, residue)}" for residue in unmatched[:3])
    more = f" (and {len(unmatched) - 3} more residues)" if len(unmatched) > 3 else ""
    return f"no template found in {_names(force_field)} for {found}{more}."


def _problem(field: Any, residue: Any) -> str:
    """Say why one residue fits no template, and what to do about it."""
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
        return f"it lacks {', '.join(missing)}{also}. {cure} (tpsctl prepare IN OUT)"
    if extra:
        return f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} in no template of it. Rename or remove"
    return (
        "its atoms are right but its bonds are not. Cap or close the chain here (ACE, NME, or charged ends with "
        "H2, H3, OXT), and give CONECT records for non-standard bonds"
    )


def _has_all_atom_templates(field: Any, unmatched: Sequence[Any]) -> bool:
    """Whether the largest template of the residues' names has more atoms than the largest of these residues.

    If there is no template of any of these names, all templates are considered.
    """
    templates = [field._templates.get(residue.name) for residue in unmatched]
    known = [template for template in templates if template is not None] or list(field._templates.values())
    return max((len(template.atoms) for template in known), default=0) > max(len(list(r.atoms())) for r in unmatched)


def _label(residue: Any) -> str:
    chain = f" of chain {residue.chain.id}" if residue.chain.id.strip() else ""
    return f"residue {residue.name}{residue.id}{chain}"


def _same_residue(atom: Atom, members: Sequence[Atom]) -> bool:
    first = members[0]
    same = (atom.chain_id, atom.residue_name, atom.residue_id) == (first.chain_id, first.residue_name, first.residue_id)
    return same and atom.insertion_code == first.insertion_code and atom.name not in {member.name for member in members}


def _element(atom: Atom) -> Any:
    from openmm import app

    return app.Element.getBySymbol(atom.element) if atom.element else None


def _names(force_field: Sequence[str | Path]) -> str:
    return " + ".join(shown(name) for name in force_field)
