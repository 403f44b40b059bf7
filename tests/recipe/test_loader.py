"""Recipes: what is read, and what is said when something is wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpsctl.errors import RecipeError
from tpsctl.recipe.document import read_document
from tpsctl.recipe.loader import input_files, load_recipe, recipe_digest
from tpsctl.recipe.sample import SampleRecipe

GOOD = """\
version: 1
name: test
seed: 7
endpoints:
  start: {structure: a.pdb}
  end: {trajectory: md.xtc, topology: top.pdb, frame: 3}
prior: {kind: checkpoint, checkpoint: prior.safetensors, diffusion_time: 1e-2}
path: {paths: 2, images: 20, guess: {kind: latent, level: 0.1}}
action: {functional: truncated, dt_ps: 0.001, friction_per_ps: 1, temperature_k: 300}
optimize:
  - {method: lbfgs, max_steps: 50, diffusion_time: 0.02}
  - {method: adam, max_steps: 10, learning_rate_nm: 1e-3}
output: {directory: out}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _write(text: str, *replacements: tuple[str, str]) -> Path:
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        Path("r.yaml").write_text(text)
        return Path("r.yaml")

    return _write


def complaint(path: Path, *assignments: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, SampleRecipe, assignments)
    return str(caught.value)


def test_a_good_recipe_is_read_with_numbers_as_everyone_writes_them(write):
    recipe = load_recipe(write(GOOD), SampleRecipe)
    assert recipe.prior.diffusion_time == 0.01
    assert recipe.action.friction_per_ps == 1.0
    assert isinstance(recipe.action.friction_per_ps, float)
    assert [stage.method for stage in recipe.stages] == ["lbfgs", "adam"]


def test_file_names_are_relative_to_the_recipe_and_in_set_to_the_current_directory(write, tmp_path, monkeypatch):
    path = write(GOOD).resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = load_recipe(path, SampleRecipe, ["prior.checkpoint=mine.safetensors"])
    assert recipe.endpoints.start.structure == tmp_path / "a.pdb"
    assert recipe.prior.checkpoint == tmp_path / "elsewhere" / "mine.safetensors"
    assert recipe.output.directory == tmp_path / "out"
    assert set(input_files(recipe)) == {
        "endpoints.start.structure",
        "endpoints.end.trajectory",
        "endpoints.end.topology",
        "prior.checkpoint",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dt_ps: 0.001", "dt_ps: -0.002", "r.yaml:9: action.dt_ps: got -0.002, expected a value > 0 (ps), or auto."),
        (
            "max_steps: 50",
            "max_stpes: 50",
            'r.yaml:11: optimize.0.max_stpes: unknown key. Did you mean "max_steps"? '
            "Allowed here: max_steps, action_tolerance,",
        ),
        (
            "dt_ps: 0.001",
            "dt_ps: 1 fs",
            'r.yaml:9: action.dt_ps: got "1 fs", expected a number (ps), or auto. '
            "Write the number alone: the unit is in the key.",
        ),
        ("images: 20", "images: 20.5", "r.yaml:8: path.images: got 20.5, expected a whole number, or auto."),
        ("seed: 7", "seed: no", 'r.yaml:3: seed: got "no", expected a whole number.'),
        (
            "method: lbfgs",
            "method: lbgfs",
            'r.yaml:11: optimize.0: method: got "lbgfs", expected one of levenberg_marquardt, string, lbfgs, adam, '
            'sgd. Did you mean "lbfgs"?',
        ),
        (
            "{kind: latent, level: 0.1}",
            "{level: 0.1}",
            'r.yaml:8: path.guess: the key "kind" is missing, which says what kind this is. Expected one of linear, ',
        ),
        (
            ", level: 0.1",
            "",
            "r.yaml:8: path.guess.level: missing. Diffusion time of the interpolation;",
        ),
        (
            "friction_per_ps: 1,",
            "friction_per_ps: 1, diffusion_nm2_per_ps: 1,",
            "r.yaml:9: action: give at most one of friction_per_ps (1/ps) and diffusion_nm2_per_ps (nm^2/ps).",
        ),
        ("version: 1", "version: 2", "r.yaml:1: version: got 2, expected 1."),
        ("seed: 7", "seed: 7\nseed: 8", "r.yaml:4: seed: given twice. Remove one."),
        ("frame: 3}", "frame: 3", "not valid YAML"),
        ("path: {paths: 2", "path: 3\npaht: {paths: 2", "r.yaml:8: path: got 3, expected a section with keys"),
        ("dt_ps: 0.001", "dt_ps: atuo", 'got "atuo", expected a number (ps), or auto. Did you mean "auto"?'),
        ("images: 20", "images: 2", "r.yaml:8: path.images: got 2, expected a value >= 3, or auto."),
        ("diffusion_time: 1e-2", "diffusion_time: 2", "got 2, expected a value <= 1, or auto."),
        ("dt_ps: 0.001", "dt_ps: .nan", "r.yaml:9: action.dt_ps: got NaN, expected a"),
    ],
)
def test_every_mistake_is_named_with_line_key_value_and_remedy(write, old, new, message):
    assert message in complaint(write(GOOD, (old, new)))


