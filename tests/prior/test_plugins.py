"""Priors of other packages: an example package is installed with pip and used by `tpsctl sample`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tpsctl.errors import PriorError
from tpsctl.prior import plugins
from tpsctl.prior.plugins import make_plugin

EXAMPLE = Path(__file__).parents[1] / "plugin_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, really built and installed by pip, into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "site"
    shutil.copytree(EXAMPLE, source)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, "--target", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def run(arguments, site, folder):
    paths = [str(site), str(EXAMPLE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tpsctl", *arguments], capture_output=True, text=True, cwd=folder, env=environment
    )


def test_an_installed_plugin_is_used_by_sample(installed, tmp_path):
    shutil.copy(EXAMPLE / "recipe.yaml", tmp_path)
    done = run(["sample", "recipe.yaml", "--json"], installed, tmp_path)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert found["produced"] == 1
    assert (tmp_path / "run" / "manifest.json").exists()


def test_the_name_of_an_installed_plugin_is_a_kind(installed, tmp_path):
    text = (EXAMPLE / "recipe.yaml").read_text()
    assert "kind: plugin, name: ring" in text
    (tmp_path / "long.yaml").write_text(text)
    (tmp_path / "short.yaml").write_text(text.replace("kind: plugin, name: ring", "kind: ring"))
    for name in ("long", "short"):
        done = run(["sample", f"{name}.yaml", "--out", name], installed, tmp_path)
        assert done.returncode in (0, 3), done.stderr
    long, short = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("long", "short"))
    assert short["recipe"]["prior"] == long["recipe"]["prior"]
    assert short["digest"] == long["digest"]
    done = run(["sample", "short.yaml", "--set", "prior.kind=rnig"], installed, tmp_path)
    assert done.returncode == 2
    assert 'prior: kind: got "rnig", expected one of checkpoint, ' in done.stderr
    assert 'plugin, ring. Did you mean "ring"?' in done.stderr
    done = run(["sample", "short.yaml", "--set", "prior.option=1"], installed, tmp_path)
    assert done.returncode == 2
    assert 'prior.option: unknown key. Did you mean "options"?' in done.stderr


def test_a_plugins_own_errors_reach_the_user(installed, tmp_path):
    shutil.copy(EXAMPLE / "recipe.yaml", tmp_path)
    done = run(["sample", "recipe.yaml", "--set", "prior.options.radius=2.0"], installed, tmp_path)
    assert done.returncode == 1
    assert "prior.options: unknown key radius. Allowed: radius_nm" in done.stderr


def test_a_plugin_that_is_not_installed_is_named():
    with pytest.raises(PriorError, match='prior.name: "torus" is not installed. Installed plug-ins: '):
        make_plugin("torus", {}, None)


def test_a_plugin_must_make_a_prior(monkeypatch):
    monkeypatch.setattr(plugins, "_load", lambda name: lambda options, topology: 3)
    with pytest.raises(PriorError, match="made a int, expected a tpsctl.prior.base.Prior"):
        make_plugin("three", {}, None)
