"""Observables of other packages: an example package is installed with pip and used by `tpsctl guide`."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tpsctl.errors import ExitCode, RecipeError, TpsctlError
from tpsctl.molecule.observables import plugin
from tpsctl.molecule.observables.geometric import RadiusOfGyration
from tpsctl.molecule.observables.plugin import PluginObservable, make_plugin_observable

EXAMPLE = Path(__file__).parents[2] / "plugin_example"
RANGES = """\
guide={kind: path, guides: {points_nm: [[0.9, 0.1], [0.8, 0.3], [1.0, 0.2]]}, sensitivity: false,
success: {kind: ranges, ranges: [{observable: {kind: radius, options: {center_nm: [0.9, 0.2]}}, low: 0, high: 0.3}]}}
"""
SPREAD = """\
version: 1
name: spread
seed: 1
prior: {kind: checkpoint, checkpoint: %s}
guide:
  kind: observables
  observables:
    - {kind: cosine, dihedral: phi ALA2, target: 0.2, error: 1}
    - {kind: spread, unit: nm, options: {element: %s}, held_out: true}
  baseline: false
sampling: {samples: 10, steps: 10}
output: {directory: spread, figures: false}
"""


@pytest.fixture
def guided(run_with_plugins, tmp_path):
    """`tpsctl guide` with the example's recipe."""
    shutil.copy(EXAMPLE / "guide.yaml", tmp_path)

    def run(*changes, recipe="guide.yaml"):
        words = [word for change in changes for word in ("--set", change)]
        return run_with_plugins(["guide", recipe, "--json", "--threads", "1", *words], tmp_path)

    return run


def test_samples_are_guided_to_an_observable_of_another_package(guided, tmp_path):
    done = guided()
    assert done.returncode == ExitCode.COMPLETE, done.stderr
    (found,) = json.loads((tmp_path / "run/manifest.json").read_text())["observables"]
    assert (found["observable"], found["unit"], found["achieved"]) == ("distance from the corner", "nm", True)
    # four units of the standard error of 240 samples: the target is reached, and the prior is elsewhere
    guided_, unguided = found["averages"]["guided"], found["averages"]["unguided"]
    assert abs(guided_["value"] - 4.8) < 4 * guided_["error"]
    assert abs(unguided["value"] - 4.8) > 4 * unguided["error"]


def test_its_name_is_a_kind_everywhere_observables_stand(guided, tmp_path):
    long = guided("sampling.steps=5", "output.directory=long")
    text = (tmp_path / "guide.yaml").read_text()
    (tmp_path / "short.yaml").write_text(text.replace("kind: plugin\n      name: radius", "kind: radius"))
    short = guided("sampling.steps=5", "output.directory=short", recipe="short.yaml")
    assert long.returncode == short.returncode, short.stderr
    digests = [json.loads((tmp_path / name / "manifest.json").read_text())["digest"] for name in ("long", "short")]
    assert digests[0] == digests[1]
    ranges = guided(RANGES, "sampling.steps=20", "output.directory=ranges")
    assert ranges.returncode in (0, 3), ranges.stderr
    success = json.loads((tmp_path / "ranges/manifest.json").read_text())["success"]
    assert success["guided"]["fraction"] > success["unguided"]["fraction"]
    wrong = guided("guide.observables.0={kind: radios, target: 1}")
    assert wrong.returncode == ExitCode.USAGE
    assert 'guide.observables.0: kind: got "radios", expected one of coordinate,' in wrong.stderr
    assert 'plugin, radius, spread. Did you mean "radius"?' in wrong.stderr


def test_it_gets_the_molecule(guided, tmp_path, root):
    checkpoint = root / "recipes/alanine_dipeptide/diffusion.safetensors"
    (tmp_path / "spread.yaml").write_text(SPREAD % (checkpoint, "C"))
    done = guided(recipe="spread.yaml")
    assert done.returncode in (0, 3), done.stderr
    found = json.loads((tmp_path / "spread/manifest.json").read_text())["observables"][1]
    assert 0.1 < found["averages"]["guided"]["value"] < 0.4
    (tmp_path / "spread.yaml").write_text(SPREAD % (checkpoint, "Fe"))
    refused = guided("output.directory=other", recipe="spread.yaml")
    assert refused.returncode == ExitCode.USAGE
    assert "has no atom of the element Fe" in refused.stderr
    assert not (tmp_path / "other").exists()


def x_of(count):
    return torch.randn(count, 4, 3, generator=torch.Generator().manual_seed(1))


def test_the_gradient_is_that_of_the_function():
    """The radius of gyration as a plug-in has the values and gradients of the built-in one, exactly."""
    own = RadiusOfGyration("own", [1.0] * 4)
    theirs = PluginObservable("size", "theirs", "nm", lambda x: (x - x.mean(1, True)).square().sum(-1).mean(-1).sqrt())
    gradients = []
    for observable in (own, theirs):
        x = x_of(5).requires_grad_(True)
        gradients.append(torch.autograd.grad(observable(x).sum(), x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)  # rounding of float64


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.detach().norm(dim=(1, 2)), "without a gradient, which guidance needs.*without detach"),
        (lambda x: x.norm(dim=(1, 2)) * torch.nan, "is not a finite number for 5 of 5 samples"),
        (lambda x: x.norm(dim=2), r"returned shape \(5, 4\), expected \(5,\)"),
        (lambda x: x.norm(), r"returned shape \(\), expected \(5,\)"),
        (lambda x: x.norm(dim=(1, 2)).tolist(), "returned a list, expected a torch.Tensor"),
        (lambda x: (x > 0).sum((1, 2)), "returned numbers of type torch.int64, expected real ones"),
        (lambda x: (0 * x).square().sum((1, 2)).sqrt(), "gradient that is not finite for 5 of 5 samples"),
    ],
)
def test_what_is_wrong_with_a_plugin_names_it(function, message):
    observable = PluginObservable("odd", "odd", "", function)
    with pytest.raises(RecipeError, match=f'plug-in observable "odd" .*{message}'):
        observable(x_of(5).requires_grad_(True)).sum().backward()


def test_without_guidance_no_gradient_is_needed():
    observable = PluginObservable("odd", "odd", "", lambda x: x.detach().norm(dim=(1, 2)))
    assert observable(x_of(5)).shape == (5,)


def test_a_plugin_that_is_missing_or_makes_no_function_is_named(monkeypatch):
    with pytest.raises(TpsctlError, match='here.name: "torus" is not installed. Installed plug-ins: '):
        make_plugin_observable("torus", {}, None, label="torus", unit="", key="here")
    monkeypatch.setattr(plugin, "load_entry_point", lambda *given: lambda options, topology: 3)
    with pytest.raises(RecipeError, match='here: plug-in observable "three" made a int, expected a function'):
        make_plugin_observable("three", {}, None, label="three", unit="", key="here")
