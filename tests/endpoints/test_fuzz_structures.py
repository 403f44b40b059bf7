"""Structure files at random, read by tpsctl and by a reader that shares no code with it.

gemmi reads PDB and mmCIF here (tpsctl takes only CIF's syntax from it), MDAnalysis reads GRO. A file is read with
the same atoms, names, numbers, elements and stated bonds in file order, or refused in one line; no file raises
anything else. The elements are those that were meant when the file was written.
"""

import gzip
import itertools
import warnings

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tpsctl.endpoints.reading import read_structure_file
from tpsctl.endpoints.selecting import selected
from tpsctl.errors import EndpointError

CASES = {"pdb": 1000, "cif": 800, "gro": 250}
CAMPAIGN = {"pdb": 30_000, "cif": 20_000, "gro": 5_000}

BACKBONE = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"))
RESIDUES = {
    "GLY": BACKBONE,
    "ALA": (*BACKBONE, ("CB", "C"), ("HB1", "H"), ("HB2", "H")),
    "CYS": (*BACKBONE, ("CB", "C"), ("SG", "S")),
    "HIE": (*BACKBONE, ("CD2", "C"), ("NE2", "N"), ("HE2", "H")),
    "SER": (*BACKBONE, ("D", "D"), ("DA", "D"), ("OG", "O"), ("DG", "D")),
    "Val": (*BACKBONE, ("CB", "C"), ("HG11", "H")),
    "GLC": (("C1", "C"), ("O5", "O"), ("C5", "C"), ("HO4", "H")),
    "MSE": (*BACKBONE, ("CG", "C"), ("SE", "Se"), ("CE", "C")),
    "DA": (("P", "P"), ("O5'", "O"), ("C1'", "C"), ("N9", "N"), ("H5''", "H")),
    "HOH": (("O", "O"), ("H1", "H"), ("H2", "H")),
    "CA": (("CA", "Ca"),),
    "CL": (("CL", "Cl"),),
    "ZN": (("ZN", "Zn"),),
    "SOD": (("SOD", "Na"),),
    "LIG": (("C1", "C"), ("CL1", "Cl"), ("BR2", "Br"), ("N3", "N"), ("F4", "F")),
}
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabz0129"
FUZZ = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    derandomize=True,
    database=None,
)


@st.composite
def molecules(draw):
    """Rows (residue, name, element, number, code, chain, alternate, x) in file order, and bonds to state."""
    rows, number, chain = [], draw(st.integers(-20, 9000)), draw(st.sampled_from(["", *CHARACTERS]))
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(sorted(RESIDUES)))
        if draw(st.integers(0, 5)) == 0:
            chain = draw(st.sampled_from(["", *CHARACTERS]))
        code = draw(st.sampled_from(["", "", "", "A", "B", "Z"]))
        number += draw(st.integers(0 if code else 1, 4))
        atoms = RESIDUES[name]
        if draw(st.booleans()):
            atoms = tuple(draw(st.permutations(atoms)))[: draw(st.integers(1, len(atoms)))]
        alternate = draw(st.sampled_from(["", "", "", "", "A"]))
        two = draw(st.integers(0, 15)) == 0
        for atom, element in atoms:
            # 0.12 nm apart along a line: neighbors of a ligand are near enough to be bonded
            where = [round(1.2 * len(rows), 3), draw(st.integers(-500, 500)) / 1000, 0.0]
            rows.append((name, atom, element, number, code, chain, "A" if two else alternate, where))
            if two:
                rows.append((name, atom, element, number, code, chain, "B", [w + 0.3 for w in where]))
    pairs = st.tuples(st.integers(0, len(rows) - 1), st.integers(0, len(rows) - 1))
    bonds = draw(st.lists(pairs.filter(lambda pair: pair[0] != pair[1]), max_size=3))
    return rows, sorted({tuple(sorted(pair)) for pair in bonds})


def aligned(name, element, left):
    return name.ljust(4) if left or len(name) == 4 or len(element) == 2 else f" {name:<3s}"


