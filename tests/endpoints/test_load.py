"""Loading: names as given, every format, and one clear message per fault."""

import gzip
import re

import mdtraj
import numpy as np
import pytest
import torch

from tpsctl.endpoints import load_path, load_structure
from tpsctl.endpoints.load import load_ensemble
from tpsctl.errors import EndpointError
from tpsctl.molecule.beads import BeadKind, kind_of_beads


@pytest.fixture
def c7eq(root):
    return root / "recipes/alanine_dipeptide/c7eq.pdb"


@pytest.fixture
def lines(c7eq):
    return c7eq.read_text().splitlines()


@pytest.fixture
def written(tmp_path):
    """Write lines to a file in the test's folder."""

    def write(lines, name="changed.pdb"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def edited(lines, atom_name, change):
    """Lines with one ATOM line, found by its name, changed."""
    return [
        change(line) if line[:6] in ("ATOM  ", "HETATM") and line[12:16].strip() == atom_name else line
        for line in lines
    ]


def test_pdb_gives_names_chain_masses_bonds_and_float64_positions(c7eq):
    structure = load_structure(c7eq)
    topology = structure.topology
    assert topology.n_atoms == 22
    assert len(topology.bonds) == 21  # a tree of 22 atoms
    assert {a.residue_name for a in topology.atoms} == {"ACE", "ALA", "NME"}
    assert sum(topology.masses_amu) == pytest.approx(144.17, abs=0.02)  # C6H12N2O2
    assert structure.x.dtype == torch.float64
    first = next(line for line in c7eq.read_text().splitlines() if line.startswith(("ATOM", "HETATM")))
    assert torch.equal(structure.x[0], torch.tensor([float(first[i : i + 8]) for i in (30, 38, 46)]) * 0.1)
    assert structure.notes == ()


def test_names_stay_as_given_though_bonds_come_from_standard_names(lines, written):
    """HN and HSE-like names are not replaced, and the amide hydrogen still has its bond."""
    renamed = [line[:12] + " HN  " + line[17:] if line[12:16] == " H  " and "ALA" in line else line for line in lines]
    renamed = [line for line in renamed if not line.startswith("CONECT")]
    structure = load_structure(written(renamed))
    names = [a.name for a in structure.topology.atoms]
    assert "HN" in names
    assert len(structure.topology.neighbors[names.index("HN")]) == 1


@pytest.mark.parametrize(("extension", "tolerance"), [("gro", 5.1e-4), ("cif", 1e-6)])  # GRO has 3 decimals of a nm
def test_other_formats_give_the_same_molecule(c7eq, tmp_path, extension, tolerance):
    path = tmp_path / f"c7eq.{extension}"
    mdtraj.load(str(c7eq)).save(str(path))
    expected, structure = load_structure(c7eq), load_structure(path)
    assert [a.name for a in structure.topology.atoms] == [a.name for a in expected.topology.atoms]
    assert structure.topology.bonds == expected.topology.bonds
    assert float((structure.x - expected.x).abs().max()) < tolerance


def test_compressed_pdb_is_read(c7eq, tmp_path):
    path = tmp_path / "c7eq.pdb.gz"
    path.write_bytes(gzip.compress(c7eq.read_bytes()))
    assert torch.equal(load_structure(path).x, load_structure(c7eq).x)


@pytest.mark.parametrize("extension", ["dcd", "xtc"])
def test_frame_of_a_trajectory(c7eq, tmp_path, extension):
    trajectory = mdtraj.load(str(c7eq))
    trajectory.xyz = np.concatenate([trajectory.xyz, trajectory.xyz + 0.5])
    trajectory.time = np.arange(2.0)
    path = tmp_path / f"md.{extension}"
    trajectory.save(str(path))
    first, second = (load_structure(path, topology=c7eq, frame=k) for k in (0, 1))
    assert second.source == f"{path} frame 1"
    # XTC keeps 3 decimals of a nm
    assert torch.allclose(second.x - first.x, torch.full_like(first.x, 0.5), atol=1.1e-3)
    assert len(load_path(path, topology=c7eq)) == 2
    with pytest.raises(EndpointError, match=r"frame 2 is out of range; there are 2 frames \(0 to 1\)"):
        load_structure(path, topology=c7eq, frame=2)
    with pytest.raises(EndpointError, match=r"has 2 models or frames, expected one. Choose one with frame: 0 to 1"):
        load_structure(path, topology=c7eq)


def test_ensemble_names_the_broken_frame(c7eq, tmp_path):
    trajectory = mdtraj.load(str(c7eq))
    trajectory.xyz = np.concatenate([trajectory.xyz] * 3)
    trajectory.xyz[1, 3] += 2.0
    trajectory.time = np.arange(3.0)
    path = tmp_path / "md.dcd"
    trajectory.save(str(path))
    with pytest.raises(EndpointError, match=r"md.dcd frame 1: bond .* is 3.* nm long, expected at most 0.35 nm"):
        load_ensemble([path], topology=c7eq)


def test_alpha_carbons_are_bonded_along_the_chain(root):
    path = root / "tests/endpoints/data/peptide_a.pdb"
    structure = load_structure(path, select="name CA")
    assert [a.residue_name for a in structure.topology.atoms] == ["VAL", "PHE", "ASP", "LYS"]
    assert structure.topology.bonds == ((0, 1), (1, 2), (2, 3))
    assert kind_of_beads(structure.topology) is BeadKind.ALPHA_CARBONS


def test_chain_break_leaves_alpha_carbons_unbonded(root):
    path = root / "tests/endpoints/data/peptide_a.pdb"
    structure = load_structure(path, select="name CA and not resname PHE")
    assert structure.topology.bonds == ((1, 2),)


def test_disulfide_is_found_in_a_pdb_without_conect(written):
    """MDTraj compares angstroms with a limit in nm and finds none."""
    atoms = [("CB", 1, 0.0), ("SG", 1, 1.8), ("SG", 5, 3.85), ("CB", 5, 5.65)]
    line = "ATOM  {:5d}  {:<3s} CYS A{:4d}    {:8.3f}   0.000   0.000  1.00  0.00           {}"
    found = load_structure(written(line.format(k + 1, name, n, x, name[0]) for k, (name, n, x) in enumerate(atoms)))
    assert (1, 2) in found.topology.bonds


def test_atom_without_known_bonds_is_told(lines, written):
    ligand = [line.replace("ALA", "LIG") for line in lines if line.startswith(("ATOM", "HETATM"))]
    ligand[-1:] = [ligand[-1], "HETATM   23 ZN   LIG A   2      10.000  10.000  12.000  1.00  0.00          ZN"]
    (_, note) = load_structure(written(ligand)).notes
    assert "no bonds are known for 1 of" in note
    assert "LIG2" in note
    assert note.endswith("Add CONECT records.")


def test_missing_file():
    with pytest.raises(EndpointError, match=r"nowhere.pdb: no such file"):
        load_structure("nowhere.pdb")


def test_unreadable_file(written):
    with pytest.raises(
        EndpointError, match=r"broken.pdb:1: cannot be read: columns 31 to 54 do not hold three coordinates"
    ):
        load_structure(written(["ATOM      1  CA  ALA A   1      xx.xxx  0.0"], "broken.pdb"))


def test_unknown_format(written):
    with pytest.raises(EndpointError, match=r"notes.txt: cannot be read"):
        load_structure(written(["hello"], "notes.txt"))


@pytest.mark.parametrize("name", ["a.xyz", "a.sdf", "a.mol2.gz", "a.dcd", "bare"])
def test_a_format_without_names_is_told_what_to_write_instead(written, name):
    with pytest.raises(EndpointError, match=r"is the extension of no format that names atoms .*Write the structure as"):
        load_structure(written(["hello"], name))


def test_file_without_atoms(written):
    with pytest.raises(EndpointError, match=r"empty.pdb: (cannot be read|holds no atoms)"):
        load_structure(written(["REMARK nothing here", "END"], "empty.pdb"))


def test_nan_position(lines, written):
    path = written(edited(lines, "CB", lambda line: line[:30] + "     nan" + line[38:]))
    with pytest.raises(EndpointError, match=r"1 of 22 atoms have no finite position \(first: A:ALA2:CB at \(nan"):
        load_structure(path)


def test_alternate_locations(lines, written):
    double = []
    for line in lines:
        if line[12:16] == " CB ":
            double += [line[:16] + "A" + line[17:], line[:16] + "B" + line[17:]]
        else:
            double.append(line)
    with pytest.raises(EndpointError, match=r"1 atoms have alternate locations \(first: A:ALA2:CB at A and B\)"):
        load_structure(written(double))


def test_alternate_locations_in_mmcif(c7eq, tmp_path):
    path = tmp_path / "alt.cif"
    mdtraj.load(str(c7eq)).save(str(path))
    text = path.read_text().splitlines()
    columns = [line.split(".")[1].strip() for line in text if line.startswith("_atom_site.")]
    k = columns.index("label_alt_id")
    changed = []
    for line in text:
        fields = line.split()
        if line.startswith(("ATOM", "HETATM")) and "CB" in fields:
            changed += [" ".join([*fields[:k], alt, *fields[k + 1 :]]) for alt in "AB"]
        else:
            changed.append(line)
    path.write_text("\n".join(changed) + "\n")
    with pytest.raises(EndpointError, match=r"alternate locations \(first: A:ALA2:CB at A and B\)"):
        load_structure(path)


def test_several_models(lines, written):
    atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
    path = written(["MODEL        1", *atoms, "ENDMDL", "MODEL        2", *atoms, "ENDMDL", "END"])
    with pytest.raises(EndpointError, match=r"has 2 models or frames, expected one. Choose one with frame: 0 to 1"):
        load_structure(path)
    assert load_structure(path, frame=-1).source == f"{path} frame 1"


def test_empty_selection(c7eq):
    message = r'endpoints.select: "name QQ" selects none of the 22 atoms of .*c7eq.pdb \(atom names there: C, CA, CB'
    with pytest.raises(EndpointError, match=message):
        load_structure(c7eq, select="name QQ")


def test_unreadable_selection(c7eq):
    with pytest.raises(EndpointError, match=r'endpoints.select: cannot read "nam CA"'):
        load_structure(c7eq, select="nam CA")


def test_topology_and_trajectory_of_different_molecules(c7eq, root, tmp_path):
    path = tmp_path / "md.dcd"
    mdtraj.load(str(c7eq)).save(str(path))
    message = r"md.dcd has 22 atoms per frame but .*peptide_a.pdb has 82 \(ACE x1, VAL x1, PHE x1, ASP x1, ...\)"
    with pytest.raises(EndpointError, match=message):
        load_structure(path, topology=root / "tests/endpoints/data/peptide_a.pdb", frame=0)


def test_molecule_cut_by_a_box(lines, written):
    path = written(edited(lines, "CB", lambda line: line[:30] + "  40.000" + line[38:]))
    with pytest.raises(EndpointError, match=r"is \d\.\d+ nm long, expected at most 0.35 nm. The molecule is cut by a"):
        load_structure(path)


def test_coinciding_atoms(lines, written):
    place = next(line for line in lines if line[12:16] == " CA ")[30:54]
    path = written(edited(lines, "CB", lambda line: line[:30] + place + line[54:]))
    with pytest.raises(EndpointError, match=r"A:ALA2:CA and A:ALA2:CB are at the same place"):
        load_structure(path)


def test_atom_without_element(lines, written):
    path = written(edited(lines, "CB", lambda line: line[:12] + " QX " + line[16:76] + "  "))
    with pytest.raises(EndpointError, match=re.escape("ALA2:QX has no element, and its residue and name do not tell")):
        load_structure(path)


def test_path_needs_two_frames(c7eq):
    with pytest.raises(EndpointError, match="has 1 frame, expected at least 2 for a path"):
        load_path(c7eq)


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        (["9998", "9999", "A000", "A001"], [9998, 9999, 10000, 10001]),  # hybrid-36
        (["9999", "2710", "271a"], None),  # no hexadecimal count: the last does not follow
        (["2709", "2710", "2711"], [2709, 2710, 2711]),
        ([" -12", "   0"], [-12, 0]),
        (["9999 ", "10000", "10001"], [9999, 10000, 10001]),
    ],
)
def test_residue_numbers_beyond_four_columns(written, fields, numbers):
    line = "HETATM{:5d}  O   HOH A{:<5s}   {:8.3f}   0.000   0.000  1.00  0.00           O"
    path = written(line.format(k + 1, field, 3.0 * k) for k, field in enumerate(fields))
    if numbers is None:
        with pytest.raises(EndpointError, match=r'"271a" in columns 23 to 26 is no residue number'):
            load_structure(path)
        return
    assert [atom.residue_id for atom in load_structure(path).topology.atoms] == numbers


