"""Files that are right but unusual: deuterium, residues without known bonds, remarks in columns, very many atoms."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tpsctl.endpoints import align, load_structure
from tpsctl.endpoints.connect import bonds_of_records, serial_number
from tpsctl.endpoints.reading import read_structure_file
from tpsctl.errors import EndpointError
from tpsctl.molecule.elements import MASSES_AMU, hydrogen_name
from tpsctl.molecule.neighbors import close_pairs


@pytest.fixture
def c7eq(root):
    return (root / "recipes/alanine_dipeptide/c7eq.pdb").read_text().splitlines()


@pytest.fixture
def atoms(c7eq):
    """The 22 atoms of capped alanine."""
    return [line for line in c7eq if line.startswith(("ATOM", "HETATM"))]


@pytest.fixture
def loaded(tmp_path):
    """Write lines to a file and load it."""

    def load(lines, name="a.pdb", **options):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return load_structure(path, **options)

    return load


def atom_line(serial, name, residue, number, x, element, *, chain="A", kind="HETATM", alternate=" "):
    place = "".join(f"{v:8.3f}" for v in x)
    named = f" {name:<3s}" if len(name) < 4 else name
    head = f"{kind:6s}{serial:5d} {named}{alternate}{residue:>3s} {chain}{number:4d}    {place}"
    return f"{head}  1.00  0.00          {element:>2s}"


# --- deuterium


def deuterated(line):
    """The same atom as deuterium: HB1 becomes DB1, and the element column says D."""
    if line[76:78].strip() != "H":
        return line
    return line[:12] + line[12:16].replace("H", "D", 1) + line[16:76] + " D" + line[78:]


def test_deuterium_is_hydrogen_with_its_own_mass_and_the_bonds_of_hydrogen(atoms, loaded):
    light, heavy = loaded(atoms, "light.pdb"), loaded([deuterated(line) for line in atoms], "heavy.pdb")
    assert {atom.name for atom in heavy.topology.atoms} & {"DA", "DB1", "D"}
    assert heavy.topology.bonds == light.topology.bonds
    assert [a.element for a in heavy.topology.atoms] == [a.element for a in light.topology.atoms]
    masses = {(a.element, a.mass_amu) for a in heavy.topology.atoms if a.element == "H"}
    assert masses == {("H", MASSES_AMU["D"])}
    assert light.notes == ()
    (note,) = heavy.notes
    assert "12 hydrogens are deuterium (element D, first: " in note
    assert "treated as hydrogen (element H) with a mass of 2.0136 amu" in note


@pytest.mark.parametrize(
    ("residue", "name", "expected"),
    [
        ("ALA", "D", "H"), ("ALA", "DA", "HA"), ("VAL", "DG11", "HG11"), ("LEU", "DD21", "HD21"), ("SER", "DG", "HG"),
        ("ARG", "DH11", "HH11"), ("LYS", "DZ1", "HZ1"), ("ALA", "D2", "H2"), ("ALA", "1DB", "1HB"), ("TYR", "DH", "HH"),
        ("DOD", "D1", "H1"), ("DC", "D5''", "H5''"), ("A", "DO2'", "HO2'"), ("ALA", "CB", "CB"), ("LIG", "D1", "D1"),
        ("ALA", "HB1", "HB1"), ("Ala", "DB1", "HB1"),
    ],
)  # fmt: skip
def test_the_hydrogen_of_a_deuterium(residue, name, expected):
    assert hydrogen_name(residue, name) == expected


def test_deuterium_without_an_element_column_is_told_by_its_name(atoms, loaded):
    structure = loaded([deuterated(line)[:66] for line in atoms])
    assert sum(a.mass_amu == MASSES_AMU["D"] for a in structure.topology.atoms) == 12
    assert len(structure.topology.bonds) == 21


def test_heavy_water_is_bonded(loaded):
    rows = [("O", (0, 0, 0), "O"), ("D1", (0.96, 0, 0), "D"), ("D2", (-0.24, 0.93, 0), "D")]
    water = loaded(atom_line(k + 1, name, "DOD", 1, x, e) for k, (name, x, e) in enumerate(rows))
    assert water.topology.bonds == ((0, 1), (0, 2))


@pytest.mark.parametrize("names", [("O1", "H2", "H3"), ("OW1", "HW2", "HW3"), ("O5", "H51", "H52")])
def test_waters_of_which_a_name_is_unknown_have_both_bonds(loaded, names):
    """AMOEBA's water has O1, H2 and H3: the names tell the first bond alone."""
    places = [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)]
    lines = [
        atom_line(3 * n + k + 1, name, "HOH", n + 1, (x, y, z + 3 * n), name[0])
        for n in range(2)
        for k, (name, (x, y, z)) in enumerate(zip(names, places, strict=True))
    ]
    assert loaded(lines).topology.bonds == ((0, 1), (0, 2), (3, 4), (3, 5))


