"""Recipes that `tpsctl init` writes: complete, valid, and refused where `tpsctl check` would refuse them."""

import json
import shutil

import pytest

from tpsctl.errors import EndpointError, PriorError, RecipeError, TpsctlError
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.schema import recipe_schema
from tpsctl.workflows.init.force_field import force_field_value
from tpsctl.workflows.init.run import InitOptions, init_recipe
from tpsctl.workflows.init.template import NewRecipe, flow
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.settings import RunSettings


@pytest.fixture
def folder(root, tmp_path):
    """A folder with both structures of alanine dipeptide and its checkpoint."""
    for file in ("c7eq.pdb", "c7ax.pdb", "diffusion.safetensors"):
        shutil.copy(root / "recipes" / "alanine_dipeptide" / file, tmp_path / file)
    return tmp_path


@pytest.fixture
def made(folder):
    """Writes a recipe for alanine dipeptide."""

    def make(out="recipe.yaml", start="c7eq.pdb", end="c7ax.pdb", **options):
        return init_recipe(folder / start, folder / end, InitOptions(out=folder / out, **options))

    return make


FORCE_FIELD = ("amber99sbildn.xml",)


def test_a_recipe_with_a_force_field_is_complete(made, folder, golden, root):
    facts = made("alanine.yaml", force_fields=FORCE_FIELD)
    text = (folder / "alanine.yaml").read_text()
    golden(root / "tests" / "golden" / "init_force_field.yaml", text)
    recipe = load_recipe(folder / "alanine.yaml", SampleRecipe)
    assert recipe.name == "alanine"
    assert recipe.endpoints.start.structure == folder / "c7eq.pdb"
    assert recipe.output.directory == folder / "runs" / "alanine"
    assert check_recipe(recipe, RunSettings(), trial=False).passed
    assert facts["atoms"] == 22
    assert facts["next"] == [f"tpsctl {verb} {folder / 'alanine.yaml'}" for verb in ("check", "sample")]
    assert json.loads(json.dumps(facts)) == facts


def test_a_recipe_with_a_checkpoint_is_judged_by_the_force_field(made, folder, golden, root):
    made("model.yaml", checkpoint=folder / "diffusion.safetensors", force_fields=FORCE_FIELD, name="with a model")
    golden(root / "tests" / "golden" / "init_checkpoint.yaml", (folder / "model.yaml").read_text())
    recipe = load_recipe(folder / "model.yaml", SampleRecipe)
    assert recipe.prior.checkpoint == folder / "diffusion.safetensors"
    assert recipe.validation.energy.force_field == FORCE_FIELD
    assert recipe.name == "with a model"


def test_a_checkpoint_alone_gives_no_energies_and_says_so(made, folder):
    facts = made(checkpoint=folder / "diffusion.safetensors")
    assert load_recipe(folder / "recipe.yaml", SampleRecipe).validation.energy is None
    assert [f["what"] for f in facts["findings"]] == ["energies"]
    assert facts["findings"][0]["verdict"] == "warn"


def test_the_modeline_names_a_schema_that_is_there(made, folder):
    facts = made("deep/er/recipe.yaml", force_fields=FORCE_FIELD)
    first = (folder / "deep/er/recipe.yaml").read_text().splitlines()[0]
    schema = folder / "deep" / "er" / first.partition("$schema=")[2]
    assert json.loads(schema.read_text()) == recipe_schema(SampleRecipe)
    assert facts["schema"] == str(schema)
    assert load_recipe(folder / "deep/er/recipe.yaml", SampleRecipe).endpoints.end.structure == folder / "c7ax.pdb"


def test_nothing_is_overwritten(made, folder):
    (folder / "schema.json").write_text("mine")
    made(force_fields=FORCE_FIELD)
    assert (folder / "schema.json").read_text() == "mine"
    before = (folder / "recipe.yaml").read_text()
    with pytest.raises(RecipeError, match="exists already, and init never overwrites"):
        made(force_fields=FORCE_FIELD, name="other")
    assert (folder / "recipe.yaml").read_text() == before


def test_the_run_directory_is_a_free_one(made, folder):
    (folder / "runs" / "my-run").mkdir(parents=True)
    made(force_fields=FORCE_FIELD, name="my run!")
    assert load_recipe(folder / "recipe.yaml", SampleRecipe).output.directory == folder / "runs" / "my-run-2"


def test_a_recipe_called_recipe_is_named_after_its_folder(made, folder):
    made("valine/recipe.yaml", force_fields=FORCE_FIELD)
    assert load_recipe(folder / "valine/recipe.yaml", SampleRecipe).name == "valine"


def test_a_prior_is_never_guessed(made, folder):
    with pytest.raises(RecipeError, match=r"--force-field amber14-all.xml for peptides.*--checkpoint FILE"):
        made()
    assert not (folder / "recipe.yaml").exists()


def refused_by_check(folder, end, force_field):
    """What `check` says of the same structures and force field."""
    recipe = folder / "by_hand.yaml"
    text = NewRecipe("x", "c7eq.pdb", end, 22, None, force_field, route=True, directory="runs/x").text
    recipe.write_text(text)
    report = check_recipe(load_recipe(recipe, SampleRecipe), RunSettings(device="cpu"), trial=False)
    return [finding.text for finding in report.findings if finding.verdict == "FAIL"]


def without_last_atom(text):
    """A PDB file without its last atom."""
    lines = [line for line in text.splitlines() if line.startswith("ATOM")]
    return "\n".join([*lines[:-1], "END", ""])


