"""Tops, ends and priors as runs and checks judge them."""

import csv
import json
from pathlib import Path

import pytest
import torch

from tpsctl.errors import EndpointError, RecipeError
from tpsctl.landscape.coordinates import BondedCoordinates, Cartesian
from tpsctl.molecule.solvent import solvent_of
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble import why_no_saddles
from tpsctl.workflows.sample.assemble.landscapes import bonded_coordinates
from tpsctl.workflows.sample.assemble.minimized import minimize_ends
from tpsctl.workflows.sample.assemble.system import System
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.judge import PathVerdicts
from tpsctl.workflows.sample.results import outcome
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

MOLECULES = Path(__file__).parents[2] / "landscape" / "molecules"
BUTANE = f"""\
version: 1
name: butane
seed: 1
endpoints: {{start: {{structure: {MOLECULES}/butane_anti.pdb}}, end: {{structure: {MOLECULES}/butane_gauche.pdb}}}}
prior: {{kind: openmm, force_field: [{MOLECULES}/butane.xml], temperature_k: 300}}
path: {{paths: 2, images: 15, guess: {{kind: torsion, spread_deg: 5}}}}
action: {{functional: truncated, dt_ps: 0.001, friction_per_ps: 1}}
optimize: {{method: levenberg_marquardt, max_steps: 40}}
validation: {{energy: {{force_field: [{MOLECULES}/butane.xml], minimize: false}}}}
output: {{directory: out, figures: false}}
"""
WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 1, images: 5, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 1, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, figures: false}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "recipe.yaml").write_text(text)
        return tmp_path / "recipe.yaml"

    return write


def run(recipe, *assignments, **settings):
    return run_recipe(load_recipe(recipe, SampleRecipe, assignments), RunSettings(threads=1, **settings), Progress())


def check(recipe, *assignments, trial=False):
    loaded = load_recipe(recipe, SampleRecipe, assignments)
    return check_recipe(loaded, RunSettings(threads=1), trial=trial)


def found(report, what):
    return [(finding.verdict, finding.text) for finding in report.findings if finding.what == what]


@pytest.fixture(scope="module")
def butane(tmp_path_factory):
    """A converged run of butane: folder and manifest."""
    folder = tmp_path_factory.mktemp("butane")
    (folder / "recipe.yaml").write_text(BUTANE)
    return folder, run(folder / "recipe.yaml")


def test_a_path_over_a_saddle_says_so_everywhere(butane):
    folder, manifest = butane
    assert manifest["outcome"] == "complete"
    for entry in manifest["paths"]:
        assert entry["is_saddle"] is True
        assert entry["remedy"] == ""
        for name in ("prior", "force_field"):
            top = entry["tops"][name]
            assert (top["words"], top["peaks"][0]["index"]) == ("saddle", 1)
            assert top["saddle"]["energy_kj_per_mol"] == pytest.approx(13.755, abs=0.02)  # rounding of the files
            assert top["saddle"]["joins"] == ("A", "B")
    rows = list(csv.DictReader((folder / "out" / "paths.csv").open()))
    for row in rows:
        assert row["top_prior"] == row["top_force_field"] == "saddle"
        assert float(row["wavenumber_1_force_field_per_cm"]) < -50 < 50 < float(row["wavenumber_2_force_field_per_cm"])
        assert float(row["stationary_gradient_prior_kj_per_mol_per_nm"]) <= 1e-3
        assert float(row["action_bound"]) == pytest.approx((13.75 + 10.47) / 2 / 2.4943, rel=0.02)  # top between images
    assert "saddles" in manifest["seconds"]


def test_the_table_shows_a_force_field_that_is_the_prior_once(butane, capsys):
    from tpsctl.cli import show_run

    show_run.show(butane[1])
    text = capsys.readouterr().out
    assert "saddle 13.7" in text
    assert text.count("top on") == 1


def test_stored_verdicts_are_read_again(butane):
    folder, _ = butane
    tools = Tools(load_recipe(folder / "recipe.yaml", SampleRecipe), torch.device("cpu"), threads=1)
    from tpsctl.workflows.sample.judge import judge, with_saddles

    line = torch.lerp(*tools.system.ends, torch.linspace(0, 1, 5).reshape(-1, 1, 1))[None]
    verdict = with_saddles(tools, judge(tools, line), line, [0])
    tensors, facts = verdict.store()
    again = PathVerdicts.from_stored(tensors, json.loads(json.dumps(facts)))
    assert again.tops == verdict.tops
    assert PathVerdicts.joined([again, verdict]).tops["prior"] == (*again.tops["prior"], *verdict.tops["prior"])