def test_hydrogen_and_deuterium_at_one_site_are_alternates(atoms, loaded):
    """As neutron diffraction finds them: other names at the two locations."""
    (k,) = [k for k, line in enumerate(atoms) if line[12:16].strip() == "HA"]
    both = [atoms[k][:16] + "A" + atoms[k][17:], deuterated(atoms[k])[:16] + "B" + deuterated(atoms[k])[17:]]
    with pytest.raises(EndpointError, match=r"1 atoms have alternate locations \(first: A?:?ALA2:HA at A and B\)"):
        loaded([*atoms[:k], *both, *atoms[k + 1 :]])


# --- residues whose bonds nobody states


def test_selenomethionine_without_connections_has_its_bonds(loaded):
    rows = [
        ("N", (0.0, 0.0, 0.0), "N"), ("CA", (1.46, 0.0, 0.0), "C"), ("C", (2.0, 1.42, 0.0), "C"),
        ("O", (1.25, 2.39, 0.0), "O"), ("CB", (2.0, -0.77, 1.2), "C"), ("CG", (3.52, -0.8, 1.25), "C"),
        ("SE", (4.15, -1.9, 2.7), "Se"), ("CE", (6.05, -1.6, 2.5), "C"),
    ]  # fmt: skip
    structure = loaded(atom_line(k + 1, name, "MSE", 1, x, e.upper()) for k, (name, x, e) in enumerate(rows))
    assert structure.topology.bonds == ((0, 1), (1, 2), (1, 4), (2, 3), (4, 5), (5, 6), (6, 7))
    (note,) = structure.notes
    assert "7 bonds (first in A:MSE1) were found by distance" in note


def ring(number, shift, residue="GLC"):
    """A pyranose ring (C1-C5, O5) with O1 and O4, flat, 1.45 angstrom a side; O4 is where the next C1 binds."""
    corners = [(1.45 * np.cos(k * np.pi / 3) + shift, 1.45 * np.sin(k * np.pi / 3), 0.0) for k in range(6)]
    names = ("C1", "C2", "C3", "C4", "C5", "O5")
    rows = [(name, residue, number, x, name[0]) for name, x in zip(names, corners, strict=True)]
    return [*rows, ("O4", residue, number, (shift - 2.9, 0.0, 0.0), "O")]


def test_sugars_are_joined_by_distance_and_an_ion_beside_them_is_not(loaded):
    rows = [*ring(1, 0.0), *ring(2, -5.8), ("CA", "CA", 3, (2.2, 0.0, 2.1), "CA")]
    structure = loaded(atom_line(k + 1, name, r, n, x, e) for k, (name, r, n, x, e) in enumerate(rows))
    inside = {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (3, 6)}
    assert set(structure.topology.bonds) == {*inside, *((i + 7, j + 7) for i, j in inside), (6, 7)}


@pytest.mark.parametrize("change", [str.title, str.lower])
def test_residue_names_in_any_case_are_read_alike(atoms, loaded, change):
    changed = [line[:17] + change(line[17:20]) + line[20:66] for line in atoms]
    ours, theirs = loaded(changed, "mixed.pdb").topology, loaded(atoms, "capital.pdb").topology
    assert ours.bonds == theirs.bonds
    assert [a.element for a in ours.atoms] == [a.element for a in theirs.atoms]
    assert ours.atoms[8].residue_name == change(theirs.atoms[8].residue_name), "the name stays as it is"


def test_an_unknown_residue_gets_the_bonds_that_its_names_would_give(atoms, loaded):
    """The same atoms as one ligand of unknown name: bonds by distance are those by name."""
    unknown = [f"{line[:17]}LIG A   1{line[26:]}" for line in atoms]
    assert loaded(unknown, "unknown.pdb").topology.bonds == loaded(atoms, "known.pdb").topology.bonds


