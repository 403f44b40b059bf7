"""The structure-based model against its formulas, written down a second time, and its native state."""

from dataclasses import fields, replace

import openmm
import pytest
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import StructureBasedModel, StructureBasedParameters
from tpsctl.recipe.force_field import StructureBasedSection
from tpsctl.workflows.force_field import system_source


@pytest.fixture(scope="module")
def section(root):
    return StructureBasedSection(kind="structure_based", structure=root / "recipes" / "trp_cage" / "native.pdb")


@pytest.fixture(scope="module")
def model(section) -> StructureBasedModel:
    return system_source(section)


@pytest.fixture(scope="module")
def pool(model):
    return ContextPool(model.create(model.native_topology).system)


@pytest.fixture(scope="module")
def frames(model):
    """The native structure, and structures around it up to an unfolded chain."""
    noise = torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    folded = model.native + torch.tensor([0, 0.005, 0.02, 0.04, 0.06], dtype=torch.float64).view(5, 1, 1) * noise
    steps = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.cat((folded, (0.38 * steps / steps.norm(dim=-1, keepdim=True)).cumsum(1)))


def distance(x, i, j):
    return (x[i] - x[j]).norm()


def angle(x, i, j, k):
    a, b = x[i] - x[j], x[k] - x[j]
    return torch.acos(a @ b / (a.norm() * b.norm()))


def torsion(x, i):
    a, b, c = x[i + 1] - x[i], x[i + 2] - x[i + 1], x[i + 3] - x[i + 2]
    return torch.atan2(b.norm() * (a @ torch.linalg.cross(b, c)), torch.linalg.cross(a, b) @ torch.linalg.cross(b, c))


def plain_energy(x, native, p: StructureBasedParameters):
    """The energy of a chain by the formulas alone: index loops and no function of tpsctl."""
    n = len(x)
    energy = sum(p.bond_kj_per_mol_nm2 / 2 * (distance(x, i, i + 1) - p.bond_length_nm) ** 2 for i in range(n - 1))
    for i in range(n - 2):
        away = angle(x, i, i + 1, i + 2) - angle(native, i, i + 1, i + 2)
        energy = energy + p.angle_kj_per_mol_rad2 / 2 * away**2
    for i in range(n - 3):
        away = torsion(x, i) - torsion(native, i)
        energy = energy + p.torsion_kj_per_mol * (1 - torch.cos(away))
        energy = energy + p.threefold_torsion_kj_per_mol * (1 - torch.cos(3 * away))
    q, contacts = 0, 0
    for i in range(n):
        for j in range(i + 3, n):
            energy = energy + p.excluded_volume_kj_per_mol * (p.excluded_volume_nm / distance(x, i, j)) ** 12
            r0 = distance(native, i, j)
            if j >= i + 4 and r0 < p.contact_cutoff_nm:
                q = q + torch.exp(-((distance(x, i, j) - r0) ** 2) / (2 * p.contact_width_nm**2))
                contacts += 1
    return energy - p.contact_kj_per_mol * q - p.cooperative_kj_per_mol * q**2 / contacts


