"""`compare` from a run to its files: the reference is a random walk along guesses between the ends of the run."""

import json

import numpy as np
import pytest
import torch

from tpsctl.errors import EndpointError, OutputError, RecipeError, ValidationError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.validation.ensemble.measures import MEASURES
from tpsctl.workflows.compare.ensembles import NO_OM, RUN, STRAIGHT
from tpsctl.workflows.compare.run import SIMULATION, compare_run
from tpsctl.workflows.compare.settings import CompareSettings
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

mdtraj = pytest.importorskip("mdtraj")
pytest.importorskip("deeptime", reason='deeptime is not installed (pip install -e ".[compare]")')

RECIPE = """
version: 1
name: small
seed: 3
endpoints: {{start: {{structure: {root}/c7eq.pdb}}, end: {{structure: {root}/c7ax.pdb}}}}
prior: {{kind: openmm, force_field: [amber99sbildn.xml], temperature_k: 300}}
path: {{paths: 4, images: 12, guess: {{kind: torsion}}}}
action: {{functional: truncated, dt_ps: 4.0e-4, friction_per_ps: 1.0}}
optimize: {{method: lbfgs, max_steps: 2}}
validation: {{saddle: false}}
output: {{directory: unused, trajectories: [dcd], figures: false}}
"""


@pytest.fixture(scope="module")
def alanine(root):
    return root / "recipes" / "alanine_dipeptide"


