"""Facts about this machine and installation that decide whether and how fast tpsctl runs."""

import importlib.metadata
import os
import platform
from typing import Any

from tpsctl.environment import default_threads, versions
from tpsctl.workflows.sample.devices import cuda_fault

EXTRAS = {
    "prepare": "pdbfixer",
    "compare": "deeptime",
    "guide": "scikit-learn",
    "cgback": "cgback",
    "pulchra": "pypulchra",
}
"""The package of each extra, without which one command, or one of its options, is not there."""


def examine() -> dict[str, Any]:
    """Everything `tpsctl doctor` shows; `problems` lists what stands in the way, with its cure."""
    facts: dict[str, Any] = {
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": default_threads(),
        "memory_gb": _memory_gb(),
        "attention": _attention(),
        "extras": {extra: _version(package) for extra, package in EXTRAS.items()},
    }
    torch_devices, openmm_platforms, problems = _torch_devices(), _openmm_platforms(), []
    if not openmm_platforms:
        problems.append("OpenMM finds no platform: reinstall it (pip install --force-reinstall openmm).")
    if len(torch_devices) > 1 and not {"CUDA", "OpenCL", "HIP"} & set(openmm_platforms):
        problems.append(
            'PyTorch has a GPU, OpenMM has none: install "openmm[cuda12]" or "openmm[cuda13]" if it matters.'
        )
    if fault := cuda_fault():
        problems.append(f"There is a GPU, but PyTorch cannot use it: {fault}")
    return facts | {"torch_devices": torch_devices, "openmm_platforms": openmm_platforms, "problems": problems}


def _version(package: str) -> str:
    """The installed version of a package, or that it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _memory_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _attention() -> str:
    """How graph transformers compute attention on the CPU."""
    from tpsctl.networks.graph_transformer.attend_compiled import instructions

    compiled_for = instructions()
    if compiled_for:
        return f"compiled ({compiled_for})"
    return "by torch (reinstalled with a C compiler it would be compiled: an eighth less time)"


def _torch_devices() -> list[str]:
    import torch

    gpus = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus]


def _openmm_platforms() -> list[str]:
    import openmm

    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
