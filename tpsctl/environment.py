"""What a result depends on beside its recipe: the versions of the packages, and the number of CPU threads."""

import importlib.metadata
import os
import platform

from tpsctl import __version__

PACKAGES = ("torch", "openmm", "mdtraj", "numpy", "pydantic", "safetensors", "matplotlib", "typer", "rich")


def versions() -> dict[str, str]:
    """Versions of tpsctl, Python and the packages a result depends on."""
    found = {"tpsctl": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def default_threads() -> int:
    """The number of CPU threads: OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else the cores this process may use."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
