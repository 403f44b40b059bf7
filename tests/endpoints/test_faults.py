"""Every kind of input that was once read wrong, by `check` or by the reading layer: the right answer."""

import os
import re
import time
from types import SimpleNamespace

import pytest
import torch

from tpsctl.endpoints import align, load_structure
from tpsctl.errors import EndpointError, RecipeError
from tpsctl.prior.base import Prior
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score import AutogradScore
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.settings import RunSettings


class Flat(Prior):
    """A prior without forces: its score is zero everywhere."""

    kind = "flat"
    n_dims = 3
    conservative = True

    def __init__(self, n_beads: int) -> None:
        self.n_beads, self.temperature_k = n_beads, 300.0

    def at(self, t):
        return AutogradScore(lambda x: 0.0 * x)


@pytest.fixture
def flat_prior(monkeypatch):
    """The flat prior, found as an installed plug-in would be."""
    entry = SimpleNamespace(
        name="flat", load=lambda: lambda options, topology: Flat(topology.n_atoms), dist=SimpleNamespace(name="flat")
    )

    def entry_points(**wanted):
        return [entry] if wanted.get("name", "flat") == "flat" else []

    monkeypatch.setattr("tpsctl.entry_points.entry_points", entry_points)


@pytest.fixture
def inputs(root):
    return root / "tests/faults_inputs"


@pytest.fixture
def checked(inputs, flat_prior):
    """The findings of `tpsctl check` in one of the folders."""

    def check(folder, *assignments, trial=False):
        recipe = load_recipe(inputs / folder / "r.yaml", SampleRecipe, [*assignments])
        return check_recipe(recipe, RunSettings(threads=1), trial=trial)

    return check


def failure(report):
    """The text of the only failed finding."""
    (found,) = [finding.text for finding in report.findings if finding.verdict == "FAIL"]
    assert "\n" not in found
    return found


def both(folder, extension="pdb", select="all"):
    return [load_structure(folder / f"{end}.{extension}", select=select) for end in "ab"]


# --- 01: units


def test_coordinates_ten_times_too_small_are_refused_with_the_unit(checked):
    text = failure(checked("01_unit_10x"))
    assert re.search(r"b.pdb: the bonds are \d+ times too short \(median 0.01\d* nm, expected about 0.1\d nm\)", text)
    assert "coordinates seem to be in nm where the format has angstrom. Multiply the coordinates by 10" in text


@pytest.mark.parametrize("select", ["all", "name CA"])
@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_wrong_unit_is_noticed_in_all_atoms_and_in_beads(root, tmp_path, select, factor):
    text = (root / "tests/endpoints/data/peptide_a.pdb").read_text().splitlines()
    lines = [
        line[:30] + "".join(f"{factor * float(line[k : k + 8]):8.3f}" for k in (30, 38, 46)) + line[54:]
        if line.startswith(("ATOM", "HETATM"))
        else line
        for line in text
    ]
    (tmp_path / "scaled.pdb").write_text("\n".join(lines))
    how = "too short" if factor < 1 else "too long"
    with pytest.raises(EndpointError, match=rf"times {how} .* the unit of length is wrong"):
        load_structure(tmp_path / "scaled.pdb", select=select)


def test_atoms_without_bonds_tell_of_a_wrong_unit_too(tmp_path, inputs):
    lines = (inputs / "03_gro_elements/a.gro").read_text().splitlines()
    atoms = [line[:20] + "".join(f"{0.1 * float(line[k : k + 8]):8.4f}" for k in (20, 28, 36)) for line in lines[2:-1]]
    (tmp_path / "small.gro").write_text("\n".join([*lines[:2], *atoms, lines[-1]]) + "\n")
    with pytest.raises(EndpointError, match="no element|times too short"):
        load_structure(tmp_path / "small.gro")


# --- 02, 03: elements


def test_left_aligned_names_are_carbons_and_bonded(inputs):
    for structure in both(inputs / "02_left_names_calcium", select="name CA"):
        assert {(a.element, a.mass_amu) for a in structure.topology.atoms} == {("C", 12.01078)}
        assert structure.topology.bonds == ((0, 1), (1, 2), (2, 3), (3, 4))


