"""Which samples are wanted: committors by shooting, and votes of nearest neighbors."""

import math

import pytest
import torch

from tpsctl.errors import RecipeError
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.loader import load_recipe
from tpsctl.simulation.shooting.committor import Committor, WindowRule
from tpsctl.workflows.guide.success.make import make_success
from tpsctl.workflows.guide.tools import make_tools

POINT = """\
version: 1
name: point
seed: 3
prior: {kind: gaussian, mean_nm: [0.0], std_nm: 1.0}
guide:
  kind: path
  guides: {points_nm: [[0.1], [-0.1]]}
  success:
    kind: committor
    ends: {points_nm: [[-1.5], [1.5]]}
    states: {A: [{kind: point, within_nm: 0.5}], B: [{kind: point, within_nm: 0.5}]}
    dynamics: {kind: prior, dt_ps: 0.02}
    shots: {least: 10, most: 200}
output: {directory: out}
"""
ALANINE = """\
version: 1
name: alanine
seed: 1
prior: {kind: checkpoint, checkpoint: %(folder)s/diffusion.safetensors}
guide:
  kind: path
  guides: {structures: [%(folder)s/c7eq.pdb, %(folder)s/c7ax.pdb]}
  success:
    kind: committor
    ends: {structures: [%(folder)s/c7eq.pdb, %(folder)s/c7ax.pdb]}
    dynamics: {kind: force_field, force_field: [amber99sbildn.xml], longest_ps: 0.05}
    shots: {least: 2, most: 2, tuning: 2}
output: {directory: out}
"""


def made(folder, text, *assignments):
    (folder / "guide.yaml").write_text(text)
    recipe = load_recipe(folder / "guide.yaml", GuideRecipe, list(assignments))
    tools = make_tools(recipe, torch.device("cpu"))
    from tpsctl.workflows.guide.structures import load_guides

    guides = load_guides(tools, recipe.guide.guides, "guide.guides")
    return tools, make_success(tools, recipe.guide.success, guides), guides


def test_the_committor_is_that_of_quadrature(tmp_path):
    """q(x) is the integral of exp(U) from A to x over that to B; here U = x^2 / 2.

    The states end at -1 and 1. Steps of length sqrt(2 D dt) are seen to arrive as if the edges lay 0.5826 of them
    further away (Broadie, Glasserman, Kou, Math. Finance 7 (1997) 325).
    """
    _, success, _ = made(tmp_path, POINT, "guide.success.low=0.01", "guide.success.high=0.99")
    x = torch.tensor([-0.5, 0.0, 0.3, 0.7], dtype=torch.float64)
    found = success.judge(x.view(-1, 1, 1), (3, 0), tuning=False)
    edge = 1 + 0.5826 * math.sqrt(2 * 0.02)
    grid = torch.linspace(-edge, edge, 4001, dtype=torch.float64)
    integrand = (grid.square() / 2).exp()
    exact = torch.stack([integrand[grid <= each].sum() / integrand.sum() for each in x])
    # 200 shots each: 3 standard deviations of the count
    assert bool(((found["p_b"] - exact).abs() < 3 * (exact * (1 - exact) / 200).sqrt()).all())
    assert (found["to_a"] + found["to_b"]).tolist() == [200] * 4


def test_only_samples_near_the_window_get_all_shots(tmp_path):
    _, success, _ = made(tmp_path, POINT)
    x = torch.tensor([-1.6, -0.9, 0.0, 0.9, 1.2], dtype=torch.float64).view(-1, 1, 1)
    found = success.judge(x, (3, 0), tuning=False)
    assert found["wanted"].tolist() == [False, False, True, False, False]
    shots = (found["to_a"] + found["to_b"]).tolist()
    assert (shots[0], shots[4]) == (1, 1)  # inside a state nothing is left to chance
    assert shots[1] < 50 > shots[3]
    assert shots[2] == 200
    rough = success.judge(x, (3, 0), tuning=True)
    assert int(rough["to_a"][2] + rough["to_b"][2]) == 20


def test_a_sample_meets_the_same_random_numbers_in_every_evaluation(tmp_path):
    _, success, _ = made(tmp_path, POINT, "guide.success.shots={least: 20, most: 20}")
    x = torch.tensor([0.1, -0.2, 0.4], dtype=torch.float64).view(-1, 1, 1)
    first = success.judge(x, (3, 1, 0), tuning=True)
    others = x.clone()
    others[0], others[2] = 5.0, -0.9
    again = success.judge(others, (3, 1, 0), tuning=True)
    assert first["to_b"][1] == again["to_b"][1]
    counts = {int(success.judge(x, (3, 1, k), tuning=True)["to_b"][1]) for k in range(6)}
    assert len(counts) > 1  # another stream has other random numbers


