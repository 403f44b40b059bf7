"""Mistakes in force-field XML files are one line with file and line."""

from pathlib import Path

import pytest

from tpsctl.errors import ValidationError
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.force_field_files import find_file, find_files, read_files, shown

DATA = Path(__file__).parent / "data"
RESIDUE = ' <Residues>\n  <Residue name="R">\n   <Atom name="C1" type="{type}"/>\n{bond}  </Residue>\n </Residues>\n'
TYPES = '<ForceField>\n <AtomTypes>\n  <Type name="a" class="A" element="{element}" mass="{mass}"/>\n </AtomTypes>\n'
EXPECTED = "Expected a force field of OpenMM (<ForceField> ... </ForceField>)."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", f"FILE:1: this is no XML (syntax error). {EXPECTED}"),
        ("", f"FILE:1: this is no XML (no element found). {EXPECTED}"),
        ("<ForceField>\n <Residues>\n </Residue>\n", "FILE:3: not valid XML: mismatched tag. Mend it here or above."),
        ("<html/>", f"FILE:1: got <html>. {EXPECTED}"),
        (
            "<?xml version='1.0'?>\n<System/>",
            f"FILE:2: got <System>. {EXPECTED} For a serialized System write "
            '"force_field: {kind: system, file: FILE}".',
        ),
        (
            TYPES.format(element="Xx", mass="1") + "</ForceField>",
            'FILE:3: atom type "a" has the unknown element "Xx". Give the symbol of an element, or leave the attribute '
            "out for a bead that is no atom.",
        ),
        (
            TYPES.format(element="C", mass="heavy") + "</ForceField>",
            'FILE:3: atom type "a" has mass="heavy", expected a number (amu).',
        ),
        (
            "<ForceField>\n <Residues>\n  <Residue>\n  </Residue>\n </Residues>\n</ForceField>",
            'FILE:3: <Residue> lacks the attribute "name".',
        ),
        (
            TYPES.format(element="C", mass="12") + RESIDUE.format(type="b", bond="") + "</ForceField>",
            'FILE:7: atom "C1" has the type "b", which no file defines. Define it in AtomTypes, or add '
            "the file that does.",
        ),
        (
            TYPES.format(element="C", mass="12")
            + RESIDUE.format(type="a", bond='   <Bond atomName1="C1"/>\n')
            + "</ForceField>",
            "FILE:8: <Bond> lacks atomName1 and atomName2.",
        ),
        ('<ForceField>\n <Include file="none.xml"/>\n</ForceField>', 'force field "none.xml": no such file'),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(tmp_path, text, message, alanine):
    file = tmp_path / "own.xml"
    file.write_text(text)
    with pytest.raises(ValidationError) as found:
        create_system(alanine[0], [file])
    assert "\n" not in str(found.value)
    assert str(found.value).startswith(message.replace("FILE:", f"{file}:"))


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (' k="224262.4"', "", '<Bond> lacks the attribute "k". Mend the file, or name another.'),
        ('k="224262.4"', 'k="stiff"', '<Bond> has k="stiff", expected a number. Mend the file, or name another.'),
    ],
)
def test_a_mistake_that_only_openmm_finds_is_located_too(tmp_path, alanine, right, wrong, message):
    text = (DATA / "butane.xml").read_text()
    line = next(number for number, row in enumerate(text.splitlines(), 1) if right in row)
    file = tmp_path / "butane.xml"
    file.write_text(text.replace(right, wrong))
    with pytest.raises(ValidationError) as found:
        create_system(alanine[0], [file])
    assert str(found.value) == f"{file}:{line}: {message}"


def test_a_path_is_that_file_and_a_name_is_one_of_openmm(tmp_path, monkeypatch):
    (tmp_path / "amber99sbildn.xml").write_text("<ForceField/>")
    monkeypatch.chdir(tmp_path)
    assert find_file(Path("amber99sbildn.xml")) == Path("amber99sbildn.xml")
    assert find_file("amber99sbildn.xml").parent.name == "data"  # not the one that happens to lie here
    assert find_file("none.xml") is None
    assert shown("implicit/gbn2.xml") == "implicit/gbn2.xml"
    assert shown(tmp_path / "own.xml") == "own.xml"


def test_missing_files_are_left_out_of_the_list_but_not_of_a_force_field(tmp_path):
    assert [file.name for file in find_files(["tip3p.xml", "none.xml"])] == ["tip3p.xml"]
    with pytest.raises(ValidationError, match=r"none.xml: no such force-field file. Put it there, or name one"):
        read_files([tmp_path / "none.xml"])
    with pytest.raises(
        ValidationError, match=r'force field "tip3q.xml": no such file beside .* Did you mean "tip3p.xml"'
    ):
        read_files(["tip3q.xml"])
