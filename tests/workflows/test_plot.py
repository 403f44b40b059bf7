"""`tpsctl plot`: the figures of a finished run, drawn from its files."""

import csv
import json
import shutil
from math import radians

import pytest
from typer.testing import CliRunner

from tests.output.test_figures import text_of
from tests.workflows.report.test_run import PEPTIDE, WELL, run
from tpsctl.cli.app import app
from tpsctl.errors import EndpointError, ExitCode, OutputError, RecipeError
from tpsctl.molecule.torsions import AngleCourse
from tpsctl.output.figures import canvas
from tpsctl.workflows import plot
from tpsctl.workflows.plot import plot_run
from tpsctl.workflows.stored_run import StoredRun


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "DPI", 30)
        return run(tmp_path_factory.mktemp("well"), WELL.replace("figures: false", "figures: true"))


@pytest.fixture(scope="module")
def peptide(tmp_path_factory, request):
    folder = request.config.rootpath / "recipes" / "alanine_dipeptide"
    return run(tmp_path_factory.mktemp("peptide"), PEPTIDE.format(folder=folder))


def names(folder):
    return {file.stem for file in folder.iterdir()}


def test_the_figures_of_a_run_are_drawn_again_alike(well, tmp_path):
    done = plot_run(well, out=tmp_path / "again", density=None, overwrite=False)
    assert done["figures"] == ["action", "contour", "energy"]
    given = {file.name: file.read_bytes() for file in (well / "figures").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == given
    assert {file.rpartition(".")[2] for file in given} == {"png", "svg", "pdf"}


def test_figures_are_not_overwritten_unasked(well):
    with pytest.raises(OutputError, match=r"figures: holds files already\. Replace figures with --overwrite"):
        plot_run(well, out=None, density=None, overwrite=False)
    plot_run(well, out=None, density=None, overwrite=True)


def test_a_peptide_bond_that_turns_has_a_figure(peptide, tmp_path):
    folder = shutil.copytree(peptide, tmp_path / "run")
    plot_run(folder, out=tmp_path / "before", density=None, overwrite=False)
    assert "omega" not in names(tmp_path / "before")
    with (folder / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        turn = 180.0 * int(row["image"]) / 7 if row["path"] == "1" else 0.0
        row["omega_nme3_deg"] = str((180.0 + turn + 180.0) % 360.0 - 180.0)
    with (folder / "images.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    plot_run(folder, out=tmp_path / "after", density=None, overwrite=False)
    text = text_of(tmp_path / "after" / "omega")
    assert "<!-- omega NME3 -->" in text
    assert "path 1" in text
    assert "path 0" not in text
    assert "omega ALA2" not in text


def test_the_density_of_a_trajectory_lies_behind_the_dihedrals(peptide, tmp_path):
    density = peptide / "paths" / "path_0000.dcd"
    plot_run(peptide, out=tmp_path / "figures", density=density, overwrite=False)
    assert "free energy (kJ/mol)" in text_of(tmp_path / "figures" / "ramachandran_ala2")


def test_a_density_of_other_atoms_or_of_no_peptide_is_refused(peptide, well, tmp_path):
    with pytest.raises(RecipeError, match="a density needs a molecule"):
        plot_run(well, out=tmp_path / "a", density=peptide / "paths" / "path_0000.dcd", overwrite=False)
    with pytest.raises(EndpointError, match="path_0000.dcd"):
        plot_run(peptide, out=tmp_path / "b", density=well / "paths" / "path_0000.dcd", overwrite=False)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_the_command_answers_as_json(well, tmp_path):
    result = CliRunner().invoke(app, ["plot", str(well), "--out", str(tmp_path / "x"), "--json"])
    assert result.exit_code == ExitCode.COMPLETE
    assert json.loads(result.stdout)["files"] == 9
    nowhere = CliRunner().invoke(app, ["plot", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == ExitCode.USAGE
    assert all(word in nowhere.stderr for word in ("nowhere", "tpsctl sample"))


@pytest.mark.parametrize(
    ("turns_deg", "shown"),
    [
        ({"phi ALA2": 90, "omega ALA2": 45}, ["phi ALA2"]),
        ({"omega ALA2": 170}, ["omega ALA2"]),
        ({"omega ALA2": 45}, ["omega ALA2"]),
    ],
)
def test_omega_is_drawn_along_routes_where_it_turns_or_nothing_else_does(peptide, monkeypatch, turns_deg, shown):
    found = [AngleCourse(name, (), radians(turn)) for name, turn in turns_deg.items()]
    monkeypatch.setattr(plot, "turning_angles", lambda topology, paths: found)
    assert [course.name for course in plot._turning(StoredRun.read(peptide))] == shown
