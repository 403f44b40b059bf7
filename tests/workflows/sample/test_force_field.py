"""Force fields in recipes: every kind through `check` and `sample`, every file in the digest and the manifest."""

import json
import shutil
from pathlib import Path

import openmm
import pytest
import torch
from openmm import app

from tpsctl.errors import RecipeError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.identity import identify
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

DATA = Path(__file__).parents[2] / "molecule" / "data"
RECIPE = """\
version: 1
name: short
seed: 1
endpoints: {{start: {{structure: {start}}}, end: {{structure: {end}}}}}
prior: {{kind: openmm, force_field: {force_field}, temperature_k: 300}}
path: {{paths: 1, images: 6, guess: {{kind: {guess}}}}}
action: {{functional: truncated, dt_ps: 0.001, friction_per_ps: 1.0}}
optimize: {{method: lbfgs, max_steps: 1}}
validation: {{energy: {{force_field: {force_field}, minimize: false}}}}
output: {{directory: out, figures: false}}
"""


@pytest.fixture
def write(tmp_path):
    """A recipe beside copies of the data files."""
    for file in DATA.iterdir():
        shutil.copy(file, tmp_path)

    def recipe(force_field, start="butane_anti.pdb", end="butane_gauche.pdb", guess="torsion") -> Path:
        file = tmp_path / "recipe.yaml"
        file.write_text(RECIPE.format(force_field=force_field, start=start, end=end, guess=guess))
        return file

    return recipe


def load(file: Path, *assignments: str) -> SampleRecipe:
    return load_recipe(file, SampleRecipe, assignments)


def findings(file: Path, *assignments: str) -> dict[str, str]:
    report = check_recipe(load(file, *assignments), RunSettings(threads=1), trial=False)
    return {finding.what: f"{finding.verdict} {finding.text}" for finding in reversed(report.findings)}


def test_a_changed_force_field_is_another_run(write, tmp_path):
    recipe = write("[butane.xml]")
    manifest = run_recipe(load(recipe), RunSettings(threads=1), Progress())
    assert manifest["inputs"]["prior.force_field.0"]["file"] == str(tmp_path / "butane.xml")
    assert manifest["prior_force_fields"] == [
        {"force_field": ["butane.xml"], "platform": "Reference", "precision": "double", "solvent": ""}
    ]
    text = (tmp_path / "butane.xml").read_text()
    (tmp_path / "butane.xml").write_text(text.replace('k="224262.4"', 'k="22426.24"'))
    with pytest.raises(RecipeError) as refused:
        run_recipe(load(recipe), RunSettings(threads=1), Progress())
    assert "holds the result of another recipe" in str(refused.value)
    assert "inputs.validation.energy.force_field.0.sha256" in str(refused.value)
    (tmp_path / "butane.xml").write_text(text)
    again = run_recipe(load(recipe), RunSettings(threads=1), Progress())
    assert again["digest"] == manifest["digest"]