@st.composite
def pdb_files(draw):
    rows, bonds = draw(molecules())
    with_elements, left = draw(st.booleans()), draw(st.booleans())
    charge, remark = draw(st.sampled_from(["", "1+", "2-"])), draw(st.sampled_from(["", "", "SEGA", "lines"]))
    lines = [draw(st.sampled_from(["HEADER    X", "REMARK   1 Zürich", "REMARK   1 π", "TITLE"]))]
    if draw(st.booleans()):
        lines.append("CRYST1   90.000   90.000   90.000  90.00  90.00  90.00 P 1")
    for i, (residue, name, element, number, code, chain, alternate, (x, y, z)) in enumerate(rows):
        kind = "ATOM  " if residue in ("GLY", "ALA", "CYS", "HIE", "SER", "DA") else "HETATM"
        symbol = f"{element.upper():>2s}" if with_elements else "  "
        head = f"{kind}{i + 1:5d} {aligned(name, element, left)}{alternate or ' '}{residue:>3s} {chain or ' '}"
        seen = f"{head}{number:4d}{code or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        line = f"{seen}      {f'{i:04d}' if remark == 'lines' else remark:4s}{symbol}{charge}"
        lines.append(line.rstrip() if draw(st.booleans()) else line)
        if i + 1 < len(rows) and rows[i + 1][5] != chain and draw(st.booleans()):
            lines.append("TER")
    lines += [f"CONECT{i + 1:5d}{j + 1:5d}" for i, j in bonds]
    if draw(st.booleans()):
        lines.append("END")
    return rows, bonds, encoded(draw, lines)


def encoded(draw, lines):
    """The bytes of a text with some line ends and some encoding, compressed or not."""
    text = draw(st.sampled_from(["\n", "\r\n"])).join([*lines, ""])
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    data = text.encode(encoding, errors="replace")
    return gzip.compress(data) if draw(st.integers(0, 4)) == 0 else data


def quoted(text):
    return f'"{text}"' if "'" in text else text or "?"