def test_the_chance_of_giving_up_too_early_is_what_the_rule_says():
    """The chance is summed over all sequences of blocks of ten shots."""
    rule = WindowRule(10, 100, 0.4, 0.6)

    def given_up(p):
        block = [math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(11)]
        ways, lost = {0: 1.0}, 0.0
        for shots in range(10, 100, 10):
            summed = {}
            for hits, chance in ways.items():
                for k, more in enumerate(block):
                    summed[hits + k] = summed.get(hits + k, 0.0) + chance * more
            ended = [hits for hits in summed if rule.enough(Committor(a=shots - hits, b=hits))]
            lost += sum(summed.pop(hits) for hits in ended)
            ways = summed
        return lost

    assert given_up(0.5) < 0.01
    assert 0.05 < given_up(0.4) < 0.07
    assert given_up(0.1) > 0.99


def test_shots_that_go_nowhere_are_given_up():
    rule = WindowRule(10, 100, 0.4, 0.6)
    assert not rule.enough(Committor(a=5, b=4, neither=1))
    assert rule.enough(Committor(a=2, b=2, neither=6))
    assert not rule.enough(Committor(a=1, b=1, neither=6))  # fewer than the least


def test_a_committor_that_is_not_known_is_not_wanted():
    rule = WindowRule(10, 100, 0.4, 0.6)
    assert rule.holds(Committor(a=5, b=5))
    assert not rule.holds(Committor(a=3, b=3, neither=4))
    assert not rule.holds(Committor(neither=10))
    assert not rule.holds(Committor(a=7, b=3))


def test_a_molecule_in_its_states_needs_no_shots_and_one_between_them_is_shot_from(tmp_path, root):
    _, success, ends = made(tmp_path, ALANINE % {"folder": root / "recipes/alanine_dipeptide"})
    between = ends.mean(0, keepdim=True)
    found = success.judge(torch.cat((ends, between)), (1, 0), tuning=False)
    assert found["p_b"][:2].tolist() == [0.0, 1.0]
    shots = sum(found[name] for name in ("to_a", "to_b", "to_neither", "failed"))
    assert shots.tolist() == [1, 1, 2]
    assert "amber99sbildn" in success.name


def test_neighbors_vote_in_features_that_do_not_turn_with_the_molecule(tmp_path, root):
    folder = root / "recipes/alanine_dipeptide"
    text = ALANINE % {"folder": folder}
    labeled = f"{{structures: [{', '.join([str(folder / 'c7eq.pdb')] * 2)}]}}"
    others = labeled.replace("c7eq", "c7ax")
    for features in ("superposed", "distances", "torsions"):
        section = f"{{kind: neighbors, neighbors: 3, wanted: {labeled}, others: {others}, features: {features}}}"
        _, success, ends = made(tmp_path, text, f"guide.success={section}")
        generator = torch.Generator().manual_seed(0)
        turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
        turn = turn * torch.linalg.det(turn)
        shaken = ends + 0.005 * torch.randn(ends.shape, generator=generator, dtype=torch.float64)
        for x in (ends, shaken, shaken @ turn + 3.0):
            found = success.judge(x, (), tuning=False)
            assert found["wanted"].tolist() == [True, False]
            assert found["wanted_neighbors"].tolist() == [2, 1]


def test_neighbors_of_points_are_counted(tmp_path):
    section = "{kind: neighbors, neighbors: 3, wanted: {points_nm: [[0], [1]]}, others: {points_nm: [[2], [3]]}}"
    _, success, _ = made(tmp_path, POINT, f"guide.success={section}")
    x = torch.tensor([0.4, 1.4, 1.6, 2.9], dtype=torch.float64).view(-1, 1, 1)
    # the nearest three are 0 1 2, then 1 2 0 (1.4 away from 0, 1.6 from 3), then 2 1 3, then 3 2 1
    assert success.judge(x, (), tuning=False)["wanted"].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("guide.success.ends={points_nm: [[0]]}", "guide.success.ends: got 1 structures, expected 2"),
        ("guide.success.ends={points_nm: [[0], [0.2]]}", "guide.success.states.A: end B of the path is in this state"),
        (
            "guide.success.dynamics={kind: force_field, force_field: [amber14-all.xml]}",
            "guide.success.dynamics: a point has no force field. Use kind: prior",
        ),
        (
            "guide.success={kind: neighbors, wanted: {points_nm: [[0]]}, others: {points_nm: [[1]]}}",
            "guide.success.wanted: got 1 structures, expected at least 3",
        ),
        (
            "guide.success={kind: neighbors, neighbors: 4, wanted: {points_nm: [[0]]}, others: {points_nm: [[1]]}}",
            "neighbors: got 4, expected an odd number",
        ),
        ("guide.success.shots={least: 50}", "shots.least: got 50, expected no more than shots.tuning"),
        ("guide.success.low=0.7", "low: got 0.7, expected a number below high"),
    ],
)
def test_what_a_criterion_lacks_is_named(tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        made(tmp_path, POINT, change)