def mirrored(text):
    """A PDB file whose molecule is mirrored at a plane."""
    lines = []
    for line in text.splitlines():
        if line.startswith("ATOM"):
            line = f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}"
        lines.append(line)
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("change", [without_last_atom, mirrored, lambda text: text[:200], lambda text: ""])
def test_bad_ends_are_refused_as_by_check(made, folder, change):
    (folder / "bad.pdb").write_text(change((folder / "c7ax.pdb").read_text()))
    with pytest.raises(EndpointError) as caught:
        made(end="bad.pdb", force_fields=FORCE_FIELD)
    assert [str(caught.value)] == refused_by_check(folder, "bad.pdb", list(FORCE_FIELD))
    assert sorted(file.name for file in folder.iterdir()) == [
        "bad.pdb",
        "by_hand.yaml",
        *("c7ax.pdb", "c7eq.pdb", "diffusion.safetensors"),
    ]


def test_equal_ends_are_refused_as_by_check(made, folder):
    with pytest.raises(EndpointError, match="are the same structure") as caught:
        made(end="c7eq.pdb", force_fields=FORCE_FIELD)
    assert [str(caught.value)] == refused_by_check(folder, "c7eq.pdb", list(FORCE_FIELD))


@pytest.mark.parametrize("names", [("tip3p.xml",), ("no_such_file.xml",)])
def test_a_force_field_that_does_not_fit_is_refused_as_by_check(made, folder, names):
    with pytest.raises(TpsctlError) as caught:
        made(force_fields=names)
    assert str(caught.value).splitlines()[0] in "\n".join(refused_by_check(folder, "c7ax.pdb", list(names)))
    assert not (folder / "recipe.yaml").exists()


def test_a_checkpoint_that_is_none_is_refused(made, folder):
    (folder / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(PriorError, match=r"bad\.safetensors"):
        made(checkpoint=folder / "bad.safetensors")


def test_own_force_fields_are_named_relative_to_the_recipe(root, tmp_path, monkeypatch):
    """Butane has a force field of its own, which is found in the current directory."""
    molecules = root / "tests" / "landscape" / "molecules"
    monkeypatch.chdir(molecules)
    start, end = (molecules / f"butane_{form}.pdb" for form in ("anti", "gauche"))
    init_recipe(start, end, InitOptions(out=tmp_path / "recipe.yaml", force_fields=("butane.xml",)))
    recipe = load_recipe(tmp_path / "recipe.yaml", SampleRecipe)
    assert recipe.prior.force_field == (molecules / "butane.xml",)


def test_systems_and_topologies_become_mappings(tmp_path):
    (tmp_path / "system.xml").write_text('<?xml version="1.0" ?>\n<System openmmVersion="8" type="System"/>')
    (tmp_path / "own.xml").write_text("<ForceField/>")
    assert force_field_value(["system.xml"], tmp_path) == {"kind": "system", "file": "system.xml"}
    assert force_field_value(["mol.prmtop"], tmp_path) == {"kind": "amber", "prmtop": "mol.prmtop"}
    assert force_field_value(["mol.top"], tmp_path) == {"kind": "gromacs", "top": "mol.top"}
    assert force_field_value(["amber14-all.xml", "own.xml"], tmp_path) == ["amber14-all.xml", "own.xml"]
    with pytest.raises(RecipeError, match="describes a whole system, got 2 files"):
        force_field_value(["amber14-all.xml", "system.xml"], tmp_path)


@pytest.mark.parametrize(
    "text", ["a.pdb", "../b c.pdb", "true", "No", "12", "1e5", "x: y", "#1", "[a]", "ü.pdb", "a\nb", 'q"q', "-", "a,b"]
)
def test_any_name_is_read_back_as_it_was(text, tmp_path):
    import yaml

    assert yaml.safe_load(f"{{key: {flow(text)}, list: {flow([text, text])}}}") == {"key": text, "list": [text, text]}


def test_a_recipe_with_strange_names_is_still_one(tmp_path):
    import yaml

    recipe = NewRecipe("null", "a\nseed: 2.pdb", "b #.pdb", 3, None, ["x y.xml"], route=False, directory="runs/null")
    read = yaml.safe_load(recipe.text)
    assert read["name"] == "null"
    assert read["seed"] == 1
    assert read["endpoints"]["start"]["structure"] == "a\nseed: 2.pdb"
    assert read["prior"]["force_field"] == ["x y.xml"]


def test_large_molecules_and_models_without_an_energy_get_levenberg_marquardt(made, folder, monkeypatch):
    from tpsctl.prior.network import NetworkPrior
    from tpsctl.workflows.init import run

    checkpoint = folder / "diffusion.safetensors"
    assert "energy landscape" in made("small.yaml", checkpoint=checkpoint)["reason"]
    monkeypatch.setattr(run, "MOST_ROUTE_ATOMS", 21)
    facts = made("large.yaml", force_fields=FORCE_FIELD)
    assert facts["method"] == "levenberg_marquardt"
    assert facts["reason"] == "22 atoms; routes are searched for up to 21"
    monkeypatch.setattr(run, "MOST_ROUTE_ATOMS", 70)
    original = run.open_prior

    def opened(*arguments) -> NetworkPrior:
        prior = original(*arguments)
        prior.conservative = False
        return prior

    monkeypatch.setattr(run, "open_prior", opened)
    facts = made("no_energy.yaml", checkpoint=checkpoint)
    assert facts["method"] == "levenberg_marquardt"
    assert facts["reason"].startswith('prior "diffusion" gives a score without an energy')