def test_energies_and_forces_are_those_of_the_formulas(model, pool, frames):
    for frame, energy, force in zip(frames, pool.energies(frames), pool.forces(frames), strict=True):
        x = frame.clone().requires_grad_(True)
        expected = plain_energy(x, model.native, model.parameters)
        # both are double precision; the repulsion of close beads reaches 1e9 kJ/mol, so errors are relative
        torch.testing.assert_close(energy, expected.detach(), rtol=1e-10, atol=1e-9)
        torch.testing.assert_close(force, -torch.autograd.grad(expected, x)[0], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize(
    "field", [field.name for field in fields(StructureBasedParameters) if field.name != "mass_amu"]
)
def test_every_parameter_changes_the_energy_as_the_formulas_say(section, model, frames, field):
    value = 1.07 * getattr(model.parameters, field)
    changed = system_source(section.model_copy(update={field: value}))
    assert changed.parameters == replace(model.parameters, **{field: value})
    energies = ContextPool(changed.create(model.native_topology).system).energies(frames[2:3])
    expected = plain_energy(frames[2], model.native, changed.parameters)
    assert energies[0] == pytest.approx(float(expected), rel=1e-10)
    assert abs(float(expected - plain_energy(frames[2], model.native, model.parameters))) > 1e-3


def test_the_recipe_and_the_model_have_the_same_defaults(section):
    given = section.model_dump(exclude={"kind", "structure", "select"})
    assert StructureBasedParameters(**given) == StructureBasedParameters()


def test_the_native_structure_is_near_the_lowest_minimum(model, pool):
    """Only bonds (0.386 instead of 0.38 nm) and the repulsion of native contacts strain the native structure."""
    x = _minimized(model, model.native)
    moved = (x - x.mean(0)) - (model.native - model.native.mean(0))
    assert moved.square().sum(-1).mean().sqrt() < 0.02  # nm
    assert model.contacts.fraction(x) > 0.95
    assert float(pool.forces(x[None]).abs().max()) < 1.0
    a, b, n = model.parameters.contact_kj_per_mol, model.parameters.cooperative_kj_per_mol, len(model.contacts.pairs)
    assert float(pool.energies(x[None])) == pytest.approx(-(a + b) * n, abs=10)


def test_all_contacts_together_are_worth_a_n_and_b_n(section, model):
    """At q = N the contact energy is -A N - B N, both parts measured alone, without everything but bonds."""
    others = (
        "angle_kj_per_mol_rad2",
        "torsion_kj_per_mol",
        "threefold_torsion_kj_per_mol",
        "excluded_volume_kj_per_mol",
    )
    only_contacts = dict.fromkeys(others, 0.0)
    linear = system_source(section.model_copy(update=only_contacts | {"cooperative_kj_per_mol": 0.0}))
    both = system_source(section.model_copy(update=only_contacts | {"contact_kj_per_mol": 0.0}))
    a, b, n = 1.5, 4.75, len(model.contacts.pairs)
    bonds = 5000.0 * ((model.native[1:] - model.native[:-1]).norm(dim=-1) - 0.38).square().sum()
    one, two = (
        float(ContextPool(m.create(model.native_topology).system).energies(model.native[None]) - bonds)
        for m in (linear, both)
    )
    assert one == pytest.approx(-a * n, rel=1e-9)
    assert two == pytest.approx(-b * n, rel=1e-9)


def test_beads_that_are_not_neighbors_cannot_pass_through_each_other(model, pool):
    x = model.native.clone()
    x[10] = x[0] + torch.tensor([0.2, 0, 0])
    assert float(pool.energies(x[None])) > (0.45 / 0.2) ** 12 - 500


def test_masses_and_contacts_come_with_the_system(model):
    made = model.create(model.native_topology)
    assert made.masses_amu == (110.0,) * 20
    assert made.contacts == model.contacts
    assert len(model.contacts.pairs) == 21
    assert made.system.getNumConstraints() == 0


def test_the_parameters_are_a_part_of_what_identifies_the_source(section, model):
    other = system_source(section.model_copy(update={"cooperative_kj_per_mol": 5.0}))
    assert model.parts != other.parts
    assert "cooperative_kj_per_mol=5" in other.parts
    assert model.files() == (section.structure,)


def test_an_all_atom_structure_gives_its_alpha_carbons(section, tmp_path):
    lines = section.structure.read_text().splitlines()
    beads = [line for line in lines if line.startswith("ATOM")]
    nitrogens = [
        line[:13] + "N " + line[15:30] + f"{float(line[30:38]) + 1.45:8.3f}" + line[38:77] + "N" for line in beads
    ]
    (tmp_path / "all.pdb").write_text("\n".join(atom for both in zip(nitrogens, beads, strict=True) for atom in both))
    found = system_source(section.model_copy(update={"structure": tmp_path / "all.pdb"}))
    assert found.native_nm == system_source(section).native_nm


def test_another_chain_is_refused(model, root):
    topology = model.native_topology
    with pytest.raises(ValidationError, match="has 20 atoms, the structure has 19"):
        model.create(topology.select(range(19)))
    mutated = replace(topology, atoms=(replace(topology.atoms[0], residue_name="ALA"), *topology.atoms[1:]))
    with pytest.raises(ValidationError, match="bead 1 is A:ALA1:CA in the structure and A:ASN1:CA there"):
        model.create(mutated)


def test_a_structure_without_contacts_is_refused(section, model):
    loose = system_source(section.model_copy(update={"contact_cutoff_nm": 0.3}))
    with pytest.raises(ValidationError, match="contact_cutoff_nm 0.3 nm, so nothing would fold"):
        loose.create(model.native_topology)


def test_the_hessian_is_the_second_derivative_of_the_formulas(model, frames):
    from tpsctl.molecule.curvature import Curvature

    curvature = Curvature(model.create(model.native_topology).system)
    found = curvature.hessian(frames[1:2])[0]
    exact = torch.autograd.functional.hessian(lambda x: plain_energy(x, model.native, model.parameters), frames[1])
    # closed forms on both sides; entries reach 1e4 kJ/mol/nm^2
    torch.testing.assert_close(found, exact.reshape(60, 60), rtol=1e-9, atol=1e-6)
    assert not curvature.by_differences


def _minimized(model, x):
    system = model.create(model.native_topology).system
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x.numpy())
    openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
    return torch.tensor(context.getState(positions=True).getPositions(asNumpy=True)._value, dtype=torch.float64)


def test_the_shipped_native_structure_is_trp_cage(model):
    letters = {"ASN": "N", "LEU": "L", "TYR": "Y", "ILE": "I", "GLN": "Q", "TRP": "W", "LYS": "K", "ASP": "D",
               "GLY": "G", "PRO": "P", "SER": "S", "ARG": "R"}  # fmt: skip
    assert "".join(letters[atom.residue_name] for atom in model.native_topology.atoms) == "NLYIQWLKDGGPSSGRPPPS"
