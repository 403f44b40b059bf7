"""Two structures to try tpsctl with: valine dipeptide (ACE-VAL-NME) in two states of its side chain.

    python examples/valine_dipeptide.py my-molecule

writes `my-molecule/raw_start.pdb` and `my-molecule/raw_end.pdb`. Like structures from crystals, they have no hydrogens.
Their heavy atoms lie as in two minima of amber14-all in vacuum that differ by a third of a turn about the bond CA-CB.
The valine is made from the alanine of `recipes/alanine_dipeptide/c7eq.pdb`: two hydrogens of its methyl become carbons.
"""

import random
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

ALANINE = Path(__file__).parents[1] / "recipes" / "alanine_dipeptide" / "c7eq.pdb"
CARBONS = {"HB1": "CG1", "HB2": "CG2"}
BOND_NM = 0.153  # between CB and its new neighbors


def heavy_valine() -> app.Modeller:
    """ACE-VAL-NME without hydrogens."""
    alanine = app.PDBFile(str(ALANINE))
    x = alanine.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    middle = next(residue for residue in alanine.topology.residues() if residue.name == "ALA")
    place = {atom.name: x[atom.index] for atom in middle.atoms()}
    topology, positions, made = app.Topology(), [], {}
    chain = topology.addChain("A")
    for residue in alanine.topology.residues():
        name = "VAL" if residue is middle else residue.name
        new = topology.addResidue(name, chain, residue.id)
        for atom in residue.atoms():
            if residue is middle and atom.name in CARBONS:
                made[CARBONS[atom.name]] = topology.addAtom(CARBONS[atom.name], app.element.carbon, new)
                bond = place[atom.name] - place["CB"]
                positions.append(place["CB"] + BOND_NM * bond / np.linalg.norm(bond))
            elif atom.element is not app.element.hydrogen:
                made[atom] = topology.addAtom(atom.name, atom.element, new)
                positions.append(x[atom.index])
    topology.createStandardBonds()
    return app.Modeller(topology, positions * unit.nanometer)


def main(folder: Path) -> None:
    random.seed(1)  # OpenMM places new hydrogens at random before it relaxes them
    platform, field = openmm.Platform.getPlatformByName("Reference"), app.ForceField("amber14-all.xml")
    molecule = heavy_valine()
    molecule.addHydrogens(field, platform=platform)
    system = field.createSystem(molecule.topology)
    named = {atom.name: atom.index for atom in molecule.topology.atoms() if atom.residue.name == "VAL"}
    restraint = openmm.CustomTorsionForce("strength*(1-cos(theta-target))")
    restraint.addGlobalParameter("strength", 0.0)
    restraint.addGlobalParameter("target", 0.0)
    restraint.addTorsion(*(named[name] for name in ("N", "CA", "CB", "CG1")))
    system.addForce(restraint)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(molecule.positions)
    folder.mkdir(parents=True, exist_ok=True)
    for name, chi_deg in (("raw_start", 180.0), ("raw_end", -60.0)):
        context.setParameter("target", np.radians(chi_deg))
        for strength in (500.0, 0.0):  # the restraint turns the side chain; without it the structure becomes a minimum
            context.setParameter("strength", strength)
            openmm.LocalEnergyMinimizer.minimize(context, 0.01)
        write_heavy_atoms(folder / f"{name}.pdb", molecule.topology, context.getState(positions=True).getPositions())


def write_heavy_atoms(file: Path, topology: app.Topology, positions: unit.Quantity) -> None:
    """Write a structure without its hydrogens."""
    heavy = app.Modeller(topology, positions)
    heavy.delete([atom for atom in topology.atoms() if atom.element is app.element.hydrogen])
    with file.open("w") as stream:
        app.PDBFile.writeFile(heavy.topology, heavy.positions, stream, keepIds=True)
    print(f"{file}: {heavy.topology.getNumAtoms()} atoms")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my-molecule"))
