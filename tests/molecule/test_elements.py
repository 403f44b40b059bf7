"""Elements and masses: equal to those of OpenMM, and told by residue, name and neighbors."""

import pytest

from tpsctl.molecule.elements import MASSES_AMU, Site, find_element, is_amino_acid, symbol_of


def test_masses_are_those_of_openmm():
    from openmm import app, unit

    for symbol, mass in MASSES_AMU.items():
        element = app.Element.getBySymbol(symbol)
        assert mass == element.mass.value_in_unit(unit.dalton), symbol
    assert len(MASSES_AMU) == 93  # hydrogen to uranium, and deuterium


@pytest.mark.parametrize(
    ("residue", "name", "expected"),
    [
        ("ALA", "CA", "C"), ("ALA", "HB1", "H"), ("LYS", "CD", "C"), ("LYS", "NZ", "N"), ("CYS", "SG", "S"),
        ("CYS", "HG", "H"), ("TRP", "NE1", "N"), ("ASN", "ND2", "N"), ("HSD", "CE1", "C"), ("MSE", "SE", "Se"),
        ("ALA", "1HB", "H"), ("NALA", "CA", "C"), ("ACE", "CH3", "C"), ("GLU", "OE1", "O"), ("LEU", "OT1", "O"),
        ("DA", "C1'", "C"), ("DG", "OP1", "O"), ("DC", "H5''", "H"), ("U", "P", "P"), ("ADE", "N9", "N"),
        ("HOH", "O", "O"), ("SOL", "OW", "O"), ("TIP3", "H1", "H"), ("WAT", "HW2", "H"), ("DOD", "D1", "D"),
    ],
)  # fmt: skip
def test_the_residue_tells(residue, name, expected):
    assert find_element(Site(residue, name)) == (expected, "")


@pytest.mark.parametrize(
    ("name", "nearest_nm", "expected"),
    [
        ("C1", 0.14, "C"), ("CL1", 0.174, "Cl"), ("BR2", 0.19, "Br"), ("FE", 0.2, "Fe"), ("SE1", 0.19, "Se"),
        ("SI", 0.187, "Si"), ("CA", 0.15, "C"), ("CA", 0.24, ""), ("NA", 0.137, "N"), ("NA", 0.24, ""),
        ("HG", 0.109, "H"), ("HG", 0.2, ""), ("CO", 0.19, ""), ("MG", 0.21, "Mg"), ("ZN", 0.2, "Zn"),
        ("O2'", 0.14, "O"), ("1H2", 0.1, "H"), ("BB", 0.35, ""), ("SC1", 0.3, ""), ("C1", 0.35, ""), ("QX", 0.1, ""),
    ],
)  # fmt: skip
def test_names_of_a_ligand_need_a_neighbor_where_they_may_be_a_metal(name, nearest_nm, expected):
    found, doubt = find_element(Site("LIG", name, nearest_nm=nearest_nm))
    assert found == expected
    assert bool(doubt) == (not expected)


@pytest.mark.parametrize(
    ("residue", "name", "expected"),
    [("CA", "CA", "Ca"), ("XYZ", "CA", ""), ("ION", "CL", "Cl"), ("NA", "CL", ""), ("SO4", "S", "S"), ("W", "W", ""),
     ("Na+", "Na+", "Na"), ("CLA", "CLA", "Cl"), ("DA", "CA", ""), ("TIP4", "MW", ""), ("HOH", "OM", ""),
     ("HOH", "DOH2", "")],
)  # fmt: skip
def test_an_atom_alone_is_an_ion_only_if_its_residue_says_so(residue, name, expected):
    assert find_element(Site(residue, name, alone=True))[0] == expected


@pytest.mark.parametrize("declared", ["EP", "LP"])
def test_a_site_that_the_file_declares_no_atom_has_no_element(declared):
    found, doubt = find_element(Site("HOH", "O2", declared))
    assert found == ""
    assert doubt == f'is "{declared}" by its element column, a site that is no atom'


def test_the_element_column_is_believed_unless_the_residue_contradicts_it():
    assert find_element(Site("LIG", "CA", "CA")) == ("Ca", "")
    assert find_element(Site("LIG", "X7", "N1+")) == ("N", "")
    assert find_element(Site("ALA", "HA", "D")) == ("D", "")  # a deuterated crystal
    found, doubt = find_element(Site("ALA", "CA", "CA"))
    assert found == ""
    assert doubt == "is Ca by its element column but C by its residue and name"
    assert find_element(Site("ALA", "CA", "X")) == ("C", "")  # X is no element


def test_symbols_and_amino_acids():
    assert [symbol_of(text) for text in ("C", " CL", "O1-", "", "X", "Zn2+")] == ["C", "Cl", "O", "", "", "Zn"]
    assert is_amino_acid("CALA")
    assert not is_amino_acid("XALA")
