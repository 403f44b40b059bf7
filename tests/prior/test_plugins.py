"""Priors of other packages: an example package is installed with pip and used by `tpsctl sample`."""

import json
import shutil
from pathlib import Path

import pytest

from tpsctl.errors import PriorError
from tpsctl.prior import plugins
from tpsctl.prior.plugins import make_plugin

EXAMPLE = Path(__file__).parents[1] / "plugin_example"


def test_an_installed_plugin_is_used_by_sample(run_with_plugins, tmp_path):
    shutil.copy(EXAMPLE / "recipe.yaml", tmp_path)
    done = run_with_plugins(["sample", "recipe.yaml", "--json"], tmp_path)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert found["produced"] == 1
    assert (tmp_path / "run" / "manifest.json").exists()


def test_the_name_of_an_installed_plugin_is_a_kind(run_with_plugins, tmp_path):
    text = (EXAMPLE / "recipe.yaml").read_text()
    assert "kind: plugin, name: ring" in text
    (tmp_path / "long.yaml").write_text(text)
    (tmp_path / "short.yaml").write_text(text.replace("kind: plugin, name: ring", "kind: ring"))
    for name in ("long", "short"):
        done = run_with_plugins(["sample", f"{name}.yaml", "--out", name], tmp_path)
        assert done.returncode in (0, 3), done.stderr
    long, short = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("long", "short"))
    assert short["recipe"]["prior"] == long["recipe"]["prior"]
    assert short["digest"] == long["digest"]
    done = run_with_plugins(["sample", "short.yaml", "--set", "prior.kind=rnig"], tmp_path)
    assert done.returncode == 2
    assert 'prior: kind: got "rnig", expected one of checkpoint, ' in done.stderr
    assert 'plugin, ring. Did you mean "ring"?' in done.stderr
    done = run_with_plugins(["sample", "short.yaml", "--set", "prior.option=1"], tmp_path)
    assert done.returncode == 2
    assert 'prior.option: unknown key. Did you mean "options"?' in done.stderr


def test_a_plugins_own_errors_reach_the_user(run_with_plugins, tmp_path):
    shutil.copy(EXAMPLE / "recipe.yaml", tmp_path)
    done = run_with_plugins(["sample", "recipe.yaml", "--set", "prior.options.radius=2.0"], tmp_path)
    assert done.returncode == 1
    assert "prior.options: unknown key radius. Allowed: radius_nm" in done.stderr


def test_a_plugin_that_is_not_installed_is_named():
    with pytest.raises(PriorError, match='prior.name: "torus" is not installed. Installed plug-ins: '):
        make_plugin("torus", {}, None)


def test_a_plugin_must_make_a_prior(monkeypatch):
    monkeypatch.setattr(plugins, "_load", lambda name: lambda options, topology: 3)
    with pytest.raises(PriorError, match="made a int, expected a tpsctl.prior.base.Prior"):
        make_plugin("three", {}, None)