def test_a_key_in_the_wrong_section_is_pointed_to_the_right_one(write):
    assert 'images: unknown key. Did you mean "path.images"?' in complaint(write(GOOD + "images: 5\n"))


def test_all_mistakes_are_reported_at_once(write):
    text = complaint(write(GOOD, ("dt_ps: 0.001", "dt_ps: 0"), ("paths: 2", "paths: 0")))
    assert len(text.splitlines()) == 2


def test_keys_of_another_method_are_refused(write):
    text = complaint(write(GOOD, ("method: lbfgs,", "method: lbfgs, momentum: 0.9,")))
    assert "optimize.0.momentum: unknown key" in text


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("action.dt_ps=0", "--set action.dt_ps=0: action.dt_ps: got 0, expected a value > 0 (ps), or auto."),
        ("action.dt=1", '--set action.dt=1: action.dt: unknown key. Did you mean "dt_ps"?'),
        (
            "optimize.max_steps=600",
            "optimize.max_steps is no item of a list of 2 (counted from 0). "
            "Write optimize.1.max_steps for the last item.",
        ),
        ("optimize.5.max_steps=1", '"5" is no item of a list of 2 (counted from 0).'),
        ("seed", "expected KEY=VALUE"),
        ("seed.x=1", '"seed" is 7, which has no keys.'),
        ("prior=[1", "--set prior=[1: not valid YAML"),
    ],
)
def test_mistakes_in_set_are_blamed_on_set(write, assignment, message):
    assert message in complaint(write(GOOD), assignment)


def test_set_changes_values_and_can_add_keys(write):
    recipe = load_recipe(
        write(GOOD), SampleRecipe, ["optimize.1.dt_ps=1e-5", "validation.energy.force_field=[amber14-all.xml]"]
    )
    assert recipe.stages[1].dt_ps == 1e-5
    assert recipe.validation.energy.force_field == ("amber14-all.xml",)