def test_chlorine_of_a_ligand_in_a_gro_file(inputs):
    for structure in both(inputs / "03_gro_elements", "gro"):
        assert [a.element for a in structure.topology.atoms] == ["C"] * 6 + ["Cl"]
        assert structure.topology.masses_amu[-1] == pytest.approx(35.453, abs=0.001)


@pytest.mark.parametrize(
    ("residue", "name", "element"),
    [("POT", "POT", "K"), ("SOD", "SOD", "Na"), ("CLA", "CLA", "Cl"), ("CAL", "CAL", "Ca"), ("CA", "CA", "Ca"),
     ("ZN2", "ZN", "Zn"), ("MG", "MG", "Mg"), ("CES", "CES", "Cs"), ("IOD", "I", "I")],
)  # fmt: skip
def test_ions_without_an_element_column(tmp_path, residue, name, element):
    line = f"HETATM    1 {name:<4s} {residue:>3s} A   1       0.000   0.000   0.000  1.00  0.00\n"
    (tmp_path / "ion.pdb").write_text(line)
    assert load_structure(tmp_path / "ion.pdb").topology.atoms[0].element == element


def test_an_element_that_contradicts_the_residue_is_refused(tmp_path):
    line = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00          CA\n"
    (tmp_path / "a.pdb").write_text(line)
    with pytest.raises(EndpointError, match=r"A:ALA1:CA is Ca by its element column but C by its residue and name"):
        load_structure(tmp_path / "a.pdb")


def test_an_element_that_nothing_tells_is_refused(tmp_path):
    (tmp_path / "a.gro").write_text("t\n1\n    1UNX     CA    1   0.000   0.000   0.000\n   3.0 3.0 3.0\n")
    with pytest.raises(EndpointError, match=r"atom UNX1:CA has no element, and its residue and name do not tell"):
        load_structure(tmp_path / "a.gro")


# --- 04, 05, 06, 07: names, codes, chains


def test_a_byte_order_mark_costs_no_atom(inputs):
    for structure in both(inputs / "04_bom_first_atom_lost", select="name CA"):
        assert structure.topology.n_atoms == 5
        assert len(structure.topology.bonds) == 4


def test_insertion_codes_are_matched_and_bonded(inputs):
    ends = align(*both(inputs / "05_insertion_codes", select="name CA"))
    assert [(a.residue_id, a.insertion_code) for a in ends.topology.atoms] == [
        (99, ""), (100, ""), (100, "A"), (100, "B"), (101, "")
    ]  # fmt: skip
    assert ends.atom_map.order == (0, 1, 2, 3, 4)
    assert ends.topology.bonds == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert ends.topology.atoms[2].label == "A:ALA100A:CA"


@pytest.mark.parametrize("folder", ["06_number_gap_no_bond", "06_number_gap_no_bond/control"])
def test_residue_numbers_do_not_decide_about_bonds(inputs, folder):
    for structure in both(inputs / folder, select="name CA"):
        assert structure.topology.bonds == tuple((i, i + 1) for i in range(7))


def test_no_bond_crosses_a_real_gap_and_the_gap_is_told(tmp_path):
    line = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}   0.000   0.000  1.00  0.00           C"
    rows = [(1, 0.0), (2, 3.8), (7, 20.0), (8, 23.8)]
    (tmp_path / "gap.pdb").write_text("\n".join(line.format(k + 1, n, x) for k, (n, x) in enumerate(rows)) + "\n")
    structure = load_structure(tmp_path / "gap.pdb", select="name CA")
    assert structure.topology.bonds == ((0, 1), (2, 3))
    (note,) = structure.notes
    assert "residues 3 to 6 of chain A are missing (A:ALA2 and A:ALA7 are 1.62 nm apart)" in note


