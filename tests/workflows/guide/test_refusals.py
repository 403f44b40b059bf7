"""What `tpsctl guide` refuses: guides that are not of the prior's molecule or are no numbers, targets out of reach.

Every case goes through the command line, so that the exit code and the folder left behind are those a user meets.
"""

import json

import pytest
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode

PATH = """\
version: 1
name: alanine
seed: 1
prior: {kind: checkpoint, checkpoint: %s/diffusion.safetensors}
guide:
  kind: path
  guides: {structures: [%s, %s/c7ax.pdb]}
  success: {kind: ranges, ranges: [{observable: {kind: dihedral, dihedral: phi ALA2}, low: -180, high: 180}]}
  sensitivity: false
sampling: {samples: 12, steps: 20}
output: {directory: out, figures: false}
"""
POINT = """\
version: 1
name: point
seed: 5
prior: {kind: gaussian, mean_nm: [0.3, -0.2], std_nm: 0.5}
guide:
  kind: observables
  observables: [{kind: coordinate, dimension: 0, target_nm: 0.4, error_nm: 0.5}]
  baseline: false
sampling: {samples: 40, steps: 10}
output: {directory: out, figures: false}
"""


@pytest.fixture
def guided(tmp_path):
    """The exit code of a recipe and what it says, with `out` as the folder."""

    def guide(text, *changes):
        (tmp_path / "guide.yaml").write_text(text)
        words = [word for change in changes for word in ("--set", change)]
        result = CliRunner().invoke(app, ["guide", str(tmp_path / "guide.yaml"), "--threads", "1", *words])
        assert "Traceback" not in result.output
        return result.exit_code, " ".join(result.output.split())

    return guide


def mirrored(line):
    return f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}"


def not_a_number(line):
    return f"{line[:30]}     nan{line[38:]}"


@pytest.fixture
def changed(tmp_path, root):
    """c7eq.pdb with a change of each of its atoms (line to line, None to leave it out), as a new file."""

    def change(atom_fn):
        lines = (root / "recipes/alanine_dipeptide/c7eq.pdb").read_text().splitlines()
        new = [atom_fn(line) if line.startswith(("ATOM", "HETATM")) else line for line in lines]
        file = tmp_path / "changed.pdb"
        file.write_text("".join(f"{line}\n" for line in new if line is not None))
        return file

    return change


@pytest.mark.parametrize(
    ("atom_fn", "message"),
    [
        (mirrored, "guide.guides: structure 1 of 2 has the opposite handedness at A:ALA2:CA to the samples"),
        (
            lambda line: not_a_number(line) if " CA " in line else line,
            "1 of 22 atoms have no finite position (first: A:ALA2:CA at (nan,",
        ),
        (
            lambda line: None if " H2 " in line and "NME" in line else line,
            "it has 21 beads and no A:NME3:H2; the prior has 22. Give structures of the prior's molecule",
        ),
        (
            lambda line: line.replace(" CB ", " XB ") if "ALA" in line else line,
            "it has 22 beads and no A:ALA2:CB; the prior has 22 and no A:ALA2:XB",
        ),
        (lambda line: None, "changed.pdb"),
    ],
    ids=["mirror image", "not a number", "an atom less", "another name", "no atom"],
)
def test_guides_that_are_not_of_the_molecule_are_refused(guided, changed, root, tmp_path, atom_fn, message):
    folder = root / "recipes/alanine_dipeptide"
    code, said = guided(PATH % (folder, changed(atom_fn), folder))
    assert code == ExitCode.USAGE, said
    assert "guide.guides: " in said
    assert message in said
    assert not (tmp_path / "out").exists()


def test_guides_of_another_molecule_are_refused(guided, root):
    folder = root / "recipes/alanine_dipeptide"
    code, said = guided(PATH % (folder, root / "recipes/panel/pro_cis.pdb", folder))
    assert code == ExitCode.USAGE
    assert "pro_cis.pdb frame 0 is of another molecule than the prior: it has 26 beads" in said


def test_copies_of_one_guide_are_one_guide(guided, root):
    folder = root / "recipes/alanine_dipeptide"
    code, said = guided(PATH % (folder, folder / "c7ax.pdb", folder))
    assert code == ExitCode.USAGE
    assert "guide.guides: all 2 structures are the same one" in said
    code, said = guided((PATH % (folder, "", folder)).replace("[, ", "["))
    assert code == ExitCode.USAGE
    assert "guide.guides: got 1 structure, expected at least 2" in said


def test_guides_of_the_molecule_in_another_order_and_place_are_taken(guided, changed, root, tmp_path):
    """The last atom is written first, and all are moved by 3 nm."""
    file = changed(lambda line: line)
    atoms = [line for line in file.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    moved = [f"{line[:30]}{float(line[30:38]) + 30:8.3f}{line[38:]}" for line in reversed(atoms)]
    file.write_text("\n".join([*moved, "END", ""]))
    folder = root / "recipes/alanine_dipeptide"
    code, said = guided(PATH % (folder, file, folder))
    assert code in (ExitCode.COMPLETE, ExitCode.NOT_VALID), said
    assert json.loads((tmp_path / "out/manifest.json").read_text())["guides"] == 2


def test_a_target_out_of_reach_is_told_with_its_range_and_the_mended_recipe_runs(guided, tmp_path):
    code, said = guided(POINT, "guide.observables.0.target_nm=9")
    assert code == ExitCode.USAGE
    assert "guide.observables: x (nm): target 9 is out of reach: the samples of the prior have values from -" in said
    assert "Give a target inside this range, or draw more samples." in said
    assert not (tmp_path / "out").exists()
    code, said = guided(POINT)
    assert code == ExitCode.COMPLETE, said


def test_targets_that_exclude_one_another_are_told(guided, tmp_path):
    """One coordinate cannot have two averages, although each of them is possible."""
    one, two = (f"{{kind: coordinate, dimension: 0, target_nm: {x}, name: x{x}}}" for x in (-0.3, 0.8))
    both = f"[{one}, {two}]"
    code, said = guided(POINT, f"guide.observables={both}")
    assert code == ExitCode.USAGE
    assert "the targets cannot be reached together" in said
    assert not (tmp_path / "out").exists()