def test_missing_and_non_text_files_are_named(tmp_path):
    assert "cannot read the recipe: No such file" in complaint(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "no text file" in complaint(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("- 1\n")
    assert "a recipe is a mapping" in complaint(tmp_path / "c.yaml")


def test_digest_follows_contents_not_places(write):
    path = write(GOOD)
    recipe, hashes = load_recipe(path, SampleRecipe), {"prior.checkpoint": "00", "endpoints.start.structure": "11"}
    digest = recipe_digest(recipe, hashes)
    assert (
        recipe_digest(load_recipe(path, SampleRecipe, ["output.directory=x", "prior.checkpoint=y"]), hashes) == digest
    )
    assert recipe_digest(recipe, {**hashes, "prior.checkpoint": "22"}) != digest
    assert recipe_digest(load_recipe(path, SampleRecipe, ["seed=8"]), hashes) != digest


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_every_number_survives_the_yaml_reader(tmp_path_factory, real, whole):
    path = tmp_path_factory.mktemp("yaml") / "n.yaml"
    path.write_text(f"a: {real!r}\nb: {whole}\nc: {real:e}\n")
    values = read_document(path).values
    assert values["a"] == real
    assert values["b"] == whole
    assert values["c"] == float(f"{real:e}")


TEXT = st.text(st.characters(max_codepoint=0xD7FF))  # JSON writes what is beyond as pairs, which YAML does not know


@given(st.recursive(st.booleans() | st.none() | st.integers() | TEXT, st.lists, max_leaves=8))
def test_json_is_yaml(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "j.yaml"
    path.write_text(json.dumps({"value": value}))
    assert read_document(path).values["value"] == value


# --- YAML that is hostile, absurd, or merely uses what YAML has


def refused(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_document(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_merge_keys_work_and_what_is_written_out_comes_first(write):
    text = GOOD.replace(
        "  start: {structure: a.pdb}\n", "  start: &end {trajectory: md.xtc, topology: top.pdb, frame: 0}\n"
    )
    text = text.replace("{trajectory: md.xtc, topology: top.pdb, frame: 3}", "{<<: *end, frame: 3}")
    recipe = load_recipe(write(text), SampleRecipe)
    assert (recipe.endpoints.end.topology.name, recipe.endpoints.start.frame, recipe.endpoints.end.frame) == (
        "top.pdb", 0, 3
    )  # fmt: skip


def test_a_merge_of_several_mappings_takes_the_first(tmp_path):
    (tmp_path / "r.yaml").write_text("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\n")
    document = read_document(tmp_path / "r.yaml")
    assert document.values["c"] == {"x": 1, "y": 3}
    assert document.origin(("c", "y")).where.endswith("r.yaml:2")


def test_a_merge_of_something_else_is_refused(tmp_path):
    assert refused(tmp_path, "a: 1\nb: {<<: 3}\n") == "r.yaml:2: b.<<: expected an alias of a mapping, e.g. <<: *start."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]\n", "r.yaml:1: a.0: an alias stands inside what it names. Write the values out."),
        ("a: &a {<<: *a}\n", "r.yaml:1: a: an alias stands inside what it names. Write the values out."),
        ("a: " + "[" * 60 + "]" * 60, "r.yaml:1: a.0.0: nested too deep, expected at most 50 levels."),
        ("a: " + "[" * 9000 + "]" * 9000, "r.yaml: nested too deep, expected at most 50 levels."),
        ("a: " + 5000 * "9", "r.yaml:1: a: got a number of 5000 digits, expected at most 300."),
        ("a: 1e-400", "r.yaml:1: a: got 1e-400, a number too small for a computer."),
    ],
)
def test_what_would_never_end_or_fit_is_refused_with_its_line(tmp_path, text, message):
    assert refused(tmp_path, text) == message


def test_aliases_that_multiply_are_refused_at_once(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(9)]
    assert "aliases multiply to more than 100000 values" in refused(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1e-320", "1e-320"), ("-1e31", "-1e+31"), ("1" + 60 * "0", "a whole number of 61 digits")],
)
def test_absurd_numbers_are_refused_with_key_and_bounds(write, value, shown):
    said = complaint(write(GOOD, ("dt_ps: 0.001", f"dt_ps: {value}")))
    assert said == f"r.yaml:9: action.dt_ps: got {shown}, expected 0 or a number between 1e-30 and 1e+30 in size."


def test_a_byte_order_mark_is_no_part_of_the_recipe(write):
    path = write(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_recipe(path, SampleRecipe).name == "test"