def test_two_chains_with_consecutive_numbers_in_a_box_are_not_bonded(tmp_path):
    rows = [(1, 0.0), (2, 3.8), (3, 20.0), (4, 23.8)]
    line = "ATOM  {:5d}  CA  ALA  {:4d}    {:8.3f}   0.000   0.000  1.00  0.00           C"
    atoms = [line.format(k + 1, n, x) for k, (n, x) in enumerate(rows)]
    (tmp_path / "two.pdb").write_text("\n".join(["CRYST1" + 3 * "   90.000" + 3 * "  90.00", *atoms]) + "\n")
    assert load_structure(tmp_path / "two.pdb").topology.bonds == ((0, 1), (2, 3))
    (tmp_path / "cut.pdb").write_text("\n".join(["CRYST1" + 3 * "   20.000" + 3 * "  90.00", *atoms[:2],
                                                atoms[2].replace("20.000", "-12.40"), atoms[3]]) + "\n")  # fmt: skip
    with pytest.raises(EndpointError, match="cut by a periodic box"):
        load_structure(tmp_path / "cut.pdb")
    (tmp_path / "none.pdb").write_text("\n".join(atoms) + "\n")
    with pytest.raises(EndpointError, match=r"cut by a periodic box .* separate them by TER or by chain identifiers"):
        load_structure(tmp_path / "none.pdb")


def test_a_calcium_ion_among_the_beads_is_told_and_the_chain_keeps_its_bonds(inputs):
    for structure in both(inputs / "07_calcium_ion_no_bonds", select="name CA"):
        assert structure.topology.bonds == ((0, 1), (1, 2), (2, 3), (3, 4))
        assert structure.topology.atoms[5].element == "Ca"
        assert any("also takes A:CA101:CA (Ca), which is no C-alpha bead" in note for note in structure.notes)
    (clean, _) = both(inputs / "07_calcium_ion_no_bonds", select="(name CA) and element C")
    assert clean.topology.n_atoms == 5


def test_an_atom_of_a_ligand_called_ca_is_no_bead(tmp_path):
    line = "{:6s}{:5d}  {:<3s} {:3s} A{:4d}    {:8.3f}{:8.3f}   0.000  1.00  0.00           {}"
    rows = [("ATOM", "CA", "ALA", 1, 0.0, 0.0), ("ATOM", "CA", "ALA", 2, 3.8, 0.0)]
    rows += [("HETATM", "CA", "LIG", 3, 7.6, 0.0), ("HETATM", "O1", "LIG", 3, 7.6, 1.4)]
    lines = [line.format(kind, k + 1, n, r, i, x, y, n[0]) for k, (kind, n, r, i, x, y) in enumerate(rows)]
    (tmp_path / "ligand.pdb").write_text("\n".join(lines) + "\n")
    structure = load_structure(tmp_path / "ligand.pdb", select="name CA")
    assert structure.topology.bonds == ((0, 1),)
    assert any("also takes A:LIG3:CA (C)" in note for note in structure.notes)


# --- 08, 09: selected first, judged after


def test_virtual_sites_that_are_left_out_do_not_matter(inputs):
    start, end = both(inputs / "08_tip4p_select", "gro", "protein")
    assert start.topology.n_atoms == end.topology.n_atoms == 5
    with pytest.raises(EndpointError, match=r"atom SOL6:MW has no element"):
        load_structure(inputs / "08_tip4p_select/a.gro", select="all")


def test_microheterogeneity_is_refused_as_alternates(checked, inputs):
    text = failure(checked("09_microheterogeneity"))
    assert "1 residues are given as alternates of each other (first: residue 2: ALA at B and SER at A)" in text
    assert load_structure(inputs / "09_microheterogeneity/a.pdb", select="resSeq 1").topology.n_atoms == 4


def test_alternates_that_are_left_out_do_not_matter(root, tmp_path):
    text = (root / "tests/endpoints/data/peptide_a.pdb").read_text().splitlines()
    lines = []
    for line in text:
        two = line.startswith("ATOM") and line[12:16] == " CB " and "PHE" in line
        lines += [line[:16] + "A" + line[17:], line[:16] + "B" + line[17:]] if two else [line]
    (tmp_path / "alt.pdb").write_text("\n".join(lines) + "\n")
    assert load_structure(tmp_path / "alt.pdb", select="name CA").topology.n_atoms == 4
    with pytest.raises(EndpointError, match=r"alternate locations \(first: A:PHE3:CB at A and B\)"):
        load_structure(tmp_path / "alt.pdb")


