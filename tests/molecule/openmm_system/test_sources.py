"""Every kind of source gives the energies of a bare OpenMM script, and names the files that decide them."""

import pickle
from pathlib import Path

import openmm
import pytest
import torch
from openmm import app

from tpsctl.endpoints.load import load_structure
from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import (
    AmberTopology,
    GromacsTopology,
    ImplicitSolvent,
    SerializedSystem,
    XmlForceField,
    as_source,
)

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def structure():
    """ACE-ALA-NME, 22 atoms, whose files are in `data`."""
    return load_structure(DATA / "alanine.gro")


@pytest.fixture(scope="module")
def frames(structure):
    generator = torch.Generator().manual_seed(3)
    return structure.x + 0.004 * torch.randn(4, 22, 3, generator=generator, dtype=torch.float64)


def bare(system, frames) -> list[float]:
    """Energies by OpenMM alone."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context, found = openmm.Context(system, openmm.VerletIntegrator(0.001), platform), []
    for frame in frames:
        context.setPositions(frame.numpy())
        energy = context.getState(energy=True).getPotentialEnergy()
        found.append(energy.value_in_unit(openmm.unit.kilojoule_per_mole))
    return found


def serialized(system, file: Path) -> SerializedSystem:
    file.write_text(openmm.XmlSerializer.serialize(system))
    return SerializedSystem(file)


def energies(source, topology, frames) -> list[float]:
    return ContextPool(source.create(topology).system).energies(frames).tolist()


def test_amber_topology_gives_the_energies_of_a_bare_script(structure, frames):
    expected = bare(app.AmberPrmtopFile(str(DATA / "alanine.prmtop")).createSystem(), frames)
    found = energies(AmberTopology(DATA / "alanine.prmtop"), structure.topology, frames)
    assert found == pytest.approx(expected, rel=1e-12)  # the same parameters in the same double-precision code
    # Independently: the XML force field it was made from; prmtop files have 8 digits.
    assert found == pytest.approx(energies(as_source(["amber99sbildn.xml"]), structure.topology, frames), rel=1e-6)


def test_gromacs_topology_gives_the_energies_of_a_bare_script(structure, frames):
    expected = bare(app.GromacsTopFile(str(DATA / "alanine.top")).createSystem(), frames)
    found = energies(GromacsTopology(DATA / "alanine.top"), structure.topology, frames)
    assert found == pytest.approx(expected, rel=1e-12)
    assert found == pytest.approx(energies(as_source(["amber99sbildn.xml"]), structure.topology, frames), rel=1e-6)


def test_serialized_system_gives_the_energies_of_the_system(structure, frames, tmp_path):
    system = app.AmberPrmtopFile(str(DATA / "alanine.prmtop")).createSystem(implicitSolvent=app.OBC2)
    found = energies(serialized(system, tmp_path / "system.xml"), structure.topology, frames)
    assert found == pytest.approx(bare(system, frames), rel=1e-12)


def test_xml_force_field_gives_the_energies_of_a_bare_script():
    butane = load_structure(DATA / "butane_gauche.pdb")
    frames = butane.x + 0.004 * torch.randn(4, 14, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    pdb = app.PDBFile(str(DATA / "butane_gauche.pdb"))
    expected = bare(app.ForceField(str(DATA / "butane.xml")).createSystem(pdb.topology), frames)
    assert energies(XmlForceField((DATA / "butane.xml",)), butane.topology, frames) == pytest.approx(
        expected, rel=1e-12
    )


def test_solvated_amber_topology_agrees_with_the_solvent_of_the_xml_force_field(structure, frames):
    made = AmberTopology(DATA / "alanine.prmtop", "GBn2").create(structure.topology)
    assert made.solvent == ImplicitSolvent("GBn2", "mbondi3")
    expected = energies(as_source(["amber99sbildn.xml", "implicit/gbn2.xml"]), structure.topology, frames)
    # The total is near zero here: 8 digits of terms of some hundred kJ/mol.
    assert ContextPool(made.system).energies(frames).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize(
    "source",
    [AmberTopology(DATA / "alanine.prmtop", "GBn2"), GromacsTopology(DATA / "alanine.top")],
    ids=lambda source: source.name,
)
def test_forces_are_minus_the_energy_gradient(structure, frames, source):
    pool, x, h = ContextPool(source.create(structure.topology).system), frames[0], 1e-6
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(8, 22, 3, generator=generator, dtype=torch.float64)
    slope = (pool.energies(x + h * along) - pool.energies(x - h * along)) / (2 * h)
    # central differences: h^2 * third derivative ~1e-12 * 1e9, and rounding 1e-13 * E / h ~ 1e-5
    torch.testing.assert_close((pool.forces(x[None]) * along).sum((1, 2)), -slope, rtol=1e-5, atol=1e-2)


class TestCoarseGrained:
    """A chain of C-alpha beads with a force field of its own."""

    @pytest.fixture
    def chain(self):
        return load_structure(DATA / "ca12_a.pdb")

    def test_its_xml_file_is_taken_with_its_masses(self, chain):
        made = XmlForceField((DATA / "ca12.xml",)).create(chain.topology)
        assert made.masses_amu == (110.0,) * 12
        assert made.with_masses(chain.topology).masses_amu == (110.0,) * 12
        pool, x, h = ContextPool(made.system), chain.x, 1e-6
        shifts = h * torch.eye(36, dtype=x.dtype).reshape(36, 12, 3)
        slope = (pool.energies(x + shifts) - pool.energies(x - shifts)) / (2 * h)
        torch.testing.assert_close(pool.forces(x[None])[0].flatten(), -slope, rtol=1e-6, atol=1e-4)

    def test_it_serializes_to_the_same_energies(self, chain, tmp_path):
        made = XmlForceField((DATA / "ca12.xml",)).create(chain.topology)
        again = serialized(made.system, tmp_path / "chain.xml").create(chain.topology)
        assert again.masses_amu == made.masses_amu
        x = chain.x[None]
        assert ContextPool(again.system).energies(x).item() == ContextPool(made.system).energies(x).item()

    def test_an_all_atom_force_field_is_refused_because_no_template_fits(self, chain):
        with pytest.raises(ValidationError) as refused:
            as_source(["amber14-all.xml"]).create(chain.topology)
        assert str(refused.value) == (
            "no template of amber14-all.xml fits residue GLY1 of chain A: it is for all atoms, and the structure has "
            "12 C-alpha atoms only. Reconstruct all atoms first, or take a coarse-grained force field with "
            "templates for these beads."
        )


class TestFiles:
    """Every file that is read counts as an input."""

    def test_names_of_openmm_are_followed_into_included_files(self):
        files = as_source(["amber14-all.xml", "implicit/gbn2.xml"]).files()
        names = [file.name for file in files]
        assert names[:2] == ["amber14-all.xml", "gbn2.xml"]
        assert "protein.ff14SB.xml" in names

    def test_own_files_and_what_they_include(self, tmp_path):
        (tmp_path / "inner.xml").write_text("<ForceField/>")
        (tmp_path / "outer.xml").write_text('<ForceField>\n <Include file="inner.xml"/>\n</ForceField>')
        assert XmlForceField((tmp_path / "outer.xml",)).files() == (tmp_path / "outer.xml", tmp_path / "inner.xml")

    def test_included_gromacs_files_are_found_beside_the_file_and_in_the_folder_given(
        self, structure, frames, tmp_path
    ):
        head, body = (DATA / "alanine.top").read_text().split("[ moleculetype ]")
        (tmp_path / "share" / "amber.ff").mkdir(parents=True)
        (tmp_path / "share" / "amber.ff" / "forcefield.itp").write_text('#include "types.itp"\n')
        (tmp_path / "share" / "amber.ff" / "types.itp").write_text(head)
        top = tmp_path / "own.top"
        top.write_text(f'#include "amber.ff/forcefield.itp"\n[ moleculetype ]{body}')
        source = GromacsTopology(top, tmp_path / "share")
        assert [file.name for file in source.files()] == ["own.top", "forcefield.itp", "types.itp"]
        whole = energies(GromacsTopology(DATA / "alanine.top"), structure.topology, frames)
        assert energies(source, structure.topology, frames) == whole
        with pytest.raises(
            ValidationError, match=r"Could not locate #include file: amber.ff/forcefield.itp\). Name the"
        ):
            GromacsTopology(top).create(structure.topology)

    def test_sources_are_data(self):
        source = AmberTopology(DATA / "alanine.prmtop", "GBn2")
        assert pickle.loads(pickle.dumps(source)) == source
        assert source.parts == ("alanine.prmtop", "GBn2")
        assert source.files() == (DATA / "alanine.prmtop",)
        assert as_source(source) is source


@pytest.mark.parametrize(
    ("names", "solvent"),
    [
        (["amber99sbildn.xml"], None),
        (["amber99sbildn.xml", "implicit/obc2.xml"], ImplicitSolvent("OBC2", "mbondi2")),
        (["amber99sbildn.xml", "implicit/gbn.xml"], ImplicitSolvent("GBn", "bondi")),
        (["amber99sb.xml", "amber99_obc.xml"], ImplicitSolvent("OBC2", "amber99_obc.xml's own")),
    ],
)
def test_the_implicit_solvent_is_named(structure, names, solvent):
    assert as_source(names).create(structure.topology).solvent == solvent


def test_a_script_in_a_users_file_is_pointed_out(structure, tmp_path):
    (tmp_path / "own.xml").write_text("<ForceField>\n <Script>pass</Script>\n</ForceField>")
    made = XmlForceField(("amber99sbildn.xml", tmp_path / "own.xml")).create(structure.topology)
    assert made.notes == ("own.xml holds a Script, which OpenMM runs as Python code; use only files you trust",)


class TestRefusals:
    """One sentence that says what to do."""

    def message(self, source, topology) -> str:
        with pytest.raises(ValidationError) as refused:
            source.create(topology)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            (SerializedSystem(Path("none.xml")), "none.xml: cannot read the System: No such file or directory."),
            (AmberTopology(Path("none.prmtop")), "none.prmtop: no such file. Give an Amber topology file (prmtop)."),
            (GromacsTopology(Path("none.top")), "none.top: no such file. Give a GROMACS topology file (.top)."),
        ],
        ids=["system", "amber", "gromacs"],
    )
    def test_missing_files(self, structure, source, text):
        assert self.message(source, structure.topology) == text

    def test_a_force_field_is_no_system(self, structure):
        assert self.message(SerializedSystem(DATA / "butane.xml"), structure.topology) == (
            f"{DATA}/butane.xml: got <ForceField>, expected a serialized System of OpenMM (<System ...>). "
            'For a force field write "force_field: [FILE]".'
        )

    def test_damaged_files(self, structure, tmp_path):
        (tmp_path / "system.xml").write_text("<System openmmVersion='8'><Particles")
        found = self.message(SerializedSystem(tmp_path / "system.xml"), structure.topology)
        assert found.startswith(f"{tmp_path}/system.xml: OpenMM cannot read this System: ")
        assert found.endswith("Write it anew with XmlSerializer.")
        (tmp_path / "x.prmtop").write_text("%FLAG POINTERS\n%FORMAT(10I8)\n 1 2\n")
        found = self.message(AmberTopology(tmp_path / "x.prmtop"), structure.topology)
        assert "OpenMM cannot make a System from this Amber topology (" in found
        (tmp_path / "x.top").write_text("[ atoms\n")
        found = self.message(GromacsTopology(tmp_path / "x.top"), structure.topology)
        assert "OpenMM cannot make a System from this GROMACS topology (ValueError: Illegal line in .top file" in found

    def test_another_set_of_radii(self, structure):
        assert self.message(AmberTopology(DATA / "alanine.prmtop", "OBC2"), structure.topology) == (
            "alanine.prmtop: got mbondi3 radii, but implicit_solvent OBC2 wants mbondi2 or mbondi. Set them (ParmEd: "
            "changeRadii mbondi2), or take another model."
        )

    def test_a_periodic_box_in_a_prmtop(self, structure, tmp_path):
        text = (DATA / "alanine.prmtop").read_text()
        row = "       0       0       0       0       0       0       0       0      10       0"
        assert row in text
        boxed = text.replace(row, row[:56] + f"{1:8d}" + row[64:])
        boxed += (
            "%FLAG BOX_DIMENSIONS\n%FORMAT(5E16.8)\n  9.00000000E+01  3.00000000E+01  3.00000000E+01  3.00000000E+01\n"
        )
        boxed += "%FLAG SOLVENT_POINTERS\n%FORMAT(3I8)\n       3       1       2\n"
        boxed += "%FLAG ATOMS_PER_MOLECULE\n%FORMAT(10I8)\n      22\n"
        (tmp_path / "boxed.prmtop").write_text(boxed)
        found = self.message(AmberTopology(tmp_path / "boxed.prmtop"), structure.topology)
        assert found.startswith(
            "boxed.prmtop: the file has a periodic box (explicit solvent), and paths are of isolated"
        )

    @pytest.mark.parametrize("source", [AmberTopology(DATA / "alanine.prmtop"), GromacsTopology(DATA / "alanine.top")])
    def test_atoms_in_another_order_are_named(self, structure, source):
        swapped = list(range(22))
        swapped[4], swapped[5] = 5, 4  # C and O of ACE
        found = self.message(source, structure.topology.select(swapped))
        assert "does not fit the structure: atom 5 is ACE1:O (O) in the structure and ACE1:C (C) there." in found
        swapped = list(range(22))
        swapped[1], swapped[12] = 12, 1  # two hydrogens of different methyl groups
        found = self.message(source, structure.topology.select(swapped))
        assert "ACE1:CH3 - ACE1:H1 (atoms 1 and 13) is a bond in the structure and none there." in found

    def test_another_number_of_atoms(self, structure):
        found = self.message(AmberTopology(DATA / "alanine.prmtop"), structure.topology.select(range(21)))
        assert found.startswith(
            "alanine.prmtop has 22 atoms, the structure has 21. Give the System of the very molecule"
        )
