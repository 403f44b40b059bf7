"""Sets of ends: every path runs between its own frames, and the files of the run say which."""

import csv

import mdtraj
import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.errors import EndpointError, RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import make_gate, make_system, with_method
from tpsctl.workflows.sample.assemble.time_step import images_by_distance
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.gather import gather
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

RECIPE = """\
version: 1
name: folding
seed: 5
endpoints:
  start: {{structure: models.pdb, frames: [3, 0, 2]}}
  end: {{structure: {native}}}
prior: {{kind: openmm, force_field: {{kind: structure_based, structure: {native}}}, temperature_k: 300}}
path: {{paths: 4, images: 6, batch_paths: 1, guess: {{kind: linear}}, screen: {{max_draws: 1}}}}
action: {{functional: truncated, dt_ps: 0.5}}
optimize: {{method: lbfgs, max_steps: 3}}
validation: {{energy: {{force_field: {{kind: structure_based, structure: {native}}}, minimize: false}}}}
output: {{directory: out, trajectories: [dcd], figures: false}}
"""


@pytest.fixture
def native(root):
    return root / "recipes" / "trp_cage" / "native.pdb"


@pytest.fixture
def frames(native):
    """Five frames around the native structure, nm, as they are in the files (3 digits in angstrom)."""
    structure = load_structure(native)
    noise = torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return ((structure.x + 0.01 * noise) * 1e4).round() / 1e4


@pytest.fixture
def folder(tmp_path, native, frames):
    """The recipe, and the frames as a file of models and as a trajectory."""
    trajectory = mdtraj.Trajectory(frames.numpy(), mdtraj.load(str(native)).topology)
    trajectory.save_pdb(str(tmp_path / "models.pdb"))
    trajectory.save_dcd(str(tmp_path / "md.dcd"))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(native=native))
    return tmp_path


def loaded(folder, *changes):
    """The recipe with these changes, in which files lie beside it."""
    for file in ("models.pdb", "md.dcd"):
        changes = [change.replace(file, str(folder / file)) for change in changes]
    return load_recipe(folder / "recipe.yaml", SampleRecipe, changes)


def run(folder, *changes, **settings):
    return run_recipe(loaded(folder, *changes), RunSettings(threads=1, **settings), Progress())


def test_path_k_begins_at_frame_k_and_after_the_last_the_first_comes_again(folder, frames, native):
    manifest = run(folder)
    assert [entry["start_frame"] for entry in manifest["paths"]] == [3, 0, 2, 3]
    assert all("end_frame" not in entry for entry in manifest["paths"])
    with (folder / "out" / "paths.csv").open() as file:
        assert [row["start_frame"] for row in csv.DictReader(file)] == ["3", "0", "2", "3"]
    for path, frame in enumerate((3, 0, 2, 3)):
        found = mdtraj.load_dcd(str(folder / "out" / f"paths/path_{path:04d}.dcd"), top=str(native)).xyz
        torch.testing.assert_close(
            torch.tensor(found[0]).double(), frames[frame], rtol=0, atol=1e-6
        )  # float32 angstrom


def test_shards_give_every_path_the_same_ends_as_a_whole_run(folder):
    whole = run(folder)
    for number in (1, 2):
        run(folder, out=folder / "parts", shard=Shard(number, 2))
    parts = gather(folder / "parts", Progress())
    for one, other in zip(whole["paths"], parts["paths"], strict=True):
        assert one["start_frame"] == other["start_frame"]
        assert one["action"]["total"] == other["action"]["total"]


def test_frames_of_a_trajectory(folder, frames):
    change = "endpoints.start={trajectory: md.dcd, topology: models.pdb, frames: [4, 1]}"
    system = make_system(loaded(folder, change).endpoints)
    assert system.frames == {"start_frame": (4, 1)}
    torch.testing.assert_close(system.pairs[:, 0], frames[[4, 1]], rtol=0, atol=1e-6)