# --- 11, 12, 13, 16: messages


def test_missing_residues_are_named(checked, inputs):
    text = failure(checked("11_missing_residues_message"))
    assert "residues 3 to 6 of chain A are missing (A:GLY2 and A:GLY7 are 1.30 nm apart)" in text
    assert "periodic" not in text
    beads = load_structure(inputs / "11_missing_residues_message/a.pdb", select="name CA")
    assert beads.topology.bonds == ((0, 1),)


def test_equal_molecules_with_other_names_are_matched_in_order(inputs):
    ends = align(*both(inputs / "12_water_names"))
    assert ends.atom_map.method == "order"
    assert [i // 3 for i in ends.atom_map.order] == [i // 3 for i in range(150)]
    assert ends.atom_map.order[::3] == tuple(range(0, 150, 3))


def waters(path, count, names, residue, shift):
    lines = []
    for i in range(count):
        corner = (3.1 * (i % 10) + shift, 3.1 * (i // 10 % 10), 3.1 * (i // 100))
        for name, dx, dy in zip(names, (0.0, 0.96, -0.24), (0.0, 0.0, 0.93), strict=True):
            x, y, z = corner[0] + dx, corner[1] + dy, corner[2]
            lines.append(
                f"HETATM{len(lines) + 1:5d}  {name:<3s} {residue}  {i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
                f"  1.00  0.00           {'O' if 'O' in name else 'H'}"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_400_waters_are_matched_in_seconds(tmp_path):
    start = load_structure(waters(tmp_path / "a.pdb", 400, ("O", "H1", "H2"), "HOH", 0.0))
    end = load_structure(waters(tmp_path / "b.pdb", 400, ("OW", "HW1", "HW2"), "SOL", 0.1))
    end.x[3:] += 0.002 * torch.randn(1197, 3)
    began = time.process_time()
    found = align(start, end).atom_map
    assert time.process_time() - began < 60, "a search over all molecules takes minutes"
    assert found.order[::3] == tuple(range(0, 1200, 3))


def test_equal_molecules_without_order_are_refused_at_once(tmp_path):
    """One residue holds all molecules: neither names nor residues say which is which."""
    start = load_structure(waters(tmp_path / "a.pdb", 200, ("O", "H1", "H2"), "HOH", 0.0))
    end = load_structure(waters(tmp_path / "b.pdb", 200, ("OW", "HW1", "HW2"), "SOL", 0.0))
    from dataclasses import replace

    def in_one_residue(structure):
        atoms = tuple(
            replace(atom, residue_id=1, residue_name="BOX", name=f"{atom.name[0]}{structure.source[-5]}{i}")
            for i, atom in enumerate(structure.topology.atoms)
        )
        return replace(structure, topology=replace(structure.topology, atoms=atoms))

    began = time.process_time()
    with pytest.raises(EndpointError, match="can be relabeled in more than 2000 ways: the map is ambiguous"):
        align(in_one_residue(start), in_one_residue(end))
    assert time.process_time() - began < 60


def test_duplicate_names_are_said_with_their_place(checked):
    assert "a.pdb: 2 atoms are named A:ALA2:HB1, and without bonds only the names tell them apart" in failure(
        checked("13_duplicate_names_message")
    )


@pytest.mark.parametrize("name", ["empty.pdb", "header_only.pdb"])
def test_a_file_without_atoms(inputs, name):
    with pytest.raises(EndpointError, match=rf"{name}: holds no atoms. Give a structure file with at least one atom"):
        load_structure(inputs / "16_poor_messages" / name)


@pytest.mark.parametrize(("name", "text"), [("a.gro", ""), ("a.cif", "data_x\n_cell.length_a 10\n"), ("a.cif", "")])
def test_other_files_without_atoms(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(EndpointError, match="holds no atoms|no valid CIF"):
        load_structure(tmp_path / name)


# --- 14: recipes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recursive", "recursive.yaml:2: extra.1: an alias stands inside what it names"),
        ("deep", "deep.yaml: nested too deep, expected at most 50 levels"),
        ("bigint", "bigint.yaml:2: seed: got a number of 4400 digits, expected at most 300"),
    ],
)
def test_recipes_without_end(inputs, name, message):
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        load_recipe(inputs / "14_yaml_traceback" / f"{name}.yaml", SampleRecipe)
    assert "\n" not in str(caught.value)


# --- without a folder


def test_a_pipe_a_loop_a_device_and_a_directory_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pdb")
    (tmp_path / "loop.pdb").symlink_to(tmp_path / "loop.pdb")
    (tmp_path / "gone.pdb").symlink_to(tmp_path / "nowhere.pdb")
    (tmp_path / "folder.pdb").mkdir()
    (tmp_path / "null.pdb").symlink_to("/dev/null")
    for name, said in {
        "pipe.pdb": r"is a pipe \(FIFO\), expected a file",
        "loop.pdb": "cannot be opened",
        "gone.pdb": "the link leads to no file",
        "folder.pdb": "is a directory, expected a file",
        "null.pdb": "is a device, expected a file",
    }.items():
        with pytest.raises(EndpointError, match=rf"{name}: {said}"):
            load_structure(tmp_path / name)


def test_a_bad_selection_is_answered_in_one_line(root):
    path = root / "tests/endpoints/data/peptide_a.pdb"
    for select in ("nam CA", "name CA and (", "name CA and" * 50, "((((" * 200):
        with pytest.raises(
            EndpointError, match=r'cannot read ".*" as an MDTraj selection. Write for example'
        ) as caught:
            load_structure(path, select=select)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 350


def test_absurd_energies_and_actions_are_no_ok(checked):
    """The end that is refused in folder 01 is not even needed: the verdicts themselves."""
    from tpsctl.workflows.sample.plausible import energy_verdict

    assert energy_verdict(-100.0, 50.0, 22, "x")[0] == "ok"
    assert energy_verdict(-100.0, 5e3, 22, "x")[0] == "warn"
    assert energy_verdict(-100.0, 5.76e13, 22, "x")[0] == "FAIL"
    assert energy_verdict(float("nan"), 0.0, 22, "x")[0] == "FAIL"
    report = checked("02_left_names_calcium", "action.dt_ps=1e-29", trial=True)
    assert re.search(r"the action is .*, expected a finite number below 1e\+12. Check action.dt_ps", failure(report))
    with pytest.raises(RecipeError, match=r"action.dt_ps: got 1e-320, expected 0 or a number between 1e-30 and 1e\+30"):
        checked("02_left_names_calcium", "action.dt_ps=1e-320")


def test_check_tells_what_it_does_while_it_does_it(inputs, flat_prior):
    from tpsctl.progress import Progress

    class Told(Progress):
        def __init__(self) -> None:
            self.lines = []

        def say(self, text):
            self.lines.append(text)

    told = Told()
    recipe = load_recipe(inputs / "02_left_names_calcium/r.yaml", SampleRecipe)
    check_recipe(recipe, RunSettings(threads=1), told, trial=False)
    assert told.lines[0] == "checking recipe and files ..."
    assert told.lines[1].startswith("recipe and files: ok (")
    assert [line for line in told.lines if line.endswith("...")] == [
        "checking recipe and files ...", "checking the two ends ...", "checking the prior ...",
        "checking energies of the ends ...", "checking minima and saddles ...",
    ]  # fmt: skip


def test_an_output_path_that_is_a_file_gets_the_right_advice(checked, tmp_path):
    (tmp_path / "file").write_text("")
    text = failure(checked("02_left_names_calcium", f"output.directory={tmp_path}/file"))
    assert text == f"{tmp_path}/file: this is a file, not a run directory. Choose another with --out."
