"""`tpsctl prepare`: a structure file with faults in, a complete one out, and a list of everything that was changed.

Alternate locations are decided, missing heavy atoms and hydrogens added, chains capped and solvent removed as far as
wanted. Positions that the file has stay as they are. The result is read again as `tpsctl check` will read it before it
gets its name, and an existing file is never replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tpsctl.errors import EndpointError, RecipeError, ValidationError
from tpsctl.files import atomic, require_free
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.topology import Topology
from tpsctl.output.pdb import fits_pdb, mmcif_text, pdb_text
from tpsctl.workflows.prepare.built import Builder
from tpsctl.workflows.prepare.caps import add_caps
from tpsctl.workflows.prepare.changes import additions
from tpsctl.workflows.prepare.chosen import (
    keep_first_model,
    keep_one_location,
    read_with_gemmi,
    remove_solvent,
    require_buildable,
)

SUFFIXES = (".pdb", ".cif")
"""The formats of the result."""

FORCE_FIELD = ("amber14-all.xml", "amber14/tip3p.xml")
"""Force field with which it is tried whether templates fit the result."""


@dataclass(frozen=True)
class PrepareOptions:
    """What the command line says.

    Attributes:
        ph: pH that decides the hydrogens of acids, bases and histidine.
        caps: Whether chains get ACE and NME.
        remove_water: Whether water is removed.
        remove_ions: Whether single ions are removed.
        fill_gaps: Whether residues are built that SEQRES names and the file lacks inside a chain.
    """

    ph: float = 7.0
    caps: bool = False
    remove_water: bool = False
    remove_ions: bool = False
    fill_gaps: bool = False


def prepare_structure(source: Path, target: Path, options: PrepareOptions) -> dict[str, Any]:
    """Repair a structure, write it, and return what was changed.

    Raises:
        RecipeError: The name of the result has no known suffix.
        OutputError: Something has this name already, or it cannot be written.
        EndpointError: The file cannot be read, or the result is not sound even so.
        MissingDependencyError: PDBFixer is not installed.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise RecipeError(f"{target}: unknown suffix. Expected {' or '.join(SUFFIXES)}.")
    require_free(target)
    structure = read_with_gemmi(source)
    changes = [*keep_first_model(structure), *keep_one_location(structure)]
    changes += remove_solvent(structure, water=options.remove_water, ions=options.remove_ions)
    require_buildable(structure, source)
    changes += list(add_caps(structure)) if options.caps else []
    structure.setup_entities()
    builder = Builder(structure.make_pdb_string())
    notes = [] if options.fill_gaps else list(_gap_notes(builder))
    before = builder.atoms()
    if options.fill_gaps:
        builder.plan_gaps()
    variants = builder.build(options.ph)
    changes += additions(before, builder.atoms())
    topology, x = builder.molecule()
    notes += _write(source, target, topology, x)
    return {
        "source": str(source),
        "file": str(target),
        "atoms": topology.n_atoms,
        "residues": len(builder.residues()),
        "ph": options.ph,
        "changes": [change.as_json() for change in changes],
        "protonation": {
            str(place): variant for place, variant in zip(builder.residues(), variants, strict=True) if variant
        },
        "disulfides": [[str(one), str(other)] for one, other in builder.disulfides()],
        "force_field": _fit(topology),
        "notes": notes,
    }


def _gap_notes(builder: Builder) -> Iterator[str]:
    for (chain, place), names in builder.gaps.items():
        yield (
            f"{len(names)} residues ({', '.join(names)}) are missing inside chain {chain + 1}, behind its residue "
            f"{place}. Build them with a program for loops, or crudely with --fill-gaps."
        )


def _write(source: Path, target: Path, topology: Topology, x: np.ndarray) -> tuple[str, ...]:
    """Write the structure, read it again as every other command does, and return the notes of the reader."""
    from tpsctl.endpoints.load import load_structure

    title = f"prepared from {source.name}"
    as_pdb = target.suffix.lower() == ".pdb"
    if as_pdb and not fits_pdb(topology, x[None]):
        raise RecipeError(f"{target}: PDB cannot hold the names, numbers or positions of this structure. Write .cif.")
    text = (pdb_text if as_pdb else mmcif_text)(topology, x[None], title=title)
    with atomic(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            loaded = load_structure(temporary)
        except EndpointError as error:
            text = str(error).replace(str(temporary), "the result")
            raise EndpointError(f"{source}: repaired as far as possible, and still not sound: {text}") from None
        if loaded.topology.n_atoms != topology.n_atoms:
            raise EndpointError(
                f"{source}: {topology.n_atoms} atoms were written, {loaded.topology.n_atoms} read back."
            )
        return tuple(note.replace(str(temporary), str(target)) for note in loaded.notes)


def _fit(topology: Topology) -> str:
    """Whether the templates of a common force field fit, in words."""
    try:
        create_system(topology, FORCE_FIELD)
    except ValidationError as error:
        return str(error)
    return f"{FORCE_FIELD[0]} fits"