def test_too_few_images_miss_the_saddle_and_the_run_is_not_complete(write):
    manifest = run(write(BUTANE), "path.images=4", "path.paths=1", "optimize.max_steps=80")
    entry = manifest["paths"][0]
    assert entry["is_saddle"] is False
    assert manifest["outcome"] != "complete"
    assert "The top is no saddle of the prior's energy" in entry["remedy"]


@pytest.mark.parametrize(
    ("gate", "status", "is_saddle", "expected"),
    [
        ("valid", "converged", True, "complete"),
        ("valid", "converged", None, "complete"),
        ("valid", "converged", False, "not_saddle"),
        ("valid", "max_steps", False, "not_converged"),
        ("jump at image 2", "converged", False, "not_valid"),
    ],
)
def test_the_outcome_is_the_worst_of_the_faults(gate, status, is_saddle, expected):
    good = {"gate": "valid", "status": "converged", "is_saddle": True}
    assert outcome([good, {"gate": gate, "status": status, "is_saddle": is_saddle}]) == expected


def test_images_that_jump_over_a_barrier_fail_loudly(write):
    manifest = run(write(WELL))
    entry = manifest["paths"][0]
    assert entry["status"] == "converged"
    assert manifest["outcome"] == "not_valid"
    assert entry["gate"].startswith("jump: the action 4.6")
    assert entry["action"]["total"] < 0.95 * entry["action_bound"]
    assert "raise path.images" in entry["remedy"]


def test_saddles_can_be_switched_off(write):
    manifest = run(write(BUTANE), "validation.saddle=false", "path.images=4", "optimize.max_steps=1")
    assert manifest["paths"][0]["is_saddle"] is None
    assert manifest["paths"][0]["tops"] == {}


def test_saddles_of_a_model_potential_are_refused_before_any_work(write):
    with pytest.raises(RecipeError, match="saddle: true is not possible: the endpoints are points of a model"):
        run(write(WELL), "validation.saddle=true")


def test_explicit_solvent_is_refused_with_the_reason():
    atoms = tuple(Atom(n, n[0], "HOH", 1, "A", 1.0) for n in ("O", "H1", "H2"))
    topology = Topology((*atoms, Atom("NA", "Na", "NA", 2, "B", 23.0)), ((0, 1), (0, 2)))
    text = why_no_saddles(System(topology, torch.zeros(2, 4, 3), is_molecule=True))
    assert text.startswith("the ends hold solvent (HOH, NA). With explicit solvent every state")
    assert "implicit" in text


def test_a_residue_with_bonds_is_no_ion():
    calcium = Atom("CA", "C", "CA", 1, "A", 12.0)
    assert solvent_of(Topology((calcium, calcium), ((0, 1),))) == ()
    assert solvent_of(Topology((calcium, calcium), ())) == ("CA",)


def test_large_molecules_are_not_judged_unless_asked():
    atoms = tuple(Atom("C", "C", "X", 1, "A", 12.0) for _ in range(600))
    system = System(Topology(atoms, ()), torch.zeros(2, 600, 3), is_molecule=True)
    assert why_no_saddles(system).startswith("the ends have 600 atoms, and saddles are judged for up to 500")


def test_internal_coordinates_are_used_where_they_hold_all_atoms():
    names, line = ("O1", "C", "O2"), torch.tensor([[0.0, 0, 0], [0.116, 0, 0], [0.232, 0, 0]])
    atoms = tuple(Atom(n, n[0], "CO2", 1, "A", 12.0) for n in names)
    bent = torch.tensor([[0.0, 0, 0], [0.116, 0, 0], [0.2, 0.08, 0]])
    bonded = Topology(atoms, ((0, 1), (1, 2)))
    assert isinstance(bonded_coordinates(bonded, torch.stack((bent, bent))), BondedCoordinates)
    assert isinstance(bonded_coordinates(bonded, torch.stack((bent, line))), Cartesian)
    assert isinstance(bonded_coordinates(Topology(atoms, ()), torch.stack((bent, bent))), Cartesian)


