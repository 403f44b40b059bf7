"""Every file is read by two programs that did not write it: MDTraj and MDAnalysis."""

import struct
import warnings
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpsctl.errors import OutputError
from tpsctl.files import atomic, write_text
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.output.dcd import read_dcd, write_dcd
from tpsctl.output.trajectory import dummy_topology, write_path, write_topology

FLOAT32 = 1e-6  # nm, positions of a few nm in single precision
PDB_ROUNDING = 5.1e-5  # nm, three decimals of an angstrom


@pytest.fixture
def path(alanine):
    return alanine[1] + 0.01 * torch.randn(7, 22, 3)


def universe(*files):
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missing masses, missing cell: nothing we promise
        return MDAnalysis.Universe(*map(str, files))


def mdanalysis_frames(u):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array([(frame.time, u.atoms.positions.copy()) for frame in u.trajectory], dtype=object)


def names(topology):
    return [atom.name for atom in topology.atoms]


def bonds(read):
    return sorted(tuple(sorted((a.index, b.index))) for a, b in read.bonds)


def coarse_grained(n):
    return Topology(
        tuple(Atom("CA", "C", "GLY", i + 1, "A", 57.0) for i in range(n)), tuple((i, i + 1) for i in range(n - 1))
    )


def test_dcd_is_read_by_mdtraj_and_mdanalysis(alanine, path, tmp_path):
    top = write_topology(tmp_path, alanine[0], alanine[1], name="alanine")
    (file,) = write_path(tmp_path, 3, path, alanine[0], dt_ps=0.0005, formats=["dcd"])
    assert file == tmp_path / "paths" / "path_0003.dcd"
    read = mdtraj.load(str(file), top=str(top))
    np.testing.assert_allclose(read.xyz, path.numpy(), atol=FLOAT32)
    u = universe(top, file)
    assert u.trajectory.n_frames == 7
    assert u.trajectory.dt == pytest.approx(0.0005, rel=1e-6)  # DELTA is a float32
    times, positions = zip(*mdanalysis_frames(u), strict=True)
    np.testing.assert_allclose(times, 0.0005 * np.arange(7), rtol=1e-6)
    np.testing.assert_allclose(np.array(positions) / 10, path.numpy(), atol=FLOAT32)
    assert list(u.atoms.names) == names(alanine[0])


def test_pdb_models_are_read_by_mdtraj_and_mdanalysis(alanine, path, tmp_path):
    topology = alanine[0]
    (file,) = write_path(tmp_path, 0, path, topology, dt_ps=0.001, formats=["pdb"])
    read = mdtraj.load_pdb(str(file), standard_names=False)
    np.testing.assert_allclose(read.xyz, path.numpy(), atol=PDB_ROUNDING)
    assert [atom.name for atom in read.topology.atoms] == names(topology)
    assert [atom.residue.name for atom in read.topology.atoms] == [atom.residue_name for atom in topology.atoms]
    assert [atom.residue.resSeq for atom in read.topology.atoms] == [atom.residue_id for atom in topology.atoms]
    assert bonds(read.topology) == list(topology.bonds)
    u = universe(file)
    assert list(u.atoms.names) == names(topology)
    assert list(u.atoms.chainIDs) == ["A"] * 22
    np.testing.assert_allclose([x / 10 for _, x in mdanalysis_frames(u)], path.numpy(), atol=PDB_ROUNDING)


def test_topology_is_read_by_openmm(alanine, tmp_path):
    from openmm import app

    read = app.PDBFile(str(write_topology(tmp_path, *alanine, name="alanine")))
    assert bonds_openmm(read.topology) == list(alanine[0].bonds)
    app.ForceField("amber99sbildn.xml").createSystem(read.topology)


def bonds_openmm(topology):
    return sorted({tuple(sorted((a.index, b.index))) for a, b in topology.bonds()})


def test_bonds_of_a_coarse_grained_chain_survive(tmp_path):
    topology, x = coarse_grained(12), torch.randn(12, 3)
    file = write_topology(tmp_path, topology, x, name="chain")
    assert bonds(mdtraj.load_pdb(str(file)).topology) == list(topology.bonds)
    assert sorted(tuple(sorted(b)) for b in universe(file).bonds.indices.tolist()) == list(topology.bonds)