@pytest.fixture(scope="module")
def run(alanine, tmp_path_factory):
    """A run of four paths that took two steps."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(root=alanine))
    run_recipe(load_recipe(recipe, SampleRecipe), RunSettings(folder / "run", threads=1), Progress())
    torch.set_default_dtype(before)
    return folder / "run"


@pytest.fixture(scope="module")
def walks(run, alanine, tmp_path_factory):
    """Trajectories that walk at random along paths of the run with small noise, and one that stays in the start."""
    folder, rng = tmp_path_factory.mktemp("md"), np.random.default_rng(1)
    topology = mdtraj.load(alanine / "c7eq.pdb").topology
    paths = [mdtraj.load(str(file), top=topology).xyz for file in sorted((run / "paths").glob("*.dcd"))]
    files = []
    for number in range(3):
        at, path, frames = 0, paths[number], []
        for _ in range(2000):
            at = int(np.clip(at + rng.choice((-1, 0, 1)), 0, len(path) - 1))
            if at == 0:
                path = paths[rng.integers(len(paths))]
            frames.append(path[at] + 0.002 * rng.normal(size=path[at].shape))
        files.append(folder / f"walk_{number}.xtc")
        mdtraj.Trajectory(np.array(frames), topology).save(str(files[-1]))
    stays = folder / "stays.dcd"
    mdtraj.Trajectory(np.array([paths[0][0] + 0.002 * rng.normal(size=(22, 3)) for _ in range(300)]), topology).save(
        str(stays)
    )
    return files, stays


def settings(alanine, files, **changes):
    values = {"references": tuple(files), "topology": alanine / "c7eq.pdb", "clusters": 20, "draws": 40, "threads": 1}
    return CompareSettings(**values | changes)


def test_a_comparison_has_controls_simulation_error_bars_and_settings(run, walks, alanine):
    answer = compare_run(run, settings(alanine, walks[0]), Progress())
    rows = {row["name"]: row for row in answer["ensembles"]}
    assert list(rows) == [RUN, STRAIGHT, NO_OM, SIMULATION]
    assert all(set(row["measures"]) == set(MEASURES) for row in rows.values())
    assert rows[STRAIGHT]["valid"] == 0
    assert rows[RUN]["valid"] > 0
    assert answer["simulation"]["transitions"] >= 6
    low, value, high = (answer["simulation"]["population_b"][key] for key in ("low", "value", "high"))
    assert low <= value <= high
    assert {"phi ALA2", "psi ALA2"} <= set(answer["settings"]["events"])
    assert answer["settings"]["lag_frames"] in (1, 2, 4, 8, 16, 32, 64, 128)
    # the walk goes along the paths of the run, and straight lines leave them
    assert rows[RUN]["measures"]["outside_fraction"]["value"] < rows[STRAIGHT]["measures"]["outside_fraction"]["value"]
    assert "straight line" in str(answer["measures"]["outside_fraction"]["told_apart"])
    folder = run / "comparison"
    assert json.loads((folder / "comparison.json").read_text()) == answer
    lines = (folder / "comparison.csv").read_text().splitlines()
    assert lines[0].startswith("ensemble,paths,valid,visited_states_js_distance")
    assert len(lines) == 5
    assert (folder / "comparison.png").stat().st_size > 10_000
    assert not list(run.glob(".comparison*"))
    with pytest.raises(OutputError, match="--overwrite"):
        compare_run(run, settings(alanine, walks[0]), Progress())


def test_two_comparisons_are_equal(run, walks, alanine):
    first, second = (compare_run(run, settings(alanine, walks[0], overwrite=True, lag=2), Progress()) for _ in range(2))
    assert first == second
    assert first["settings"]["lag_frames"] == 2
    assert not first["settings"]["lag_chosen"]


def test_a_state_that_was_never_visited_is_named(run, walks, alanine):
    with pytest.raises(ValidationError, match="never visits state B"):
        compare_run(run, settings(alanine, [walks[1]], overwrite=True), Progress())


def test_short_trajectories_are_refused(run, walks, alanine):
    with pytest.raises(ValidationError, match="20 frames, expected at least 100"):
        compare_run(run, settings(alanine, walks[0], overwrite=True, stride=100), Progress())
    with pytest.raises(RecipeError, match="--lag: got 1000 frames, expected at most 400"):
        compare_run(run, settings(alanine, walks[0], overwrite=True, lag=1000), Progress())


def test_other_atoms_are_refused(run, walks, alanine, root):
    wrong = root / "recipes" / "trp_cage" / "native.pdb"
    with pytest.raises(EndpointError, match="22 atoms"):
        compare_run(run, settings(alanine, walks[0], overwrite=True, topology=wrong), Progress())
    with pytest.raises(EndpointError, match="the reference does not fit the run"):
        compare_run(run, settings(alanine, walks[0], overwrite=True, select="name CA CB C N"), Progress())


def test_another_order_of_atoms_is_found_by_their_names(run, walks, alanine, tmp_path):
    trajectory = mdtraj.load(str(walks[0][0]), top=str(alanine / "c7eq.pdb"))
    order = [5, 4, 3, 2, 1, 0, *range(15, 5, -1), *range(21, 15, -1)]
    changed = mdtraj.Trajectory(trajectory.xyz[:, order], _reordered(trajectory.topology, order))
    changed.save(str(tmp_path / "changed.xtc"))
    changed[0].save(str(tmp_path / "changed.pdb"))
    files = [tmp_path / "changed.xtc"]
    found = compare_run(run, settings(alanine, files, overwrite=True, topology=tmp_path / "changed.pdb"), Progress())
    plain = compare_run(run, settings(alanine, walks[0][:1], overwrite=True), Progress())
    for name in ("order_difference", "profile_difference"):
        ours, theirs = (answer["ensembles"][0]["measures"][name]["value"] for answer in (found, plain))
        # XTC files round to 0.001 nm a second time
        assert ours == pytest.approx(theirs, abs=0.05)


def _reordered(topology, order):
    """A topology whose atoms stand in another order within their residues."""
    new, atoms = mdtraj.Topology(), list(topology.atoms)
    chain, residues = new.add_chain(), {}
    for k in order:
        atom = atoms[k]
        if atom.residue.index not in residues:
            residues[atom.residue.index] = new.add_residue(atom.residue.name, chain, resSeq=atom.residue.resSeq)
        new.add_atom(atom.name, atom.element, residues[atom.residue.index])
    return new


def test_baselines_stand_beside_the_run(run):
    answer = compare_run(run, CompareSettings(baselines=("idpp",), overwrite=True, threads=1), Progress())
    assert [row["name"] for row in answer["ensembles"]] == [RUN, STRAIGHT, NO_OM, "idpp"]
    assert "measures" not in answer
    with pytest.raises(RecipeError, match="is not generative"):
        compare_run(run, CompareSettings(baselines=("latent",), overwrite=True, threads=1), Progress())


def test_options_of_a_reference_need_one(run):
    with pytest.raises(RecipeError, match="--lag: got no --reference"):
        compare_run(run, CompareSettings(lag=3, overwrite=True), Progress())


def test_a_model_potential_has_verdicts_and_no_reference(root, tmp_path, alanine):
    recipe = load_recipe(root / "recipes" / "mueller_brown.yaml", SampleRecipe)
    run_recipe(recipe, RunSettings(tmp_path / "run", threads=1), Progress())
    answer = compare_run(tmp_path / "run", CompareSettings(baselines=("string",), threads=1), Progress())
    highest = {row["name"]: row["highest_above_start"]["raw"]["median_kj_per_mol"] for row in answer["ensembles"]}
    # the saddles at -3.539 and -6.250 kJ/mol; E(A) at the start (23, 30) is -12.37
    assert highest["string"] == pytest.approx(highest[RUN], abs=0.3)
    assert highest[STRAIGHT] > highest["string"] + 1
    with pytest.raises(RecipeError, match="needs a molecule"):
        compare_run(tmp_path / "run", CompareSettings(baselines=("idpp",), overwrite=True), Progress())
    with pytest.raises(RecipeError, match="a reference is compared for molecules"):
        compare_run(tmp_path / "run", settings(alanine, [alanine / "c7eq.pdb"], overwrite=True), Progress())
