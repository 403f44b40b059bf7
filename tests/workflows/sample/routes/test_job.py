"""A search for routes from the recipe to the files: butane, whose saddles are known (13.755 and 3.283 kJ/mol)."""

import csv
import json

import mdtraj
import pytest
import torch

from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

BUTANE = """\
version: 1
name: butane
seed: 1
endpoints: {{start: {{structure: {folder}/butane_anti.pdb}}, end: {{structure: {folder}/butane_{end}.pdb}}}}
prior: {{kind: openmm, force_field: [{folder}/butane.xml], temperature_k: 300}}
path: {{paths: 8, images: 30, batch_paths: 4}}
optimize: {{method: route, max_rounds: {rounds}, stable_rounds: 1}}
validation: {{energy: {{force_field: [{folder}/butane.xml], minimize: false}}}}
output: {{directory: out, trajectories: [dcd], figures: {figures}}}
"""


@pytest.fixture
def recipe_of(tmp_path, root):
    folder = root / "tests" / "landscape" / "molecules"

    def make(*, end="gauche", rounds=2, figures="false"):
        path = tmp_path / "butane.yaml"
        path.write_text(BUTANE.format(folder=folder, end=end, rounds=rounds, figures=figures))
        return path

    return make


def run(recipe, *assignments, **settings):
    return run_recipe(load_recipe(recipe, SampleRecipe, assignments), RunSettings(threads=1, **settings), Progress())