def test_protein_bonds_that_readers_know_need_no_records(tmp_path):
    atoms = [Atom(name, name[0], "GLY", i, "A", 12.0) for i in (1, 2) for name in ("N", "CA", "C", "O")]
    topology = Topology(tuple(atoms), ((0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (6, 7)))
    text = write_topology(tmp_path, topology, torch.randn(8, 3), name="GG").read_text()
    assert "CONECT" not in text
    assert text.count("ATOM  ") == 8
    assert text.endswith("END\n")


def test_a_bond_between_side_chains_is_recorded(tmp_path):
    atoms = [Atom(name, name[0], "CYS", i, "A", 12.0) for i in (1, 4) for name in ("CA", "CB", "SG")]
    topology = Topology(tuple(atoms), ((0, 1), (1, 2), (2, 5), (3, 4), (4, 5)))
    lines = write_topology(tmp_path, topology, torch.randn(6, 3), name="bridge").read_text().splitlines()
    assert "CONECT    3    6" in lines
    assert "CONECT    6    3" in lines


@pytest.mark.parametrize(
    "change",
    [{"name": "LONGNAME"}, {"residue_name": "LIGAND"}, {"chain_id": "AB"}, {"residue_id": 12345}, {"name": "O'A'B"}],
    ids=["atom name", "residue name", "chain", "residue number", "quoted name"],
)
def test_what_pdb_cannot_hold_goes_to_mmcif_uncut(change, alanine, path, tmp_path):
    topology = replace(
        alanine[0], atoms=tuple(replace(atom, **change) for atom in alanine[0].atoms[:1]) + alanine[0].atoms[1:]
    )
    files = write_path(tmp_path, 0, path, topology, dt_ps=0.001, formats=["dcd", "pdb"])
    assert [file.name for file in files] == ["path_0000.dcd", "path_0000.cif"]
    read = mdtraj.load(str(files[1]))
    np.testing.assert_allclose(read.xyz, path.numpy(), atol=FLOAT32)
    first = topology.atoms[0]
    found = read.topology.atom(0)
    assert (found.name, found.residue.name, found.residue.resSeq) == (first.name, first.residue_name, first.residue_id)
    assert found.residue.chain.chain_id == first.chain_id
    assert set(topology.bonds) <= set(bonds(read.topology))


def test_chains_and_four_letter_names_are_kept(tmp_path):
    atoms = (
        Atom("HD11", "H", "LEU", 7, "B", 1.0),
        Atom("CA", "CA", "CA", -3, "C", 40.0),
        Atom("X1", "", "MOD", 1, "", 1.0),
        Atom("FE", "FE", "HEME", 9999, "D", 55.8),
    )
    file = write_topology(tmp_path, Topology(atoms, ()), torch.randn(4, 3), name="mixed")
    u = universe(file)
    assert list(u.atoms.names) == ["HD11", "CA", "X1", "FE"]
    assert list(u.atoms.resnames) == ["LEU", "CA", "MOD", "HEME"]
    assert list(u.atoms.resids) == [7, -3, 1, 9999]
    read = mdtraj.load_pdb(str(file), standard_names=False).topology
    assert [atom.name for atom in read.atoms] == ["HD11", "CA", "X1", "FE"]
    assert [chain.chain_id.strip() for chain in read.chains] == ["B", "C", "", "D"]


def test_far_positions_go_to_mmcif(tmp_path):
    file = write_topology(tmp_path, dummy_topology(1), torch.tensor([[2000.0, 0.0, 0.0]]), name="far")
    assert file.suffix == ".cif"


def test_plane_model_gets_a_dummy_atom_with_zero_z(tmp_path):
    path = torch.rand(5, 1, 2) * 40
    top = write_topology(tmp_path, dummy_topology(1), path[0], name="plane")
    dcd, pdb = write_path(tmp_path, 0, path, dummy_topology(1), dt_ps=0.1, formats=["dcd", "pdb"])
    read = mdtraj.load(str(dcd), top=str(top))
    np.testing.assert_allclose(read.xyz[..., :2], path.numpy(), rtol=1e-6)
    assert (read.xyz[..., 2] == 0).all()
    assert mdtraj.load_pdb(str(pdb)).n_frames == universe(top, dcd).trajectory.n_frames == 5


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", ["dcd", "pdb"])
def test_non_finite_positions_are_refused(value, kind, alanine, path, tmp_path):
    path[4, 2, 1] = value
    with pytest.raises(OutputError, match=r"path 6: image 4 has a non-finite coordinate \(1 of 7 images have\)"):
        write_path(tmp_path, 6, path, alanine[0], dt_ps=0.001, formats=[kind])
    assert not list(tmp_path.rglob("*.*"))


def test_wrong_topology_is_refused(alanine, path, tmp_path):
    with pytest.raises(OutputError, match="the topology has 1 atoms and the positions have 22"):
        write_path(tmp_path, 0, path, dummy_topology(1), dt_ps=0.001, formats=["pdb"])


def test_positions_are_not_changed_by_writing(alanine, path, tmp_path):
    before = path.clone()
    write_path(tmp_path, 0, path, alanine[0], dt_ps=0.001, formats=["dcd", "pdb"])
    assert torch.equal(path, before)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.integers(1, 6),
    beads=st.integers(1, 5),
    dims=st.integers(1, 3),
    dt=st.floats(1e-6, 100.0),
    seed=st.integers(0, 2**16),
)
def test_round_trip_of_any_shape(images, beads, dims, dt, seed, tmp_path):
    path = 180 * torch.rand(images, beads, dims, generator=torch.Generator().manual_seed(seed)) - 90
    topology = dummy_topology(beads)
    top = write_topology(tmp_path, topology, path[0], name="any")
    dcd, pdb = write_path(tmp_path, 0, path, topology, dt_ps=dt, formats=["dcd", "pdb"])
    for read in (mdtraj.load(str(dcd), top=str(top)), mdtraj.load_pdb(str(pdb), standard_names=False)):
        assert read.xyz.shape == (images, beads, 3)
        np.testing.assert_allclose(read.xyz[..., :dims], path.numpy(), rtol=1e-6, atol=PDB_ROUNDING)
        assert (read.xyz[..., dims:] == 0).all()
    assert universe(top, dcd).trajectory.dt == pytest.approx(dt, rel=1e-6)


