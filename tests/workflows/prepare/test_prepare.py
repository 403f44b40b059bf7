"""`tpsctl prepare`: every kind of fault is mended and listed, what cannot be mended is refused."""

from pathlib import Path

import numpy as np
import pdbfixer
import pytest

from tpsctl.endpoints import load_structure
from tpsctl.errors import EndpointError, OutputError, RecipeError
from tpsctl.workflows.prepare.run import PrepareOptions, prepare_structure

TEMPLATES = Path(pdbfixer.__file__).parent / "templates"


@pytest.fixture
def peptide(root):
    """Lines of the atoms of a complete capped peptide of six residues."""
    return atoms((root / "tests/endpoints/data/peptide_a.pdb").read_text())


@pytest.fixture
def prepare(tmp_path):
    """Prepares these lines; the facts, and the file that was written."""

    def call(lines, name="out.pdb", **options):
        (tmp_path / "in.pdb").write_text("\n".join([*lines, "END", ""]))
        facts = prepare_structure(tmp_path / "in.pdb", tmp_path / name, PrepareOptions(**options))
        return facts, tmp_path / name

    return call


def atoms(text):
    return [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]


def name_of(line):
    return line[12:16].strip()


def changes(facts, residue):
    return [change["change"] for change in facts["changes"] if change["residue"] == residue]


def template(name, *, chain="A", x=None):
    """Lines of the heavy atoms of a residue as PDBFixer ships it, without the atoms of charged ends."""
    lines = [
        line for line in (TEMPLATES / f"{name}.pdb").read_text().splitlines() if line.startswith(("ATOM", "HETATM"))
    ]
    lines = [line for line in lines if line[76:78].strip() != "H" and name_of(line) not in ("OXT",)]
    x = positions(lines) if x is None else x
    return [
        placed(f"ATOM  {line[6:17]}{name} {chain}   1    {line[30:]}", at) for line, at in zip(lines, x, strict=True)
    ]


def placed(line, x):
    return line[:30] + "".join(f"{value:8.3f}" for value in x) + line[54:]


def positions(lines):
    return np.array([[float(line[i : i + 8]) for i in (30, 38, 46)] for line in lines])


def test_a_complete_structure_stays_as_it_is(peptide, prepare):
    facts, file = prepare(peptide)
    assert facts["changes"] == []
    assert facts["force_field"] == "amber14-all.xml fits"
    written = atoms(file.read_text())
    np.testing.assert_array_equal(positions(written), positions(peptide))


def test_lost_side_chain_and_hydrogens_come_back(peptide, prepare):
    first = next(line for line in peptide if name_of(line) == "CB")
    residue, name = int(first[22:26]), first[17:20].strip()
    kept = [
        line
        for line in peptide
        if line[76:78].strip() != "H" and (int(line[22:26]) != residue or name_of(line) in ("N", "CA", "C", "O"))
    ]
    facts, file = prepare(kept)
    before, after = {line[12:27] for line in peptide}, load_structure(file).topology
    assert after.n_atoms == len(before)
    assert any(
        text.startswith("added the missing CB") for text in changes(facts, f"{first[21].strip()}:{name}{residue}")
    )
    assert facts["force_field"] == "amber14-all.xml fits"
    again = atoms(file.read_text())
    places = {line[12:27]: x for line, x in zip(again, positions(again), strict=True)}
    # whatever the file had is where it was
    np.testing.assert_array_equal([places[line[12:27]] for line in kept], positions(kept))


def test_the_result_is_the_same_each_time(peptide, prepare):
    heavy = [line for line in peptide if line[76:78].strip() != "H"]
    texts = [prepare(heavy, name)[1].read_text() for name in ("one.pdb", "two.pdb")]
    assert texts[0] == texts[1]


def test_the_location_of_the_larger_occupancy_stays(peptide, prepare):
    """Two neighbors have alternates; B wins in sum, though A wins in one of them, and both take B."""
    lines = []
    for line in peptide:
        number = int(line[22:26])
        if number in (2, 3) and name_of(line) == "CB":
            first, second = (0.55, 0.45) if number == 2 else (0.2, 0.8)
            moved = placed(line, positions([line])[0] + 0.01)
            lines += [
                f"{line[:16]}A{line[17:54]}{first:6.2f}{line[60:]}",
                f"{moved[:16]}B{moved[17:54]}{second:6.2f}{moved[60:]}",
            ]
        else:
            lines.append(line)
    assert len(lines) == len(peptide) + 2
    facts, file = prepare(lines)
    listed = [change["change"] for change in facts["changes"]]
    assert listed == ["kept location B of CB, removed A"] * 2
    written = atoms(file.read_text())
    moved = [np.abs(positions([a]) - positions([b])).max() for a, b in zip(written, peptide, strict=True)]
    assert sorted(np.nonzero(moved)[0]) == [
        k for k, line in enumerate(peptide) if name_of(line) == "CB" and int(line[22:26]) in (2, 3)
    ]