def table(file):
    return list(csv.DictReader(file.open()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    """A finished run with figures, its folder and its manifest."""
    folder = tmp_path_factory.mktemp("butane")
    molecules = request.config.rootpath / "tests" / "landscape" / "molecules"
    recipe = folder / "butane.yaml"
    recipe.write_text(BUTANE.format(folder=molecules, end="gauche", rounds=8, figures="true"))
    return folder / "out", run(recipe)


def test_the_lowest_route_is_found_and_everything_is_written(finished):
    out, manifest = finished
    assert manifest["outcome"] == "complete"
    assert manifest["search"]["complete"]
    names = sorted(p.name for p in out.iterdir())
    assert names == sorted(
        "figures images.csv manifest.json minima.csv minima.dcd paths paths.csv report.html routes.csv saddles.csv "
        "saddles.dcd topology.pdb".split()
    )
    first = table(out / "routes.csv")[0]
    assert float(first["barrier_forward_kj_per_mol"]) == pytest.approx(13.755, abs=0.02)
    assert float(first["barrier_backward_kj_per_mol"]) == pytest.approx(10.472, abs=0.02)
    assert first["valid"] == "valid"
    assert float(first["action"]) == pytest.approx(float(first["action_bound"]), rel=0.02)
    figures = {p.stem for p in (out / "figures").glob("*.png")}
    assert {"energy", "network", "routes", "torsions"} <= figures


def test_every_saddle_is_verified(finished):
    out, _ = finished
    for saddle in table(out / "saddles.csv"):
        assert saddle["index"] == "1"
        assert float(saddle["gradient_kj_per_mol_per_nm"]) <= 0.01
        assert float(saddle["wavenumber_1_per_cm"]) < 0 < float(saddle["wavenumber_2_per_cm"])


def test_the_path_passes_its_saddles_and_its_frames_are_the_table_s(finished):
    out, _ = finished
    images = [row for row in table(out / "images.csv") if row["path"] == "0"]
    kinds = [row["stationary"] for row in images if row["stationary"]]
    assert kinds == ["minimum", "saddle", "minimum"]
    top = next(row for row in images if row["stationary"] == "saddle")
    assert float(top["energy_raw_above_start_kj_per_mol"]) == pytest.approx(13.755, abs=0.02)
    path = mdtraj.load_dcd(str(out / "paths" / "path_0000.dcd"), top=str(out / "topology.pdb"))
    assert path.n_frames == len(images) == 30
    saddles = mdtraj.load_dcd(str(out / "saddles.dcd"), top=str(out / "topology.pdb"))
    assert saddles.n_frames == len(table(out / "saddles.csv"))


def test_rates_obey_detailed_balance(finished):
    """k_AB / k_BA of the network is the ratio of the populations of B and A, if nothing else is between them."""
    out, manifest = finished
    minima = {row["end"]: row for row in table(out / "minima.csv") if row["end"]}
    for saddle in table(out / "saddles.csv"):
        ends = {saddle["minimum_1"], saddle["minimum_2"]}
        if ends == {minima["A"]["minimum"], minima["B"]["minimum"]}:
            forth, back = float(saddle["rate_1_to_2_per_s"]), float(saddle["rate_2_to_1_per_s"])
            by_number = {row["minimum"]: float(row["population"]) for row in table(out / "minima.csv")}
            ratio = by_number[saddle["minimum_2"]] / by_number[saddle["minimum_1"]]
            assert forth / back == pytest.approx(ratio, rel=1e-6)
    assert manifest["kinetics"]["rate_forward_per_s"] > 0


def test_shards_find_the_same_as_one_process(recipe_of, tmp_path):
    alone = run(recipe_of(), out=tmp_path / "alone")
    for number in (1, 2):
        run(recipe_of(), out=tmp_path / "shards", shard=Shard(number, 2))
    together = gather(tmp_path / "shards", Progress())
    for name in ("routes", "saddles", "search"):
        assert together[name] == alone[name]
    for name in ("routes.csv", "saddles.csv", "minima.csv", "images.csv"):
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_more_shards_than_blocks_are_refused(recipe_of, tmp_path):
    with pytest.raises(RecipeError, match="8 attempts in blocks of 4 make 2 blocks, so at most 2 shards"):
        run(recipe_of(), out=tmp_path / "many", shard=Shard(1, 3))


def test_a_spent_budget_is_not_called_complete(recipe_of, tmp_path):
    manifest = run(recipe_of(rounds=1), out=tmp_path / "short")
    assert manifest["outcome"] == "not_converged"
    assert "max_rounds" in manifest["paths"][0]["remedy"]


@pytest.fixture
def one_state(recipe_of, tmp_path, root):
    """A recipe whose end is the start with one hydrogen 0.01 nm away."""
    lines = (root / "tests" / "landscape" / "molecules" / "butane_anti.pdb").read_text().splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM")))
    x = float(lines[last][30:38]) + 0.1  # angstrom
    lines[last] = f"{lines[last][:30]}{x:8.3f}{lines[last][38:]}"
    (tmp_path / "moved.pdb").write_text("".join(lines))
    recipe = recipe_of()
    given = str(root / "tests" / "landscape" / "molecules" / "butane_gauche.pdb")
    recipe.write_text(recipe.read_text().replace(given, "moved.pdb"))
    return recipe


def test_one_state_given_twice_has_no_route(one_state):
    with pytest.raises(TpsctlError, match="both ends fall into the same minimum"):
        run(one_state)


def test_check_says_what_a_search_needs(recipe_of):
    report = check_recipe(load_recipe(recipe_of(), SampleRecipe), RunSettings(threads=1))
    assert report.passed
    texts = {finding.what: finding.text for finding in report.findings}
    assert "both ends reach minima of their own" in texts["routes"]
    assert "2 rounds" in texts["cost"]
    assert report.estimate is not None


def test_check_refuses_ends_in_one_minimum(one_state):
    report = check_recipe(load_recipe(one_state, SampleRecipe), RunSettings(threads=1))
    assert not report.passed
    assert any("same minimum" in finding.text for finding in report.findings if finding.verdict == "FAIL")


def test_a_model_potential_is_refused(tmp_path):
    path = tmp_path / "well.yaml"
    path.write_text(
        "version: 1\nname: well\nseed: 1\n"
        "endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.0]}}\n"
        "prior: {kind: double_well, temperature_k: 300}\npath: {guess: {kind: linear}}\n"
        "optimize: {method: route}\noutput: {directory: out}\n"
    )
    with pytest.raises(RecipeError, match="points of a model potential"):
        run(path)


def test_routes_are_the_default_for_small_molecules_on_an_energy_landscape(recipe_of, tmp_path):
    path = recipe_of(rounds=1)
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("optimize"))
    path.write_text(text + "\n")
    from tpsctl.workflows.sample.tools import Tools

    tools = Tools(load_recipe(path, SampleRecipe), torch.device("cpu"), threads=1)
    assert tools.recipe.route is not None
    assert json.loads(tools.recipe.model_dump_json())["optimize"]["method"] == "route"


def test_a_force_field_that_is_the_prior_gives_the_energies_without_being_named_again(recipe_of, tmp_path):
    path = recipe_of(rounds=1)
    kept = [line for line in path.read_text().splitlines() if not line.startswith("validation")]
    path.write_text("\n".join(kept) + "\n")
    manifest = run(path, out=tmp_path / "bare")
    assert manifest["paths"][0]["raw"]["barrier_forward_kj_per_mol"] == pytest.approx(13.755, abs=0.02)
    assert manifest["energies"]["platform"] == "Reference"
    report = check_recipe(load_recipe(path, SampleRecipe), RunSettings(threads=1, out=tmp_path / "other"))
    assert not any("no validation.energy" in finding.text for finding in report.findings)