def test_dcd_header_states_frames_step_and_version(tmp_path):
    file = tmp_path / "a.dcd"
    write_dcd(file, np.zeros((4, 2, 3)), dt_ps=0.002, title="x" * 100)
    control = struct.unpack_from("<20i", file.read_bytes(), 8)
    assert (control[0], control[2], control[19]) == (4, 1, 24)
    assert struct.unpack_from("<f", file.read_bytes(), 8 + 36)[0] == pytest.approx(0.002 / 0.04888821)
    assert read_dcd(file).shape == (4, 2, 3)


def test_a_damaged_dcd_is_noticed(tmp_path):
    file = tmp_path / "a.dcd"
    write_dcd(file, np.zeros((4, 2, 3)), dt_ps=0.002, title="x")
    data = bytearray(file.read_bytes())
    data[92] ^= 0xFF  # byte count of the title record
    file.write_bytes(data)
    with pytest.raises(OutputError, match="damaged"):
        read_dcd(file)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail():
        with atomic(file) as temporary:
            temporary.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_unwritable_place_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "")


CODES = (
    Atom("CA", "C", "ALA", 99, "H", 12.011),
    Atom("CA", "C", "SER", 100, "H", 12.011),
    Atom("CA", "C", "SER", 100, "H", 12.011, "A"),
    Atom("CA", "C", "SER", 100, "H", 12.011, "B"),
    Atom("CA", "C", "GLY", 101, "H", 12.011),
    Atom("CA", "C", "GLY", 1, "L", 12.011),
)


def coded(**change):
    atoms = (replace(CODES[0], **change), *CODES[1:])
    return Topology(atoms, ((0, 1), (1, 2), (2, 3), (3, 4)))


def identity(atom):
    return atom.chain_id, atom.residue_id, atom.insertion_code, atom.residue_name, atom.name


@pytest.mark.parametrize("change", [{}, {"name": "LONGNAME"}], ids=["pdb", "mmcif"])
def test_insertion_codes_survive_and_are_read_by_three_programs(change, tmp_path):
    import gemmi

    from tpsctl.endpoints import load_structure

    topology, x = coded(**change), torch.arange(18.0).reshape(6, 3) * 0.06
    (file,) = write_path(tmp_path, 0, torch.stack([x, x + 0.1]), topology, dt_ps=0.001, formats=["pdb"])
    assert file.suffix == (".cif" if change else ".pdb")
    expected = [identity(atom) for atom in topology.atoms]
    read = gemmi.read_structure(str(file))
    assert len(read) == 2
    assert [
        (chain.name, residue.seqid.num, residue.seqid.icode.strip(), residue.name, atom.name)
        for chain in read[0]
        for residue in chain
        for atom in residue
    ] == expected
    structure = load_structure(file, frame=1)
    assert [identity(atom) for atom in structure.topology.atoms] == expected
    assert structure.topology.bonds == topology.bonds
    if not change:
        u = universe(file)
        found = zip(u.atoms.chainIDs, u.atoms.resids, u.atoms.icodes, u.atoms.resnames, u.atoms.names, strict=True)
        assert [tuple(map(str, row)) for row in found] == [tuple(map(str, row)) for row in expected]
        assert sorted(tuple(sorted(b)) for b in u.bonds.indices.tolist()) == list(topology.bonds)


def test_a_code_of_two_letters_goes_to_mmcif(tmp_path):
    topology = coded(insertion_code="AA")
    file = write_topology(tmp_path, topology, torch.rand(6, 3), name="codes")
    assert file.suffix == ".cif"


def test_names_that_mean_something_in_cif_are_quoted(tmp_path):
    from tpsctl.endpoints import load_structure

    atoms = (Atom("loop_", "C", "?", 1, "data_", 12.011), Atom("C 1", "C", ".", 2, "", 12.011))
    file = write_topology(tmp_path, Topology(atoms, ()), torch.tensor([[0.0, 0, 0], [0.3, 0, 0]]), name="odd")
    assert file.suffix == ".cif"
    assert [atom.name for atom in load_structure(file).topology.atoms] == ["loop_", "C 1"]
