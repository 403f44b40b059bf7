"""Which device a run takes, and how paths are dealt out to GPUs, without a GPU."""

import subprocess
from pathlib import Path

import pytest
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.errors import RecipeError
from tpsctl.jobs.shard import Shard
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.base import AutogradScore
from tpsctl.workflows.sample import devices
from tpsctl.workflows.sample.assemble import make_energy_model, make_prior, make_stages, make_system
from tpsctl.workflows.sample.hardware import use_hardware
from tpsctl.workflows.sample.planning import make_plan
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

CUDA = torch.device("cuda")


@pytest.fixture
def alanine_recipe(root):
    def load(*changes):
        return load_recipe(root / "recipes" / "alanine_dipeptide.yaml", SampleRecipe, changes)

    return load


@pytest.fixture
def four_gpus(monkeypatch):
    """A machine with four GPUs, none of which may be opened."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name in ("init", "get_device_name", "get_device_properties", "mem_get_info"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: pytest.fail(f"{name} opens a context"))
    monkeypatch.setattr(devices, "free_card_bytes", lambda: 80e9)


def test_auto_takes_the_gpu_for_a_network_of_a_molecule(four_gpus, alanine_recipe):
    assert devices.choose("auto", alanine_recipe()) == devices.Choice("cuda")


@pytest.mark.parametrize("recipe", ["alanine_dipeptide_classical.yaml", "mueller_brown.yaml"])
def test_auto_takes_the_cpu_for_force_fields_and_model_potentials_and_says_so(four_gpus, root, recipe):
    choice = devices.choose("auto", load_recipe(root / "recipes" / recipe, SampleRecipe))
    assert choice.name == "cpu"
    assert "on the CPU, where it is faster (--device cuda takes the GPU)" in choice.note


def test_auto_never_takes_the_cpu_silently_when_cuda_is_broken(monkeypatch, alanine_recipe):
    def broken():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", broken)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [self / "0000:01:00.0"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device, _, note = use_hardware(RunSettings(threads=1), alanine_recipe())
    assert device.type == "cpu"
    assert "this machine has a GPU, but it cannot be used" in note
    assert "driver on your system is too old" in note
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert "built without CUDA" in use_hardware(RunSettings(threads=1), alanine_recipe())[2]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert use_hardware(RunSettings(threads=1), alanine_recipe())[2] == "", "hidden on purpose"


def test_a_device_that_is_not_there_is_refused(alanine_recipe):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    with pytest.raises(RecipeError, match=r"--device cuda: not usable here: .*tpsctl doctor"):
        use_hardware(RunSettings(device="cuda", threads=1), alanine_recipe())
    with pytest.raises(RecipeError, match=r"--device gpu7: not usable here"):
        use_hardware(RunSettings(device="gpu7", threads=1), alanine_recipe())


def test_the_process_that_plans_opens_no_gpu(four_gpus, alanine_recipe, tmp_path):
    device, _, _ = use_hardware(RunSettings(threads=1), alanine_recipe())
    plan = make_plan(alanine_recipe(), RunSettings(out=tmp_path / "run"), device)
    assert (plan.batch_paths, plan.batches) == (4, 4), "16 paths keep all four GPUs at work"
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize(("shards", "batches"), [(1, 1), (3, 3), (4, 4), (16, 16)])
def test_every_shard_on_a_gpu_gets_a_batch(four_gpus, alanine_recipe, tmp_path, shards, batches):
    settings = RunSettings(out=tmp_path / "run", shard=Shard(1, shards))
    assert make_plan(alanine_recipe(), settings, CUDA).batches == batches


def test_batches_keep_to_the_memory_of_the_card(monkeypatch, alanine_recipe):
    recipe = alanine_recipe("path.paths=1000", "path.images=200")
    ends = make_system(recipe.endpoints).ends
    monkeypatch.setattr(devices, "free_card_bytes", lambda: 8e9)
    paths = devices.batch_paths(recipe, CUDA, 1)
    each = max(devices.bytes_of_path(stage, stage.images or 200, ends) for stage in recipe.stages)
    assert each > 2 * 5 * 200 * 66**2 * 8, "five matrices of every image, and as much in passing"
    assert 1 < paths < 1000
    assert paths * each <= 0.3 * 8e9 < (paths + 1) * each


def test_what_the_recipe_says_of_batches_counts_on_every_device(alanine_recipe):
    recipe = alanine_recipe("path.batch_paths=5")
    assert devices.batch_paths(recipe, CUDA, 8) == devices.batch_paths(recipe, torch.device("cpu"), 8) == 5


def test_gpus_keep_the_names_that_the_environment_gives_them(four_gpus, monkeypatch):
    assert devices.gpus_for("auto") == ["0", "1", "2", "3"]
    assert devices.gpus_for("cuda:1") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.gpus_for("cuda") == ["GPU-aa", "GPU-bb"]


def test_a_shard_that_sees_several_gpus_says_that_all_but_one_idle(four_gpus, alanine_recipe, monkeypatch):
    def note(**how):
        return use_hardware(RunSettings(threads=1, **how), alanine_recipe())[2]

    assert "this shard computes on the first of 4 GPUs" in note(shard=Shard(1, 2))
    assert note() == "", "without --shard all of them work"
    assert note(shard=Shard(1, 2), device="cuda:1") == "", "it was chosen"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert note(shard=Shard(1, 2)) == ""


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cpu"])
def test_openmm_gets_the_gpu_of_the_paths_for_the_prior_and_for_energies(device, root, monkeypatch):
    """Its contexts are not made before they are used, so no GPU is needed here."""
    recipe = load_recipe(root / "recipes" / "alanine_dipeptide_classical.yaml", SampleRecipe)
    system, told = make_system(recipe.endpoints), []
    make_pool = ContextPool.__init__

    def noted(self, system, *, gpu=None, **how):
        told.append(gpu)
        make_pool(self, system, gpu=gpu, **how)

    monkeypatch.setattr(ContextPool, "__init__", noted)
    monkeypatch.setattr("tpsctl.workflows.sample.assemble.prior._fitted", lambda prior, *_: prior)
    make_prior(recipe.prior, system, torch.device(device))
    make_energy_model(recipe.validation, system, 1, torch.device(device))
    assert told == [{"cuda": 0, "cuda:1": 1, "cpu": None}[device]] * 2


@pytest.mark.parametrize(("threads", "processes", "share"), [(16, 4, 4), (16, 3, 5), (2, 8, 1)])
def test_threads_are_shared_out(threads, processes, share):
    assert devices.share_of_threads(threads, processes) == share


def test_the_driver_is_asked_for_the_card_with_the_least_free_memory(monkeypatch):
    asked = []

    def said(text):
        def run(words, **_):
            asked.append(words)
            return subprocess.CompletedProcess([], 0, text)

        monkeypatch.setattr(devices.subprocess, "run", run)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    said("81920\n40960\n")
    assert devices.free_card_bytes() == 40960 * 2**20
    assert asked[-1][1] == "--query-gpu=memory.free"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    said("[N/A]\n")
    assert devices.free_card_bytes() == 16e9
    assert asked[-1][-1] == "--id=1,3", "cards of others do not count"


@pytest.mark.parametrize("method", ["adam", "lbfgs", "levenberg_marquardt"])
def test_the_planned_memory_of_a_path_holds_what_its_optimizer_keeps(method, alanine_recipe):
    """The state that a step leaves, beside which a step needs about as much in passing."""
    extra = ", learning_rate_nm: 1e-4" if method == "adam" else ""
    steps = 25 if method == "lbfgs" else 2  # until all its pairs are there
    recipe = alanine_recipe(f"optimize={{method: {method}, max_steps: {steps}{extra}}}", "path.images=6")
    system = make_system(recipe.endpoints)
    action = TruncatedAction(AutogradScore(lambda x: -x - x**3), Dynamics(0.1, torch.ones(22)))
    tools = Tools(recipe, torch.device("cpu"), threads=1)
    (stage,) = make_stages(recipe, tools.chosen, tools.prior, system)
    path = system.ends[0] + 0.01 * torch.randn(1, 6, 22, 3)
    kept = []

    def keep(take):
        kept[:] = [sum(part.nbytes for part in take().values())]

    stage.optimizer.minimize(action, path, between_steps=keep)
    planned = devices.bytes_of_path(recipe.stages[0], 6, system.ends)
    assert kept[0] < planned < 4 * kept[0] + 20 * path.nbytes


def test_a_gpu_is_asked_what_is_free_when_it_is_open(monkeypatch, alanine_recipe):
    recipe = alanine_recipe()
    system = make_system(recipe.endpoints)
    each = max(devices.bytes_of_path(stage, stage.images or recipe.path.images, system.ends) for stage in recipe.stages)
    monkeypatch.setattr(devices, "free_bytes", lambda device: 10.5 * each / 0.3)
    assert devices.paths_fit(recipe, system, CUDA, 10)
    assert not devices.paths_fit(recipe, system, CUDA, 11)
    assert devices.paths_fit(recipe, system, torch.device("cpu"), 11)
    assert devices.paths_fit(alanine_recipe("path.batch_paths=16"), system, CUDA, 16), "the recipe is taken at its word"


def test_precision_of_products_is_the_recipe_s_and_not_the_environment_s(monkeypatch, alanine_recipe):
    """On the way to a GPU: what torch is told before the prior is moved there."""
    recipe, told = alanine_recipe("prior.precision=tf32"), []
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", told.append)
    for precision in ("tf32", "float32"):
        section = recipe.prior.model_copy(update={"precision": precision})
        with pytest.raises((RuntimeError, AssertionError)):  # there is no GPU
            make_prior(section, make_system(recipe.endpoints), torch.device("cuda", 99))
    assert told == ["high", "highest"]
    assert "NVIDIA_TF32_OVERRIDE" not in devices.os.environ


def test_the_manifest_says_how_products_were_computed_and_why_the_device_was_taken(root, tmp_path):
    changes = ["path.paths=1", "path.images=8", "optimize.max_steps=2", "output.figures=false"]
    recipe = load_recipe(root / "recipes" / "mueller_brown.yaml", SampleRecipe, changes)
    manifest = run_recipe(recipe, RunSettings(out=tmp_path / "run", device="cpu", threads=1), Progress())
    (machine,) = manifest["machines"]
    assert machine["device_note"] == ""
    assert machine["float32_products"] == "float32"