def test_a_hydrogen_is_bonded_once_and_a_metal_never(loaded):
    rows = [("O1", (0, 0, 0), "O"), ("H1", (1.0, 0, 0), "H"), ("C2", (2.05, 0, 0), "C"), ("ZN1", (0, 1.8, 0), "ZN")]
    structure = loaded(atom_line(k + 1, name, "LIG", 1, x, e) for k, (name, x, e) in enumerate(rows))
    assert structure.topology.bonds == ((0, 1),)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.pdb", "Add CONECT records."),
        ("a.cif", "State them in the tables struct_conn or chem_comp_bond of the file."),
        ("a.gro", "GRO holds no bonds: write the structure as PDB with CONECT records."),
    ],
)
def test_the_advice_about_bonds_fits_the_format(tmp_path, name, advice):
    rows = [("C1", "C", (0.0, 0.0, 0.0)), ("C2", "C", (1.5, 0.0, 0.0)), ("C3", "C", (0.75, 1.3, 0.0))]
    path = tmp_path / name
    if name.endswith("pdb"):
        text = "\n".join(atom_line(k + 1, n, "LIG", 1, x, e) for k, (n, e, x) in enumerate(rows))
    elif name.endswith("cif"):
        columns = (
            "id type_symbol label_atom_id label_comp_id label_asym_id label_seq_id Cartn_x Cartn_y Cartn_z".split()
        )
        head = "\n".join(["data_x", "loop_", *(f"_atom_site.{column}" for column in columns)])
        body = [f"{k} {e} {n} LIG A 1 {x[0]} {x[1]} {x[2]}" for k, (n, e, x) in enumerate(rows)]
        text = "\n".join([head, *body])
    else:
        lines = [f"    1LIG  {n:>5s}{k:5d}" + "".join(f"{v / 10:8.3f}" for v in x) for k, (n, _, x) in enumerate(rows)]
        text = "\n".join(["title", f"{len(rows):5d}", *lines, "   5.0   5.0   5.0"])
    path.write_text(text + "\n")
    structure = load_structure(path)
    assert structure.topology.bonds == ((0, 1), (0, 2), (1, 2))
    assert structure.notes[0].endswith(advice)


def test_atoms_of_one_name_are_still_refused_where_the_others_have_bonds(atoms, loaded):
    """A second HB1 in alanine is a mistake, which a bond by distance would hide."""
    twice = [line.replace(" HB2 ", " HB1 ") for line in atoms]
    other = [line[:30] + f"{float(line[30:38]) + 0.05 * k:8.3f}" + line[38:] for k, line in enumerate(twice)]
    structure = loaded(twice, "a.pdb")
    assert [len(n) for a, n in zip(structure.topology.atoms, structure.topology.neighbors, strict=True)
            if a.name == "HB1"].count(0) == 1  # fmt: skip
    with pytest.raises(EndpointError, match="2 atoms are named .*ALA2:HB1"):
        align(structure, loaded(other, "b.pdb"))


# --- columns


def test_remarks_in_the_columns_of_the_segment_do_not_split_a_residue(atoms, loaded):
    """Old files count their lines in columns 73 to 80."""
    bare = [line[:66] for line in atoms]
    counted = [f"{line:72s}{k:04d}" for k, line in enumerate(bare)]
    no_chain = [line[:21] + " " + line[22:] for line in counted]
    expected = loaded(bare, "bare.pdb").topology
    assert loaded(counted, "counted.pdb").topology == expected
    assert loaded(no_chain, "no_chain.pdb").topology.bonds == expected.bonds


def test_segments_still_separate_equal_residues(loaded):
    """CHARMM: waters of two segments have the same number, name and (no) chain."""
    rows = [("O", (0, 0, 0)), ("H1", (0.96, 0, 0)), ("H2", (-0.24, 0.93, 0))]
    lines = []
    for k, segment in enumerate(("WATA", "WATB")):
        for name, (x, y, z) in rows:
            line = atom_line(len(lines) + 1, name, "HOH", 1, (x + 5 * k, y, z), name[0], chain=" ")
            lines.append(f"{line[:72]}{segment}{line[76:]}")
    assert loaded(lines).topology.bonds == ((0, 1), (0, 2), (3, 4), (3, 5))


# --- serial numbers


@pytest.mark.parametrize(
    ("line", "serial"),
    [
        ("ATOM      1  CA  ALA A   1", "1"), ("ATOM  99999  CA  ALA A   1", "99999"),
        ("ATOM  100000 CA  ALA A   1", "100000"), ("ATOM 100000  CA  ALA A   1", "100000"),
        ("HETATM100000 CA  ALA A   1", "100000"), ("HETATM99999  CA  ALA A   1", "99999"),
        ("ATOM  A0000  CA  ALA A   1", "A0000"), ("ATOM  *****  CA ", "*****"),
    ],
)  # fmt: skip
def test_serial_numbers(line, serial):
    assert serial_number(line) == serial


def serials_from(first, count):
    return [f"ATOM  {first + k:5d} {'' if first + k > 99_999 else ' '}CA  ALA" for k in range(count)]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["CONECT9999899999100000"], [(0, 1), (0, 2)]),  # 99998: 99999, 100000
        (["CONECT100000100001"], [(2, 3)]),
        (["CONECT100001999989999910000010000"], []),  # 10000 is no atom: no division fits, and nothing is guessed
        (["CONECT100001 99998"], [(0, 3)]),
        (["CONECT1000019999899999100000100002"], [(0, 3), (1, 3), (2, 3), (3, 4)]),
    ],
)
def test_connections_with_six_digits(records, expected):
    found, notes = bonds_of_records(Path("x.pdb"), records, serials_from(99_998, 5))
    assert list(found) == expected
    assert notes == ()


