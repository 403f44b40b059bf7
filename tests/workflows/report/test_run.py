"""`tpsctl report` from the files of a run: a model system, a peptide, and damaged files."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode, OutputError, RecipeError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.report.run import report_run
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

WELL = """\
version: 1
name: <well>
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 2, images: 12, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.01, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, figures: false}
"""
PEPTIDE = """\
version: 1
name: peptide
seed: 5
endpoints: {{start: {{structure: {folder}/c7eq.pdb}}, end: {{structure: {folder}/c7ax.pdb}}}}
prior: {{kind: openmm, force_field: [amber99sbildn.xml], temperature_k: 300}}
path: {{paths: 2, images: 8, guess: {{kind: torsion}}}}
action: {{functional: truncated, dt_ps: 8e-4, friction_per_ps: 1.0, temperature_k: 300}}
optimize: {{method: lbfgs, max_steps: 3}}
validation: {{energy: {{force_field: [amber99sbildn.xml], minimize: false}}, saddle: false}}
output: {{directory: out, figures: false}}
"""


def run(folder, text):
    recipe = folder / "recipe.yaml"
    recipe.write_text(text)
    run_recipe(load_recipe(recipe, SampleRecipe, []), RunSettings(threads=1), Progress())
    return folder / "out"


def data_of(file):
    page = file.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    return run(tmp_path_factory.mktemp("well"), WELL)


@pytest.fixture(scope="module")
def peptide(tmp_path_factory, request):
    folder = request.config.rootpath / "recipes" / "alanine_dipeptide"
    return run(tmp_path_factory.mktemp("peptide"), PEPTIDE.format(folder=folder))


@pytest.fixture
def copied(well, tmp_path):
    return shutil.copytree(well, tmp_path / "run")


def test_a_run_writes_the_page_that_the_command_writes(well, tmp_path):
    done = report_run(well, out=tmp_path / "again.html", density=None, overwrite=False)
    assert (tmp_path / "again.html").read_text() == (well / "report.html").read_text()
    assert done["bytes"] == (well / "report.html").stat().st_size


def test_a_model_system_is_drawn_on_its_potential(well):
    data = data_of(well / "report.html")
    assert data["frames"] is None
    shading = data["planes"][0]["shading"]
    assert len(shading["values"]) == len(shading["y"]) == 60
    # the double well is 20 kJ/mol high at its middle, and the straight guess ends near the line y = 0
    assert min(map(min, shading["values"])) == pytest.approx(0, abs=0.1)
    assert len(data["action"]["total"][0]) == 2
    assert "&lt;well&gt;" in (well / "report.html").read_text()


def test_a_peptide_has_structures_dihedrals_and_energies(peptide):
    data = data_of(peptide / "report.html")
    assert (data["frames"]["n_paths"], data["frames"]["n_frames"], len(data["frames"]["atoms"])) == (2, 8, 22)
    assert len(data["frames"]["bonds"]) == 21  # a molecule of 22 atoms without rings
    assert not data["frames"]["beads"]
    assert data["panels"][0]["residue"] == "ALA2"
    assert data["panels"][0]["phi"][0][0] == pytest.approx(-77.5, abs=2)  # C7eq
    assert set(data["curves"][0]["energies"]) == {"raw"}
    assert data["curves"][0]["distance"][0] == 0
    assert "not converged" in (peptide / "report.html").read_text()


def test_a_run_without_a_report_can_have_one_later(tmp_path):
    folder = run(tmp_path, WELL.replace("figures: false", "figures: false, report: false"))
    assert not (folder / "report.html").exists()
    report_run(folder, out=None, density=None, overwrite=False)
    assert "</html>" in (folder / "report.html").read_text()


def test_the_wish_for_a_report_does_not_make_another_run(well):
    """The page is made from the result, so it is no part of what decides the result."""
    text = WELL.replace("figures: false", "figures: false, report: false")
    before = (well / "manifest.json").read_bytes()
    run(well.parent, text)
    assert (well / "manifest.json").read_bytes() == before


def test_a_page_is_not_overwritten_unasked(copied):
    with pytest.raises(OutputError, match=r"report\.html: is there already\. Replace it with --overwrite"):
        report_run(copied, out=None, density=None, overwrite=False)
    report_run(copied, out=None, density=None, overwrite=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images.csv", "", r"images.csv: damaged \(empty\)"),
        ("images.csv", "path,image\n0\n", "a row is shorter or longer than the header"),
        ("paths/path_0001.dcd", None, "path_0001.dcd: missing"),
        ("steps.csv", "step,stage,path,total\n0,lbfgs,0,much\n", "column total: could not convert string to float"),
    ],
)
def test_damaged_files_are_named(copied, name, content, message):
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_text(content)
    with pytest.raises(RecipeError, match=message):
        report_run(copied, out=None, density=None, overwrite=True)


def test_damaged_structures_of_a_molecule_leave_a_page_that_says_so(peptide, tmp_path):
    folder = shutil.copytree(peptide, tmp_path / "run")
    (folder / "topology.pdb").unlink()
    report_run(folder, out=None, density=None, overwrite=True)
    assert data_of(folder / "report.html")["frames_note"].startswith("The structures cannot be shown")


def test_the_command_answers_as_json(copied):
    result = CliRunner().invoke(app, ["report", str(copied), "--out", str(copied / "page.html"), "--json"])
    assert result.exit_code == ExitCode.COMPLETE
    assert json.loads(result.stdout)["file"] == str((copied / "page.html").resolve())
    again = CliRunner().invoke(app, ["report", str(copied), "--out", str(copied / "page.html")])
    assert again.exit_code == ExitCode.FAILED
    assert "--overwrite" in again.stderr