@st.composite
def mmcif_files(draw):
    rows, _ = draw(molecules())
    columns = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id"]
    columns += ["label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "auth_seq_id", "auth_asym_id"]
    order = draw(st.permutations(columns))
    with_elements = draw(st.booleans())
    lines = ["data_fuzz", "loop_", *(f"_atom_site.{name}" for name in order)]
    for i, (residue, name, element, number, code, chain, alternate, x) in enumerate(rows):
        values = {
            "group_PDB": "HETATM", "id": str(i + 1), "type_symbol": element.upper() if with_elements else "?",
            "label_atom_id": quoted(name), "label_alt_id": alternate or ".", "label_comp_id": residue,
            "label_asym_id": chain or "A", "label_seq_id": str(i), "pdbx_PDB_ins_code": code or "?",
            "Cartn_x": f"{x[0]:.4f}", "Cartn_y": f"{x[1]:.4f}", "Cartn_z": f"{x[2]:.4f}",
            "auth_seq_id": str(number), "auth_asym_id": chain or "A",
        }  # fmt: skip
        lines.append(draw(st.sampled_from([" ", "  ", "\t"])).join(values[name] for name in order))
    return rows, [], encoded(draw, lines)


@st.composite
def gro_files(draw):
    rows, _ = draw(molecules())
    decimals = draw(st.integers(3, 6))
    lines = [draw(st.sampled_from(["title", "Zürich, t= 0.0", ""])), f"{len(rows):5d}"]
    for i, (residue, name, _, number, _, _, _, x) in enumerate(rows):
        position = "".join(f"{0.1 * value:{decimals + 5}.{decimals}f}" for value in x)
        lines.append(f"{1 + abs(number):5d}{residue:<5s}{name:>5s}{(i + 1) % 100000:5d}{position}")
    return rows, [], encoded(draw, [*lines, "   9.00000   9.00000   9.00000"])


def read(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path, read_structure_file(path)


def plain(data):
    """The text as a program without this care would need it: UTF-8, no mark, no compression."""
    data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError


def by_gemmi(structure):
    """Atoms by their names and numbers, since gemmi gathers the parts of a chain."""
    return sorted(
        (chain.name.strip(), residue.seqid.num, residue.seqid.icode.strip(), residue.name, atom.name,
         atom.altloc.replace("\0", ""), *(round(v, 3) for v in atom.pos.tolist()))
        for chain in structure[0] for residue in chain for atom in residue
    )  # fmt: skip


def ours(raw):
    return sorted(
        (a.chain_id, a.residue_id, a.insertion_code, a.residue_name, a.name, a.alternate,
         *(round(v, 3) for v in x))
        for a, x in zip(raw.atoms, (10 * raw.frames[0]).tolist(), strict=True)
    )  # fmt: skip


def outcome(call):
    """What a call gives, and the text of its refusal; any other error is let through."""
    try:
        return call(), ""
    except EndpointError as error:
        return None, str(error)


def check_against(rows, bonds, raw, theirs):
    """The same atoms in file order, the elements that were meant or a doubt, the bonds that were stated."""
    assert [(a.residue_name, a.name, a.residue_id) for a in raw.atoms] == [(r[0], r[1], r[3]) for r in rows]
    assert ours(raw) == theirs
    for symbol, row, index in zip(raw.elements, rows, itertools.count(), strict=False):
        assert symbol == row[2] or (symbol == "" and raw.doubts[index])
    assert set(bonds) <= set(raw.bonds)
    for i, j in raw.measured:
        apart = 10 * np.linalg.norm(raw.frames[0][i] - raw.frames[0][j])
        radii = sum(gemmi.Element(rows[k][2]).covalent_r for k in (i, j))
        assert apart < radii + 0.40 + 0.07, "gemmi has the radius of flat carbon, 0.03 less"
        assert len({rows[i][6], rows[j][6]} - {""}) < 2, "no bond joins two alternate locations"
    for i, j in set(raw.bonds) - set(bonds) - raw.measured:
        disulfide = rows[i][1] == rows[j][1] == "SG"
        assert disulfide or abs(raw.home[i] - raw.home[j]) <= 1, "names bond within a residue or to the next one"
    chosen, refusal = outcome(lambda: selected(raw, "all", "file"))
    assert "\n" not in refusal
    if chosen is not None:
        assert chosen == list(range(len(rows)))
        locations = {((row[5], row[3], row[4], row[1]), row[6]) for row in rows if row[6]}
        assert len({place for place, _ in locations}) == len(locations), "two alternate locations are never both taken"


def pdb_case(folder, case):
    rows, bonds, data = case
    _, raw = read(folder, "fuzz.pdb", data)
    text = plain(data).replace("\r\n", "\n").encode("ascii", errors="replace")
    check_against(rows, bonds, raw, by_gemmi(gemmi.read_pdb_string(text)))


def mmcif_case(folder, case):
    rows, bonds, data = case
    _, raw = read(folder, "fuzz.cif", data)
    block = gemmi.cif.read_string(plain(data)).sole_block()
    check_against(rows, bonds, raw, by_gemmi(gemmi.make_structure_from_block(block)))


def gro_case(folder, case):
    import MDAnalysis

    rows, bonds, data = case
    rows = [(r[0], r[1], r[2], 1 + abs(r[3]), "", "", "", r[7]) for r in rows]
    _, raw = read(folder, "fuzz.gro", data)
    (folder / "plain.gro").write_text(plain(data).replace("\r\n", "\n"), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms = MDAnalysis.Universe(str(folder / "plain.gro"), to_guess=()).atoms
    theirs = sorted(
        ("", int(a.resid), "", a.resname, a.name, "", *(round(v, 3) for v in a.position.astype(np.float64).tolist()))
        for a in atoms
    )
    assert [row[:6] for row in ours(raw)] == [row[:6] for row in theirs]
    np.testing.assert_allclose([row[6:] for row in ours(raw)], [row[6:] for row in theirs], atol=1.1e-3)
    check_against(rows, bonds, raw, ours(raw))


KINDS = {"pdb": (pdb_files, pdb_case), "cif": (mmcif_files, mmcif_case), "gro": (gro_files, gro_case)}


def run(kind, cases, folder):
    files, case = KINDS[kind]
    settings(FUZZ, max_examples=cases)(given(files())(lambda found: case(folder, found)))()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_random_files_are_read_as_another_program_reads_them(kind, tmp_path):
    run(kind, CASES[kind], tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_very_many_random_files(kind, tmp_path):
    run(kind, CAMPAIGN[kind], tmp_path)


DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=0, max_size=4), st.integers(0, 6)), max_size=4)


@settings(FUZZ, max_examples=300)
@given(kind=st.sampled_from(sorted(KINDS)), case=st.data(), damage=DAMAGE)
def test_damaged_files_are_read_or_refused_in_one_line(kind, case, damage, tmp_path_factory):
    """Bytes cut out and put in anywhere: never anything else than an `EndpointError` of one line."""
    _, _, data = case.draw(KINDS[kind][0]())
    for place, inserted, removed in damage:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    folder = tmp_path_factory.mktemp("damaged")
    _, refusal = outcome(lambda: selected(read(folder, f"fuzz.{kind}", data)[1], "all", "file"))
    assert "\n" not in refusal
