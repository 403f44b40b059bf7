"""A batch that does not fit into memory is computed in halves: same paths, and nothing lost when it is interrupted."""

import pytest
import torch

from tpsctl.errors import Interrupted, MemoryShortageError
from tpsctl.jobs.store import read_state
from tpsctl.optimize import LevenbergMarquardt
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 5, images: 12, batch_paths: 5, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.01, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, trajectories: [dcd], figures: false}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "well.yaml"
    path.write_text(WELL)
    return load_recipe(path, SampleRecipe)


@pytest.fixture
def crowded(monkeypatch):
    """An optimizer that runs out of memory after a step with more than so many paths; holds the sizes it was given."""
    minimize, seen = LevenbergMarquardt.minimize, []

    def limit(most):
        def limited(self, action, paths, **how):
            seen.append(len(paths))
            if len(paths) > most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            return minimize(self, action, paths, **how)

        monkeypatch.setattr(LevenbergMarquardt, "minimize", limited)

    limit.seen = seen
    return limit


def run(recipe, out, **how):
    said = []
    progress = Progress()
    progress.say = said.append
    return run_recipe(recipe, RunSettings(out=out, device="cpu", threads=1, **how), progress), said


def trajectories(folder):
    return [file.read_bytes() for file in sorted((folder / "paths").glob("*.dcd"))]


def test_a_batch_is_halved_until_it_fits_and_its_files_are_the_same(recipe, crowded, tmp_path):
    whole, _ = run(recipe, tmp_path / "whole")
    crowded(2)
    halved, said = run(recipe, tmp_path / "halved")
    assert crowded.seen == [5, 3, 2, 1, 2]
    assert trajectories(tmp_path / "halved") == trajectories(tmp_path / "whole")
    assert halved["paths"] == whole["paths"]
    assert any("5 paths are computed in two halves: out of memory while" in line for line in said)


def test_one_path_that_does_not_fit_is_an_error_with_a_remedy(recipe, crowded, tmp_path):
    crowded(0)
    with pytest.raises(MemoryShortageError, match=r"out of memory while .*1 path"):
        run(recipe, tmp_path / "out")
    assert crowded.seen == [5, 3, 2, 1]


def test_an_interrupted_half_goes_on_and_the_finished_one_is_not_computed_again(recipe, crowded, tmp_path, monkeypatch):
    run(recipe, tmp_path / "whole")
    crowded(3)
    limited = LevenbergMarquardt.minimize

    def stopped_in_the_second_half(self, action, paths, *, between_steps, **how):
        def stop(take):
            between_steps(take)
            if len(paths) == 2:
                raise Interrupted("stopped", 75)

        return limited(self, action, paths, between_steps=stop, **how)

    monkeypatch.setattr(LevenbergMarquardt, "minimize", stopped_in_the_second_half)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "cut", save_every_s=0.0)
    shard = tmp_path / "cut" / "state" / "shards" / "0001_of_0001"
    kept = {file.name.split("-")[1]: read_state(file)[1] for file in sorted(shard.glob("running-*"))}
    assert set(kept) == {"00000a", "00000b"}
    assert "finished" in kept["00000a"]
    crowded.seen.clear()
    monkeypatch.setattr(LevenbergMarquardt, "minimize", limited)
    _, said = run(recipe, tmp_path / "cut", resume=True)
    assert crowded.seen == [2], "neither the whole nor the first half"
    assert any("an earlier attempt divided them" in line for line in said)
    assert trajectories(tmp_path / "cut") == trajectories(tmp_path / "whole")


def test_a_batch_that_is_not_expected_to_fit_is_not_tried(recipe, tmp_path, crowded, monkeypatch):
    crowded(5)
    monkeypatch.setattr("tpsctl.workflows.sample.run.paths_fit", lambda recipe, ends, device, count: count < 3)
    _, said = run(recipe, tmp_path / "out")
    assert crowded.seen == [2, 1, 2]
    assert any("free memory of the GPU does not suffice" in line for line in said)