@pytest.mark.parametrize(("ph", "variant", "hydrogens"), [(4.0, "HIP", {"HD1", "HE2"}), (9.0, None, {"HE2"})])
def test_the_ph_decides_the_hydrogens(prepare, ph, variant, hydrogens):
    facts, file = prepare(template("HIS"), ph=ph, caps=True)
    names = {atom.name for atom in load_structure(file).topology.atoms if atom.residue_name == "HIS"}
    if variant:
        assert facts["protonation"]["A:HIS1"] == variant
        assert hydrogens <= names
    else:
        assert facts["protonation"]["A:HIS1"] in ("HID", "HIE")
        assert len({"HD1", "HE2"} & names) == 1
    assert facts["force_field"] == "amber14-all.xml fits"


def test_caps_take_the_place_of_charged_ends(prepare):
    facts, file = prepare(template("ALA"), "charged.pdb")
    assert [atom.name for atom in load_structure(file).topology.atoms].count("OXT") == 1
    charged = atoms(file.read_text())
    facts, file = prepare(charged, "capped.pdb", caps=True)
    residues = list(dict.fromkeys(atom.residue_name for atom in load_structure(file).topology.atoms))
    assert residues == ["ACE", "ALA", "NME"]
    assert (
        changes(facts, "A:ALA1")[:2]
        == [
            "removed H2, H3 to make room for a cap",
            "removed OXT to make room for a cap",
        ]
        or "to make room for a cap" in changes(facts, "A:ALA1")[0]
    )
    assert facts["atoms"] == 22
    assert facts["force_field"] == "amber14-all.xml fits"


def test_near_cysteines_are_bonded(prepare):
    one = template("CYS")
    x = positions(one)
    names = [name_of(line) for line in one]
    cb, sg = x[names.index("CB")], x[names.index("SG")]
    along = (sg - cb) / np.linalg.norm(sg - cb)
    across = np.cross(along, [1.0, 0.3, 0.2])
    across /= np.linalg.norm(across)
    center = sg + 1.025 * along  # half of 2.05 angstrom
    turned = center + 2 * np.outer((x - center) @ across, across) - (x - center)  # by 180 degrees about `across`
    facts, file = prepare([*one, "TER", *template("CYS", chain="B", x=turned)], caps=True)
    assert facts["disulfides"] == [["A:CYS1", "B:CYS1"]]
    topology = load_structure(file).topology
    assert not any(atom.name == "HG" for atom in topology.atoms)
    assert any({topology.atoms[i].name, topology.atoms[j].name} == {"SG"} for i, j in topology.bonds)
    assert facts["force_field"] == "amber14-all.xml fits"


SOLVENT = [
    "HETATM  900  O   HOH A 201      30.000  30.000  30.000  1.00  0.00           O",
    "HETATM  901 NA    NA A 202      35.000  30.000  30.000  1.00  0.00          NA",
]


@pytest.mark.parametrize(
    ("options", "left"),
    [({}, {"HOH", "NA"}), ({"remove_water": True}, {"NA"}), ({"remove_water": True, "remove_ions": True}, set())],
)
def test_solvent_goes_only_on_request(peptide, prepare, options, left):
    facts, file = prepare([*peptide, "TER", *SOLVENT], **options)
    names = {atom.residue_name for atom in load_structure(file).topology.atoms}
    assert names & {"HOH", "NA"} == left
    removed = {change["residue"] for change in facts["changes"] if change["change"] == "removed"}
    assert removed == {{"HOH": "A:HOH201", "NA": "A:NA202"}[name] for name in {"HOH", "NA"} - left}


def test_a_written_mmcif_is_read_again(peptide, prepare):
    _, file = prepare(peptide, "out.cif")
    assert load_structure(file).topology.n_atoms == len(peptide)


def test_nothing_is_overwritten(peptide, prepare, tmp_path):
    (tmp_path / "out.pdb").write_text("precious")
    with pytest.raises(OutputError, match="exists already; nothing was changed"):
        prepare(peptide)
    assert (tmp_path / "out.pdb").read_text() == "precious"
    with pytest.raises(RecipeError, match="unknown suffix. Expected .pdb or .cif"):
        prepare(peptide, "out.xyz")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [line for line in lines if name_of(line) == "CA"], r"lacks N, C of its backbone"),
        (lambda lines: [*lines[:8], lines[7], *lines[8:]], r"has more than one atom named"),
        (lambda lines: [line for line in lines if int(line[22:26]) not in (3, 4)], r"still not sound.* are missing"),
        (lambda lines: [], r"holds no atoms"),
    ],
)
def test_what_cannot_be_mended_is_refused(peptide, prepare, tmp_path, edit, message):
    with pytest.raises(EndpointError, match=message):
        prepare(edit(peptide))
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.pdb"]