def test_hexadecimal_residue_numbers_of_vmd(written):
    line = "HETATM{:5d}  O   HOH A{:>4s}    {:8.3f}   0.000   0.000  1.00  0.00           O"
    fields = ["9998", "9999", *(f"{n:x}" for n in range(10000, 10040))]
    path = written(line.format(k + 1, field, 3.0 * k) for k, field in enumerate(fields))
    assert [atom.residue_id for atom in load_structure(path).topology.atoms] == list(range(9998, 10040))


def test_a_long_serial_number_that_shifts_the_columns_is_refused(written):
    line = "HETATM100000  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O"
    with pytest.raises(EndpointError, match=r"changed.pdb:1: cannot be read"):
        load_structure(written([line]))
    kept = "HETATM100000 O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O"
    assert load_structure(written([kept])).topology.n_atoms == 1


def test_residues_joined_by_a_stated_bond_are_not_joined_by_number(written):
    """D-glutamate linked by its side chain: C and N of consecutive residues are 0.42 nm apart, and not bonded."""
    line = "ATOM  {:5d}  {:<3s} {} A{:4d}    {:8.3f}   0.000   0.000  1.00  0.00           {}"
    rows = [("N", "DGL", 1, -2.4), ("CA", "DGL", 1, -1.2), ("C", "DGL", 1, 0.0), ("CD", "DGL", 1, 2.9)]
    rows += [("N", "LYS", 2, 4.2), ("CA", "LYS", 2, 5.6), ("C", "LYS", 2, 7.1)]
    atoms = [line.format(k + 1, name, r, i, x, name[0]) for k, (name, r, i, x) in enumerate(rows)]
    bonds = load_structure(written([*atoms, "CONECT    4    5"])).topology.bonds
    assert (3, 4) in bonds
    assert (2, 4) not in bonds
    with pytest.raises(EndpointError, match=r"bond A:DGL1:C - A:LYS2:N is 0.420 nm long"):
        load_structure(written(atoms))


