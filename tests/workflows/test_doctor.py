"""What `tpsctl doctor` finds in the way, and the cure it names."""

import re
import tomllib

import openmm
import pytest
import torch

from tpsctl.workflows import doctor
from tpsctl.workflows.doctor import examine


@pytest.fixture
def gpu(monkeypatch):
    """One GPU that PyTorch can use."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a GPU")


def test_devices_and_platforms_are_listed(gpu):
    found = examine()
    assert found["torch_devices"] == ["cpu", "cuda:0 (a GPU)"]
    assert "Reference" in found["openmm_platforms"]
    assert found["memory_gb"] > 0


def test_an_openmm_without_platforms_is_a_problem(monkeypatch):
    monkeypatch.setattr(openmm.Platform, "getNumPlatforms", staticmethod(lambda: 0))
    (problem,) = examine()["problems"]
    assert problem.startswith("OpenMM finds no platform: reinstall it")


def test_a_gpu_that_openmm_cannot_use_is_a_problem(monkeypatch, gpu):
    monkeypatch.setattr(openmm.Platform, "getNumPlatforms", staticmethod(lambda: 1))  # Reference comes first
    (problem,) = examine()["problems"]
    assert 'install "openmm[cuda12]"' in problem


def test_a_gpu_that_pytorch_cannot_use_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "cuda_fault", lambda: "PyTorch 2.13.0 was built without CUDA.")
    (problem,) = examine()["problems"]
    assert problem == "There is a GPU, but PyTorch cannot use it: PyTorch 2.13.0 was built without CUDA."


def test_every_extra_for_users_is_listed_with_its_package(root):
    """The extras of pyproject.toml, but those of developers."""
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: [re.match(r"[\w-]+", line)[0] for line in lines] for extra, lines in declared.items()}
    assert {extra: [package] for extra, package in doctor.EXTRAS.items()} == {
        extra: packages for extra, packages in names.items() if extra not in ("test", "docs", "dev")
    }


def test_an_extra_that_is_missing_is_no_problem(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"other": "no-such-package"})
    found = examine()
    assert found["extras"] == {"other": "not installed"}
    assert not any("no-such-package" in problem for problem in found["problems"])