def test_a_record_that_can_be_divided_in_two_ways_is_left_out_with_a_note():
    """100001 and 00002, or 10000 and 100002: both are atoms."""
    lines = [
        f"ATOM  {serial}" + ("" if len(serial) == 6 else " ") + " CA"
        for serial in ("100001", "00002", "10000", "100002")
    ]
    found, notes = bonds_of_records(Path("x.pdb"), ["CONECT10000100002"], lines)
    assert found == ()
    assert "1 bonds of CONECT records are left out, because their serial numbers name several atoms" in notes[0]


def test_connections_in_hybrid_36_and_an_overflow():
    hybrid = [f"ATOM  {serial}  CA  ALA" for serial in ("99999", "A0000", "A0001", "a0001")]
    assert bonds_of_records(Path("x.pdb"), ["CONECT99999A0000", "CONECTA0001A0000a0001"], hybrid)[0] == (
        (0, 1),
        (1, 2),
        (2, 3),
    )
    stars = [f"ATOM  {serial}  CA  ALA" for serial in ("99999", "*****", "*****")]
    found, notes = bonds_of_records(Path("x.pdb"), ["CONECT99999*****"], stars)
    assert found == ()
    assert "are left out" in notes[0]


# --- atoms that nearly coincide


@pytest.mark.parametrize(("apart", "refused"), [(0.02, True), (0.29, True), (0.31, False), (1.0, False)])
def test_atoms_of_two_molecules_that_nearly_coincide_are_refused(loaded, apart, refused):
    """Distances in angstrom; less than 0.3 between nuclei does not exist."""
    rows = [("O", (0, 0, 0)), ("H1", (0.96, 0, 0)), ("H2", (-0.24, 0.93, 0))]
    lines = []
    for number, z in ((1, 0.0), (2, apart)):
        for name, (x, y, _) in rows:
            lines.append(atom_line(len(lines) + 1, name, "HOH", number, (x, y, z), name[0]))
    if not refused:
        assert loaded(lines).topology.n_atoms == 6
        return
    message = (
        r"atoms A:HOH1:O and A:HOH2:O are 0.0\d+ nm apart \(3 such pairs\), expected at least 0.03 nm. Mend the file"
    )
    with pytest.raises(EndpointError, match=message):
        loaded(lines)


def test_close_pairs_are_those_of_all_distances():
    generator = np.random.default_rng(1)
    for count in (0, 1, 2, 50, 400):
        x = generator.normal(size=(count, 3)) * [1.0, 3.0, 0.1]
        apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
        expected = [(i, j) for i in range(count) for j in range(i + 1, count) if apart[i, j] <= 0.4]
        assert [tuple(pair) for pair in close_pairs(x, 0.4).tolist()] == expected


def test_close_pairs_of_points_very_far_apart():
    x = np.array([[0.0, 0.0, 0.0], [1e300, 0.0, 0.0], [0.01, 0.0, 0.0], [1e300, 0.0, 0.005]])
    assert close_pairs(x, 0.03).tolist() == [[0, 2], [1, 3]]


# --- coarse-grained beads


def martini(names):
    return [
        atom_line(k + 1, name, "LEU", k // 2 + 1, (4.0 * k, 0.0, 0.0), "", kind="ATOM")[:66]
        for k, name in enumerate(names)
    ]


def test_beads_that_are_no_atoms_are_refused_where_they_are_selected(loaded):
    lines = martini(["BB", "SC1", "BB", "SC1"])
    with pytest.raises(
        EndpointError, match=r"A:LEU1:BB is a coarse-grained bead and no atom \(.* 0.40 nm away\).*\(4 such atoms\)"
    ) as caught:
        loaded(lines)
    assert "\n" not in str(caught.value)
    lines[0] = lines[0].replace("BB ", "CA ")
    assert loaded(lines, select="name CA").topology.n_atoms == 1


def test_bonds_by_distance_are_marked_as_such(atoms, tmp_path):
    (tmp_path / "a.pdb").write_text("\n".join(f"{line[:17]}LIG A   1{line[26:]}" for line in atoms) + "\n")
    raw = read_structure_file(tmp_path / "a.pdb")
    assert raw.measured == frozenset(raw.bonds)
    assert len(raw.measured) == 21
    assert torch.isfinite(torch.from_numpy(raw.frames)).all()
    assert re.fullmatch(r"LIG x1", raw.composition)