@pytest.mark.parametrize("change", [str.lower, lambda line: f" {line}"])
def test_an_atom_in_small_letters_or_indented_is_not_left_out(lines, written, change):
    with pytest.raises(EndpointError, match=r"changed.pdb:\d+: .*an atom has ATOM or HETATM in capitals from column 1"):
        load_structure(written(edited(lines, "CB", change)))


def test_a_coordinate_that_is_cut_off_is_refused(c7eq, lines, written, tmp_path):
    for end in (50, 52, 53):
        atoms = edited(lines, "CB", lambda line, end=end: line[:end])
        with pytest.raises(EndpointError, match=r"the line ends before column 54|three coordinates"):
            load_structure(written(atoms))
    path = tmp_path / "cut.gro"
    mdtraj.load(str(c7eq)).save(str(path))
    atoms = path.read_text().splitlines()[:-1]
    with pytest.raises(EndpointError, match=r"cut.gro:24: .*holds no three coordinates"):
        load_structure(written([*atoms[:-1], atoms[-1][:-1]], "cut.gro"))


def test_a_ter_inside_a_residue_is_refused_and_one_between_equal_residues_is_not(lines, written):
    at = next(i for i, line in enumerate(lines) if line[12:16] == " CB ")
    with pytest.raises(EndpointError, match=r"a TER before this line cuts its residue in two; move or delete it"):
        load_structure(written([*lines[:at], "TER", *lines[at:]]))
    water = [
        f"HETATM    {k + 1}  {name:<3s} HOH A   1    {x:8.3f}{y:8.3f}   0.000  1.00  0.00           {name[0]}"
        for k, (name, x, y) in enumerate([("O", 0.0, 0.0), ("H1", 0.96, 0.0), ("H2", -0.24, 0.93)])
    ]
    other = [f"{line[:46]}   9.000{line[54:]}" for line in water]
    assert load_structure(written([*water, "TER", *other])).topology.bonds == ((0, 1), (0, 2), (3, 4), (3, 5))


