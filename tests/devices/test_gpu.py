"""What only a real GPU can show. Skipped where there is none; `make gpu-check` runs these on one.

Sums are taken in another order on a GPU than on a CPU, so results agree within rounding: 1e-6 of an action (float32
networks are good to 1e-7, and a few hundred images add up), 0.01 kJ/mol of a barrier. On one GPU two runs of the same
work give the same bits if no kernel adds up in the order in which threads happen to finish; where one does, they agree
within the same tolerance.
"""

import pytest
import torch

from tests.devices.test_pretended_gpu import NETWORKS, PRIORS, make
from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.action.memory import default_budget
from tpsctl.optimize import Adam, Convergence, LevenbergMarquardt
from tpsctl.optimize.gauss_newton import BlockSystem
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.base import AutogradScore
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU in this machine"),
]
ACTION, BARRIER_KJ_PER_MOL = 1e-6, 0.01
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
"""Of float64 results."""


@pytest.mark.parametrize("functional", ["truncated", "euler_maruyama", "exact", "hutchinson"])
@pytest.mark.parametrize("name", PRIORS)
def test_terms_and_gradients_are_those_of_the_cpu(name, functional, peroxide):
    action, paths = make(name, functional, peroxide, "cpu")
    expected, gradient = action.value_and_gradient(paths)
    action, paths = make(name, functional, peroxide, "cuda")
    terms, its_gradient = action.value_and_gradient(paths)
    torch.testing.assert_close(terms.total.cpu(), expected.total, **CLOSE)
    torch.testing.assert_close(its_gradient.cpu(), gradient, rtol=1e-7, atol=1e-7 * gradient.abs().max().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_jacobians_and_solutions_are_those_of_the_cpu(name, peroxide):
    found = []
    for device in ("cpu", "cuda"):
        action, paths = make(name, "truncated", peroxide, device)
        system, index = BlockSystem(action, paths), torch.arange(len(paths), device=device)
        system.refresh(index, paths)
        system.damp(index, torch.ones(len(paths), device=device))
        right = torch.ones_like(paths[:, 1:-1].flatten(2))
        found.append((action.scaled_jacobian(paths).cpu(), system.solve(index, right).cpu()))
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-6, atol=1e-6 * on_cpu.abs().max().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_three_steps_end_where_the_cpu_ends(name, peroxide):
    optimizer, totals = LevenbergMarquardt(max_steps=3, convergence=Convergence(0.0, 0.0), solver="block"), []
    for device in ("cpu", "cuda"):
        action, paths = make(name, "truncated", peroxide, device)
        totals.append(optimizer.minimize(action, paths)[1].terms.total)
    torch.testing.assert_close(totals[1], totals[0], rtol=ACTION, atol=0)


def test_run_twice_and_resumed_it_ends_in_the_same_place(peroxide):
    optimizer, states, found = Adam(learning_rate_nm=1e-5, max_steps=6, convergence=Convergence(0.0, 0.0)), [], []
    for keep in (states.append, lambda state: None):
        action, paths = make("graph diffusion", "truncated", peroxide, "cuda")
        found.append(optimizer.minimize(action, paths, between_steps=lambda take, keep=keep: keep(take()))[0])
    action, paths = make("graph diffusion", "truncated", peroxide, "cuda")
    found.append(optimizer.minimize(action, paths, state={name: part.cpu() for name, part in states[2].items()})[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], **CLOSE)


@pytest.mark.parametrize("recipe", ["mueller_brown.yaml", "alanine_dipeptide.yaml"])
def test_whole_runs_agree_with_the_cpu(recipe, root, tmp_path):
    few = ["path.paths=2", "path.batch_paths=2", "output.figures=false"]
    manifests = []
    for device in ("cpu", "cuda"):
        settings = RunSettings(out=tmp_path / device, device=device, threads=1)
        manifests.append(run_recipe(load_recipe(root / "recipes" / recipe, SampleRecipe, few), settings, Progress()))
    for on_cpu, on_gpu in zip(manifests[0]["paths"], manifests[1]["paths"], strict=True):
        assert on_gpu["status"] == on_cpu["status"]
        assert on_gpu["action"]["total"] == pytest.approx(on_cpu["action"]["total"], rel=ACTION)
        for kind in ("raw", "minimized"):
            if on_cpu.get(kind):
                barrier = "barrier_forward_kj_per_mol"
                assert on_gpu[kind][barrier] == pytest.approx(on_cpu[kind][barrier], abs=BARRIER_KJ_PER_MOL)


def test_memory_that_runs_out_halves_the_chunks():
    """A score that keeps 200 MB an image, in a twentieth of the memory, planned as if all of it were free."""
    weight = torch.randn(6, 25_000_000, device="cuda", dtype=torch.float32)

    def score(x):
        return (torch.tanh(x.flatten(1) @ weight) @ weight.T).view_as(x) / 1e6

    action = TruncatedAction(AutogradScore(score), Dynamics(0.1, torch.ones(2)))
    paths = torch.randn(1, 101, 2, 3, device="cuda", dtype=torch.float32)
    expected = TruncatedAction(AutogradScore(score), Dynamics(0.1, torch.ones(2)))
    expected.chunks.images = 1
    wanted = expected.value_and_gradient(paths)[1]
    action.chunks.images = 100
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.05)
    try:
        found = action.value_and_gradient(paths)[1]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert action.chunks.images < 100
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())  # float32


def test_the_budget_is_half_of_the_free_memory():
    before = default_budget(torch.device("cuda"))
    held = torch.empty(2**28, device="cuda", dtype=torch.float64)  # 2 GiB
    assert before - default_budget(torch.device("cuda")) == pytest.approx(held.nbytes / 2, rel=0.1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA GPUs in this machine")
def test_every_gpu_gets_a_process_and_the_result_is_that_of_one(root, tmp_path):
    paths = []
    for device, where in (("cuda", "all"), ("cuda:0", "one")):
        few = ["path.paths=4", "path.batch_paths=1", "output.figures=false"]
        recipe = root / "recipes" / "alanine_dipeptide.yaml"
        origin = (str(recipe), *(word for assignment in few for word in ("--set", assignment)))
        settings = RunSettings(out=tmp_path / where, device=device, threads=4, origin=origin)
        paths.append(run_recipe(load_recipe(recipe, SampleRecipe, few), settings, Progress())["paths"])
    for several, one in zip(*paths, strict=True):
        assert several["action"]["total"] == pytest.approx(one["action"]["total"], rel=ACTION)
