"""Serialized Systems: what a path cannot have is refused, what only acts on dynamics is left out."""

from dataclasses import replace

import openmm
import pytest
import torch
from openmm import app

from tpsctl.errors import ValidationError
from tpsctl.molecule.force_field import openmm_topology
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import SerializedSystem

FIELD = "amber99sbildn.xml"


@pytest.fixture
def make(alanine, tmp_path):
    """A System made with options, changed, written and read again."""

    def create(change=lambda system: None, *, topology=alanine[0], **options):
        system = app.ForceField(FIELD).createSystem(openmm_topology(alanine[0]), **options)
        change(system)
        (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
        return SerializedSystem(tmp_path / "system.xml").create(topology)

    return create


def message(make, *arguments, **options) -> str:
    with pytest.raises(ValidationError) as refused:
        make(*arguments, **options)
    return str(refused.value)


def test_flexible_system_is_taken_without_what_acts_on_dynamics_only(make, alanine):
    made = make(lambda system: system.addForce(openmm.AndersenThermostat(300, 1)))
    names = {type(force).__name__ for force in made.system.getForces()}
    assert names == {"HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce"}
    expected = app.ForceField(FIELD).createSystem(openmm_topology(alanine[0]))
    x = alanine[1][None]
    assert torch.equal(ContextPool(made.system).energies(x), ContextPool(expected).energies(x))


def test_a_periodic_box_is_refused(make):
    def box(system):
        system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
        next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)).setNonbondedMethod(4)

    assert message(make, box).startswith("system.xml: the System has a periodic box (explicit solvent, or a crystal)")
    barostat = lambda system: system.addForce(openmm.MonteCarloBarostat(1, 300))  # noqa: E731
    assert "the System has a periodic box" in message(make, barostat)


def test_constraints_without_an_energy_are_refused(make):
    assert message(make, constraints=app.HBonds) == (
        "system.xml: the System has 12 constraints, and the constrained distance A:ACE1:CH3 - A:ACE1:H1 (0.1090 nm) "
        "has no energy that would hold it on a path. Make the System with constraints=None and rigidWater=False (or "
        "flexibleConstraints=True)."
    )


def test_constraints_with_a_bond_of_their_own_are_freed(make, alanine):
    made = make(constraints=app.HBonds, flexibleConstraints=True)
    assert made.system.getNumConstraints() == 0
    expected = app.ForceField(FIELD).createSystem(openmm_topology(alanine[0]))
    x = alanine[1][None]
    torch.testing.assert_close(
        ContextPool(made.system).energies(x), ContextPool(expected).energies(x), rtol=1e-12, atol=0
    )


def test_virtual_sites_and_fixed_atoms_are_refused(make):
    def site(system):
        system.setParticleMass(1, 0)
        system.setVirtualSite(1, openmm.TwoParticleAverageSite(0, 4, 0.5, 0.5))

    assert "is a virtual site, whose position follows from other atoms; a path moves every atom." in message(make, site)
    fixed = message(make, lambda system: system.setParticleMass(4, 0))
    assert "is a particle of mass 0, which OpenMM never moves" in fixed


def test_position_restraints_are_refused(make):
    def restrain(system):
        force = openmm.CustomExternalForce("x^2")
        force.addParticle(0, [])
        system.addForce(force)

    assert "so its energy changes when the molecule is moved as a whole. Give a System without it." in message(
        make, restrain
    )


def test_another_number_of_atoms_is_refused(make, alanine):
    found = message(make, topology=alanine[0].select(range(21)))
    assert found.startswith("system.xml has 22 atoms, the structure has 21.")


def test_elements_in_another_order_are_refused_by_their_masses(make, alanine):
    atoms = list(alanine[0].atoms)
    oxygen = next(i for i, atom in enumerate(atoms) if atom.element == "O")
    atoms[oxygen] = replace(atoms[oxygen], element="S", mass_amu=32.06)
    found = message(make, topology=replace(alanine[0], atoms=tuple(atoms)))
    assert f"atom {oxygen + 1} is A:ACE1:O (S, 32.060 amu) in the structure and has 15.999 amu there." in found


def test_equal_elements_in_another_order_are_refused_by_their_bonds(make, alanine):
    bonds = alanine[0].bonds
    first = next(h for c, h in bonds if alanine[0].atoms[h].element == "H" and alanine[0].atoms[c].name == "CH3")
    other = next(h for c, h in bonds if alanine[0].atoms[h].element == "H" and alanine[0].atoms[c].name == "CB")
    order = list(range(22))
    order[first], order[other] = other, first
    assert "is a bond in the structure and none there. Bring the atoms of both" in message(
        make, topology=alanine[0].select(order)
    )


def test_hydrogens_heavier_by_repartitioning_and_deuterium_are_taken(make):
    made = make(hydrogenMass=3.0)
    assert set(made.masses_amu) >= {3.0}

    def deuterate(system):
        for i in range(22):
            if system.getParticleMass(i)._value < 2:
                system.setParticleMass(i, 2.014)

    heavy = make(deuterate)
    assert min(heavy.masses_amu) == 2.014