def test_atoms_at_one_place_are_refused_without_a_bond_too(lines, written):
    atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
    with pytest.raises(EndpointError, match=r"are at the same place, and 22 places hold 44 atoms"):
        load_structure(written([*atoms, "TER", *atoms]))


def test_models_of_mmcif_with_other_residues_are_refused(written):
    columns = "group_PDB id type_symbol label_atom_id label_comp_id label_asym_id auth_seq_id Cartn_x Cartn_y Cartn_z"
    head = ["data_x", "loop_", *(f"_atom_site.{name}" for name in f"{columns} pdbx_PDB_model_num".split())]
    row = "HETATM {} O O HOH A {} {} 0 0 {}"
    waters = [(1, 1, 0, 1), (2, 2, 3, 1), (3, 2, 3, 2), (4, 1, 0, 2)]
    path = written([*head, *(row.format(*water) for water in waters)], "two.cif")
    with pytest.raises(EndpointError, match=r"different atoms \(2 and 2; first: A:HOH1:O and A:HOH2:O\)"):
        load_structure(path, frame=1)


def test_a_cif_of_a_crystal_is_told_from_mmcif(written):
    names = [f"_atom_site_{name}" for name in ("label", "fract_x", "fract_y", "fract_z")]
    with pytest.raises(EndpointError, match=r"is a CIF file of a crystal, with fractional coordinates"):
        load_structure(written(["data_x", "loop_", *names, "C1 0.1 0.2 0.3"], "crystal.cif"))
