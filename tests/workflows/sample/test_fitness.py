"""A checkpoint, or a diffusion time, that its own verdict advises against is refused unless the recipe accepts it."""

from pathlib import Path

import pytest
import torch

from tpsctl.checkpoints.stored_verdict import StoredVerdict
from tpsctl.errors import PriorError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble.fitness import require_fit, require_fit_time
from tpsctl.workflows.sample.check import check_recipe
from tpsctl.workflows.sample.prior_fit import checkpoint_soundness
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "recipes" / "alanine_dipeptide.yaml"
LBFGS = "optimize={method: lbfgs, max_steps: 5, diffusion_time: 0.2}"
UNFIT = StoredVerdict(False, "do not use: it knows nothing.", None)
RANGE = StoredVerdict(True, "do not use below diffusion time 0.3.", (0.3, 0.4))


@pytest.fixture
def stored(monkeypatch):
    """`stored(verdict)` is the verdict of every checkpoint from then on."""

    def store(verdict):
        for module in ("assemble.fitness", "prior_fit"):
            monkeypatch.setattr(f"tpsctl.workflows.sample.{module}.read_verdict", lambda path, topology: verdict)

    return store


def section(**changes):
    checkpoint = ROOT / "recipes" / "alanine_dipeptide" / "diffusion.safetensors"
    return CheckpointPriorSection(kind="checkpoint", checkpoint=checkpoint, **changes)


def test_an_unfit_checkpoint_is_refused_unless_the_recipe_accepts_it(stored):
    require_fit(section(), None)
    stored(UNFIT)
    with pytest.raises(PriorError, match=r"do not use: it knows nothing\..* or set prior\.accept_unfit: true"):
        require_fit(section(), None)
    require_fit(section(accept_unfit=True), None)


def test_a_time_below_the_range_is_refused_unless_the_recipe_accepts_it(stored):
    require_fit_time(section(), 0.01, "prior.diffusion_time", None)
    stored(RANGE)
    with pytest.raises(PriorError, match=r"^prior\.diffusion_time: got 0\.01; .* Use 0\.3 or auto, or set"):
        require_fit_time(section(), 0.01, "prior.diffusion_time", None)
    require_fit_time(section(), 0.3, "prior.diffusion_time", None)
    require_fit_time(section(accept_unfit=True), 0.01, "prior.diffusion_time", None)


def test_check_and_sample_refuse_it(stored, tmp_path):
    stored(UNFIT)
    recipe = load_recipe(RECIPE, SampleRecipe)
    report = check_recipe(recipe, RunSettings(out=tmp_path, device="cpu"), trial=False)
    assert [f.text for f in report.findings if f.verdict == "FAIL"] == [
        f"{recipe.prior.checkpoint}: do not use: it knows nothing. Train it longer or with more data, or set "
        "prior.accept_unfit: true to use it all the same."
    ]
    with pytest.raises(PriorError, match="it knows nothing"):
        _ = Tools(recipe, torch.device("cpu"), threads=1).prior


@pytest.mark.parametrize("method", ["optimize={method: lbfgs, max_steps: 1}", "optimize={method: route}"])
def test_a_refused_run_leaves_its_directory_free(stored, tmp_path, method):
    stored(UNFIT)
    recipe = load_recipe(RECIPE, SampleRecipe, [method])
    with pytest.raises(PriorError, match="it knows nothing"):
        run_recipe(recipe, RunSettings(out=tmp_path / "run", device="cpu", threads=1), Progress())
    assert not (tmp_path / "run").exists()


def test_a_stage_below_the_range_is_refused(stored):
    stored(RANGE)
    recipe = load_recipe(RECIPE, SampleRecipe, ["prior.diffusion_time=auto", LBFGS])
    with pytest.raises(PriorError, match=r"optimize\.diffusion_time: got 0\.2"):
        _ = Tools(recipe, torch.device("cpu"), threads=1).chosen


def test_check_repeats_the_verdict(stored):
    (embedded,) = [f for f in checkpoint_soundness(section(), None) if f.what == "verdict"]
    assert (embedded.verdict, embedded.text[:34]) == ("ok", "fit for paths at diffusion times 0")
    stored(StoredVerdict())
    (note,) = [f for f in checkpoint_soundness(section(), None) if f.what == "verdict"]
    assert note.verdict == "note"
    assert "carries no verdict" in note.text
    stored(RANGE)
    (found,) = [f for f in checkpoint_soundness(section(), None) if f.what == "verdict"]
    assert (found.verdict, found.text) == ("ok", "do not use below diffusion time 0.3.")
