"""`tpsctl simulate` stops in time, says how to go on, and is done by one process at a time."""

import numpy as np
import pytest

from tpsctl.errors import DataError, Interrupted, StateError
from tpsctl.jobs.lease import Lease, leased
from tpsctl.molecule.contacts import NativeContacts
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.simulate import SimulateRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.workflows.simulate import simulate_recipe

RECIPE = """\
version: 1
name: short
seed: 1
molecule: {kind: capped_alanine}
dynamics: {force_field: [amber99sbildn.xml], temperature_k: 300}
sampling: {kind: plain}
production: {trajectories: 1, duration_ps: 0.3, equilibration_ps: 0.01, frame_interval_ps: 0.02, chunk_ps: 0.1}
output: {data: out/data.npz}
"""


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "simulate.yaml"
    file.write_text(RECIPE)
    return load_recipe(file, SimulateRecipe)


def simulate(recipe, **options):
    return simulate_recipe(recipe, out=options.pop("out", None), workers=1, progress=Progress(), **options)


def test_a_time_limit_stops_it_between_parts_and_the_result_is_that_of_an_unbroken_run(recipe, tmp_path):
    simulate(recipe, out=tmp_path / "whole.npz")
    with pytest.raises(Interrupted, match="(?s)of production, all saved.*Go on with: tpsctl simulate again") as stop:
        simulate(recipe, max_hours=0.0, command="tpsctl simulate again")
    assert stop.value.exit_code == 75
    calls = iter([False, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpsctl.jobs.interruption.TimeLimit.near", lambda self: next(calls))
        with pytest.raises(Interrupted, match=r"stopped after 0\.1 ps of production"):
            simulate(recipe)
    assert (tmp_path / "out" / "data.npz.parts" / "trajectory_0000_0000.npz").exists()
    simulate(recipe)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "out" / "data.npz") as cut:
        assert all(np.array_equal(whole[name], cut[name]) for name in ("positions", "forces", "energies"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["data.npz"]


def test_a_signal_says_how_to_go_on(recipe, monkeypatch):
    def killed(*arguments, **options):
        raise SystemExit(143)

    monkeypatch.setattr("tpsctl.workflows.simulate.run_simulation", killed)
    with pytest.raises(Interrupted, match="Go on with: tpsctl simulate again") as stop:
        simulate(recipe, command="tpsctl simulate again")
    assert stop.value.exit_code == 143


def test_two_processes_do_not_make_one_data_set(recipe, tmp_path):
    with leased(Lease(tmp_path / "out" / "data.npz.parts" / "lease.json")):  # noqa: SIM117
        with pytest.raises(StateError, match="works on this already"):
            simulate(recipe)


FOLDING = """\
version: 1
name: folding
seed: 3
molecule: {{kind: file, structure: {native}, select: name CA}}
dynamics:
  force_field: {{kind: structure_based, structure: {native}, cooperative_kj_per_mol: {cooperative}}}
  temperature_k: 300
  dt_ps: 0.02
sampling: {{kind: plain}}
production: {{trajectories: 1, duration_ps: 400, equilibration_ps: 100, frame_interval_ps: 2, chunk_ps: 200}}
output: {{data: out/data.npz}}
"""


@pytest.mark.parametrize(("cooperative", "folded"), [(12.0, 1.0), (0.0, 0.0)])
def test_a_structure_based_model_reports_what_folded(tmp_path, root, cooperative, folded):
    """Far from the folding temperature all frames are in one state, and the stored contacts say so as well."""
    file = tmp_path / "simulate.yaml"
    file.write_text(FOLDING.format(native=root / "recipes" / "trp_cage" / "native.pdb", cooperative=cooperative))
    facts = simulate(load_recipe(file, SimulateRecipe))
    assert facts["folded_fraction"] == pytest.approx(folded, abs=0.1)  # without B a tenth would be a rare fluctuation
    assert facts["native_contacts"] == 21
    assert (facts["folding_events"], facts["unfolding_events"]) in ((0, 0), (0, 1))
    dataset = Dataset.load(tmp_path / "out" / "data.npz")
    stored = dataset.settings["native_contacts"]
    contacts = NativeContacts(tuple(map(tuple, stored["pairs"])), tuple(stored["distances_nm"]))
    mean = contacts.fraction(dataset.positions.double()).mean().item()
    assert facts["mean_fraction_of_native_contacts"] == pytest.approx(mean, abs=1e-4)
    assert set(dataset.topology.masses_amu) == {110.0}
    assert dataset.topology.bonds == tuple((i, i + 1) for i in range(19))


def test_data_of_another_parameter_are_not_taken_for_the_same(tmp_path, root):
    file = tmp_path / "simulate.yaml"
    native = root / "recipes" / "trp_cage" / "native.pdb"
    file.write_text(FOLDING.format(native=native, cooperative=4.0).replace("duration_ps: 400", "duration_ps: 2"))
    simulate(load_recipe(file, SimulateRecipe))
    changed = load_recipe(file, SimulateRecipe, ["dynamics.force_field.contact_width_nm=0.06"])
    with pytest.raises(DataError, match="holds data of other settings"):
        simulate(changed)