def displaced(tmp_path, name):
    """Butane's file with its atoms moved by up to 0.01 nm."""
    shifts = iter(torch.randn(200, generator=torch.Generator().manual_seed(4)).tolist())
    lines = []
    for line in (MOLECULES / f"butane_{name}.pdb").read_text().splitlines():
        if line.startswith(("ATOM", "HETATM")):
            xyz = [float(line[k : k + 8]) + 0.1 * next(shifts) for k in (30, 38, 46)]
            line = line[:30] + "".join(f"{value:8.3f}" for value in xyz) + line[54:]
        lines.append(line)
    (tmp_path / "moved.pdb").write_text("\n".join(lines) + "\n")
    return tmp_path / "moved.pdb"


def test_ends_are_minimized_and_the_output_says_how_far_they_moved(write, tmp_path):
    moved = displaced(tmp_path, "gauche")
    recipe = load_recipe(write(BUTANE), SampleRecipe, ["endpoints.minimize=true", f"endpoints.end.structure={moved}"])
    tools = Tools(recipe, torch.device("cpu"), threads=1)
    energy = tools.energy_model.energies(tools.system.ends)
    # the reference minima, 3.28 kJ/mol apart; minimized to |grad U| 1e-3
    assert float(energy[1] - energy[0]) == pytest.approx(13.755 - 10.472, abs=1e-2)
    (note,) = (note for note in tools.system.notes if "minimized" in note)
    assert note.startswith("minimized on the prior's energy: A moved by 0.000")
    assert all(report.is_minimum for report in tools.end_reports)


def test_an_end_that_is_no_minimum_is_said_with_the_remedy(write, tmp_path):
    report = check(write(BUTANE), f"endpoints.end.structure={displaced(tmp_path, 'gauche')}")
    verdicts = {text[0]: (verdict, text) for verdict, text in found(report, "ends") if text[1:4] == " is"}
    assert verdicts["A"][0] == "ok"
    assert verdicts["B"][0] == "warn"
    assert "Set endpoints.minimize: true" in verdicts["B"][1]


def test_ends_of_one_minimum_are_refused(write, tmp_path):
    recipe = write(BUTANE)
    same = [f"endpoints.end.structure={displaced(tmp_path, 'anti')}", "endpoints.minimize=true"]
    with pytest.raises(EndpointError, match="both ends fall into the same minimum of the prior's energy"):
        run(recipe, *same)


def test_nothing_to_minimize_with_is_said(write):
    recipe = load_recipe(write(BUTANE), SampleRecipe)
    system = System(Topology((), ()), torch.zeros(2, 0, 3), is_molecule=True)
    with pytest.raises(EndpointError, match="nothing can minimize the ends: the prior's score is no gradient"):
        minimize_ends(recipe, system, dict)


def test_a_force_field_is_not_compared_with_itself(write):
    report = check(write(BUTANE))
    assert found(report, "prior fit") == [("ok", "the prior is this force field")]
    assert found(report, "saddles")[0][0] == "ok"
    assert report.passed


def test_a_guess_that_fails_after_all_draws_fails_the_check(write):
    report = check(write(BUTANE), "path.screen.max_energy_kj_per_mol=1", trial=True)  # the barrier is 14 kJ/mol
    verdict, text = found(report, "guess")[0]
    assert (verdict, report.passed) == ("FAIL", False)
    assert "kept though failing" in text
    assert "Use another path.guess" in text


def test_a_shipped_prior_fits_and_its_checkpoint_is_sound(root):
    recipe = load_recipe(root / "recipes" / "alanine_dipeptide.yaml", SampleRecipe)
    report = check_recipe(recipe, RunSettings(threads=1), trial=False)
    assert report.passed, report.findings
    assert [verdict for verdict, _ in found(report, "prior fit")] == ["ok", "ok"]
    assert found(report, "checkpoint") == [("ok", "passes the 4 tests of `tpsctl inspect`")]


def test_an_unsound_checkpoint_fails_the_check_as_it_fails_inspect(root, monkeypatch):
    from tpsctl.workflows import checkpoints

    test = {"check": "noise seen in pure noise", "value": 0.1, "expected": "0.8 to 1.2", "passed": False, "how": "x"}
    monkeypatch.setattr(checkpoints, "inspect", lambda path: {"sound": False, "self_test": [test]})
    recipe = load_recipe(root / "recipes" / "alanine_dipeptide.yaml", SampleRecipe)
    ((verdict, text),) = found(check_recipe(recipe, RunSettings(threads=1), trial=False), "checkpoint")
    assert verdict == "FAIL"
    assert "noise seen in pure noise: got 0.1, expected 0.8 to 1.2" in text


def test_saddles_that_are_impossible_fail_the_check(write):
    report = check(write(WELL), "validation.saddle=true")
    assert found(report, "saddles")[0][0] == "FAIL"