def test_every_end_is_superposed_on_its_own_start(folder):
    system = make_system(loaded(folder).endpoints)
    shift = system.pairs.mean(2)
    torch.testing.assert_close(shift[:, 0], shift[:, 1])  # equal masses: the centers coincide
    torch.testing.assert_close(system.ends, system.pairs[0])
    assert torch.equal(system.ends_of(4), system.pairs[1])
    assert system.all_ends.shape == (6, 20, 3)
    assert make_gate(system).check(system.pairs[:, [0, 0, 1]]).passes["bonds"].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "endpoints.start.frames=[1, 2, 1]",
            r"endpoints.start.frames: .*frame 1 is there 2 times; give every frame once",
        ),
        ("endpoints.start.frames=[]", r"endpoints.start.frames"),
        ("endpoints.start.frames=[-1]", r"endpoints.start.frames.*got -1, expected .*0"),
        ("endpoints.start.frame=1", r"endpoints.start.frame: unknown key"),
        ("endpoints.minimize=true", r"a set of frames is taken as it is; leave minimize out"),
        (
            "endpoints.end={structure: models.pdb, frames: [1, 4]}",
            r"start has 3 frames, end has 2; give equally many, which are taken pair by pair, or a single structure",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(folder, change, message):
    with pytest.raises(RecipeError, match=message):
        loaded(folder, change)


def test_a_frame_that_is_not_there_is_named(folder):
    with pytest.raises(EndpointError, match=r"models.pdb: frame 5 is out of range; there are 5 frames \(0 to 4\)"):
        make_system(loaded(folder, "endpoints.start.frames=[0, 5]").endpoints)


def test_a_frame_that_equals_the_other_end_is_named(folder):
    change = "endpoints.end={structure: models.pdb, frame: 2}"
    with pytest.raises(EndpointError, match=r"models.pdb frame 2 and .*are the same structure"):
        make_system(loaded(folder, change).endpoints)


def test_check_says_what_the_pairs_are(folder):
    report = check_recipe(loaded(folder), RunSettings(threads=1))
    assert report.passed
    (ends,) = [f.text for f in report.findings if f.what == "ends"]
    assert ends.startswith("20 atoms; 3 pairs of ends, which the paths take in turn; 0.0")
    assert not any("no randomness" in finding.text for finding in report.findings), "linear paths between other ends"
    (saddles,) = [f.text for f in report.findings if f.what == "saddles"]
    assert "the ends are 3 pairs of frames, which need not be minima" in saddles
    assert any(
        f.text.startswith("structure-based model of native.pdb") for f in report.findings if f.what == "energies"
    )


def test_searches_that_need_two_minima_are_refused_and_not_chosen(folder):
    recipe = loaded(folder, "optimize={method: auto}")
    chosen = with_method(recipe, lambda: make_system(recipe.endpoints), lambda: None)
    assert chosen.optimize.method == "levenberg_marquardt"
    with pytest.raises(RecipeError, match=r"validation.saddle: true is not possible: the ends are 3 pairs of frames"):
        run(folder, "validation.saddle=true")


def test_routes_between_sets_are_refused(folder):
    report = check_recipe(loaded(folder, "optimize={method: route}"), RunSettings(threads=1))
    assert not report.passed
    assert any("3 pairs of frames" in finding.text for finding in report.findings if finding.verdict == "FAIL")


def test_two_sets_are_taken_pair_by_pair(folder):
    system = make_system(loaded(folder, "endpoints.end={structure: models.pdb, frames: [1, 4, 0]}").endpoints)
    assert [system.frames_of(k) for k in range(4)] == [
        {"start_frame": 3, "end_frame": 1},
        {"start_frame": 0, "end_frame": 4},
        {"start_frame": 2, "end_frame": 0},
        {"start_frame": 3, "end_frame": 1},
    ]


def test_the_pair_that_is_farthest_apart_decides_the_number_of_images():
    apart = torch.tensor([0.01, 0.32, 0.1]).view(3, 1, 1)  # nm; 0.0016 nm for each image makes 200
    pairs = torch.stack((torch.zeros(3, 4, 3), (apart / 3**0.5).expand(3, 4, 3)), 1)
    assert images_by_distance(pairs, is_molecule=True)[0] == 200
    assert images_by_distance(pairs[2], is_molecule=True)[0] == 60
