"""What a result depends on beside its recipe."""

import os
import platform

import pytest

from tpsctl import __version__
from tpsctl.environment import PACKAGES, default_threads, versions


def test_versions_name_tpsctl_python_and_every_package():
    found = versions()
    assert (found["tpsctl"], found["python"]) == (__version__, platform.python_version())
    assert set(found) == {"tpsctl", "python", *PACKAGES}


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({"OMP_NUM_THREADS": "3", "SLURM_CPUS_PER_TASK": "5"}, 3),
        ({"SLURM_CPUS_PER_TASK": "5"}, 5),
        ({"OMP_NUM_THREADS": "0", "SLURM_CPUS_PER_TASK": "5"}, 5),
        ({"OMP_NUM_THREADS": "2,1"}, 7),
        ({}, 7),
    ],
)
def test_threads_are_those_given_before_those_there(monkeypatch, variables, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)), raising=False)
    assert default_threads() == threads