def test_a_file_beside_the_recipe_goes_before_one_of_openmm(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")  # where the command is started does not matter
    recipe = write("[amber14-all.xml]")
    assert load(recipe).prior.force_field == ("amber14-all.xml",)
    shutil.copy(tmp_path / "butane.xml", tmp_path / "amber14-all.xml")
    assert load(recipe).prior.force_field == (tmp_path / "amber14-all.xml",)
    assert findings(recipe)["prior"].startswith("ok")


def test_the_recipe_in_a_manifest_is_the_same_recipe(write):
    recipe = load(write("[butane.xml, tip3p.xml]"))
    again = SampleRecipe.model_validate_json(json.dumps(recipe.model_dump(mode="json")))
    assert again == recipe
    assert identify(again)["digest"] == identify(recipe)["digest"]


def test_files_of_openmm_and_included_files_are_inputs(write, tmp_path):
    (tmp_path / "outer.xml").write_text('<ForceField>\n <Include file="butane.xml"/>\n</ForceField>')
    before = identify(load(write("[outer.xml, tip3p.xml]")))
    assert set(before["inputs"]) >= {
        *("prior.force_field.0", "prior.force_field: butane.xml", "prior.force_field: tip3p.xml"),
        "validation.energy.force_field: butane.xml",
    }
    (tmp_path / "butane.xml").write_text("<ForceField/>")
    assert identify(load(write("[outer.xml, tip3p.xml]")))["digest"] != before["digest"]


def test_a_coarse_grained_chain_diffuses_with_the_masses_of_its_force_field(write):
    recipe = write("[ca12.xml]", "ca12_a.pdb", "ca12_b.pdb", "idpp")
    found = findings(recipe)
    assert found["system"] == (
        "ok ca12.xml (vacuum; Reference platform, double precision); masses of the System, 110 to 110 amu"
    )
    tools = Tools(load(recipe), torch.device("cpu"), 1)
    assert tools.prior.masses_amu == (110.0,) * 12
    assert tools.prior.topology.masses_amu == (110.0,) * 12


@pytest.mark.parametrize(
    ("force_field", "name"),
    [
        ("{kind: amber, prmtop: alanine.prmtop}", "alanine.prmtop (vacuum"),
        ("{kind: amber, prmtop: alanine.prmtop, implicit_solvent: GBn2}", "alanine.prmtop + GBn2 (GBn2, mbondi3 radii"),
        ("{kind: gromacs, top: alanine.top}", "alanine.top (vacuum"),
        ("{kind: system, file: system.xml}", "system.xml (vacuum"),
    ],
)
def test_every_kind_of_force_field_is_checked_and_is_an_input(write, tmp_path, root, force_field, name):
    system = app.AmberPrmtopFile(str(DATA / "alanine.prmtop")).createSystem()
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    alanine = root / "recipes" / "alanine_dipeptide"
    recipe = write(force_field, alanine / "c7eq.pdb", alanine / "c7ax.pdb")
    found = findings(recipe)
    assert found["prior"].startswith("ok")
    assert found["system"].startswith(f"ok {name}")
    assert found["energies"].startswith(f"ok {name}")
    before = identify(load(recipe))
    file = next(Path(entry["file"]) for key, entry in before["inputs"].items() if key.startswith("prior.force_field."))
    file.write_text(file.read_text() + "\n")
    assert identify(load(recipe))["digest"] != before["digest"]


def test_amber_coordinates_are_read_with_their_topology(write, monkeypatch):
    recipe = write("{kind: amber, prmtop: alanine.prmtop}")
    trajectory = "{trajectory: alanine.rst7, topology: alanine.prmtop, frame: 0}"
    monkeypatch.chdir(recipe.parent)  # files in --set are relative to the current directory
    found = findings(recipe, f"endpoints.start={trajectory}", f"endpoints.end={trajectory}")
    assert "are the same structure" in found["ends"]  # both were read


@pytest.mark.parametrize(
    ("force_field", "text"),
    [
        (
            "[butan.xml]",
            'FAIL force field "butan.xml": no such file beside the recipe, and OpenMM ships none of that name.',
        ),
        ("[amber14-al.xml]", 'Did you mean "amber14-all.xml"?'),
        ("[README.md]", "README.md:1: this is no XML"),
    ],
)
def test_unusable_files_fail_the_check(write, force_field, text):
    assert text in findings(write(force_field))["prior"]


def test_missing_topologies_fail_before_anything_is_read(write):
    recipe = write("{kind: amber, prmtop: gone.prmtop}")
    assert "prior.force_field.prmtop: no such file: " in findings(recipe)["recipe"]


@pytest.mark.parametrize(
    ("force_field", "text"),
    [
        (
            "{kind: ambr, prmtop: x}",
            'prior.force_field: kind: got "ambr", expected one of system, amber, gromacs, structure_based. Did',
        ),
        ("[]", "prior.force_field: got [], expected a list of at least 1."),
        (
            "{prmtop: x}",
            'prior.force_field: the key "kind" is missing, which says what kind this is. '
            "Expected one of system, amber, gromacs, structure_based.",
        ),
        ("[3]", "prior.force_field.0: got 3, expected text."),
        ("own.xml", 'prior.force_field: got "own.xml", expected a list: [a, b].'),
        ("{kind: amber}", "prior.force_field.prmtop: missing. Topology file (prmtop, parm7)"),
    ],
)
def test_mistakes_in_the_section_name_the_key(write, force_field, text):
    with pytest.raises(RecipeError) as refused:
        load(write(force_field))
    assert text in str(refused.value)
