"""Which device a run takes, how its paths are dealt out to GPUs, and what of the machine each process gets.

One process works on one GPU: it sees no other (`CUDA_VISIBLE_DEVICES`), and the CPU threads are shared out among the
processes. The process that starts them only counts the GPUs. It opens none, because a GPU in exclusive-process mode
would then refuse its own worker, and a context takes hundreds of megabytes.

The energies of finished paths are computed by each process with its own share of the threads, or on its own GPU where
OpenMM is measured to be faster there (`validation.energy`).
"""

import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from tpsctl.action.memory import free_bytes
from tpsctl.errors import RecipeError
from tpsctl.optimize.gauss_newton import BlockSystem
from tpsctl.optimize.newton import NewtonSystem
from tpsctl.optimize.string import String
from tpsctl.recipe.endpoints import MoleculeEndpointsSection
from tpsctl.recipe.optimize import LbfgsSection, LevenbergMarquardtSection, MethodSection, StringSection
from tpsctl.recipe.prior import CheckpointPriorSection, PluginPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble.chosen import choose_images
from tpsctl.workflows.sample.assemble.system import System, make_system

CPU_BATCH_PATHS = 2
"""Paths per batch on a CPU, where the recipe does not say: small batches spread over more cores."""

_STATE_SHARE = 0.3
"""Share of a GPU's free memory for what an optimizer keeps of its paths; the rest is for the graphs of their images."""

_UNKNOWN_CARD_BYTES = 16e9
"""Memory of a GPU that cannot be asked, e.g. from the login node of a cluster."""

_PATH_TENSORS = 16
"""Tensors of the size of a path that an optimizer keeps or has in passing."""

_LBFGS_PAIRS = 20


@dataclass(frozen=True)
class Choice:
    """The device that a run takes.

    Attributes:
        name: "cpu", "cuda" or "cuda:N".
        note: What the user should know about the choice; "" if there is nothing.
    """

    name: str
    note: str = ""


def choose(wanted: str, recipe: SampleRecipe) -> Choice:
    """The device by the option --device: "auto" takes a GPU if there is one and the recipe gains by it."""
    if wanted != "auto":
        return Choice(wanted)
    if fault := cuda_fault():
        what = f"this machine has a GPU, but it cannot be used, so the CPU computes: {fault}"
        return Choice("cpu", f"{what} `tpsctl doctor` lists devices.")
    if not torch.cuda.is_available():
        return Choice("cpu")
    if not gains_on_gpu(recipe):
        text = f'prior "{recipe.prior.kind}" is computed on the CPU, where it is faster (--device cuda takes the GPU)'
        return Choice("cpu", text)
    return Choice("cuda")


def gains_on_gpu(recipe: SampleRecipe) -> bool:
    """Whether the prior is a network of a molecule; force fields and points of a model potential lose on a GPU."""
    is_network = isinstance(recipe.prior, CheckpointPriorSection | PluginPriorSection)
    return is_network and isinstance(recipe.endpoints, MoleculeEndpointsSection)


def cuda_fault() -> str | None:
    """Why a GPU that is there, and not hidden on purpose, cannot be used; None if it can, or there is none."""
    if torch.cuda.is_available() or not _gpu_is_there():
        return None
    if not torch.backends.cuda.is_built():
        return f"PyTorch {torch.__version__} was built without CUDA. Install its CUDA build (README, Install)."
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "CUDA finds no device."


def require_usable(device: torch.device) -> None:
    """Use a device once, which opens a context on a GPU.

    Raises:
        RecipeError: It cannot be used.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise not_usable(str(device), error) from None


def not_usable(name: str, error: Exception) -> RecipeError:
    """The error for a device that torch refuses."""
    reason = str(error).splitlines()[0]
    return RecipeError(f"--device {name}: not usable here: {reason}. `tpsctl doctor` lists devices.")


def gpus_for(option: str) -> list[str]:
    """The GPUs that --device auto or cuda means, as `CUDA_VISIBLE_DEVICES` names them; asks without opening them."""
    if option not in ("auto", "cuda"):
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return given.split(",")[:count] if given else [str(number) for number in range(count)]


def share_of_threads(threads: int, processes: int) -> int:
    """CPU threads of each of several processes."""
    return max(1, threads // processes)


def batch_paths(recipe: SampleRecipe, device: torch.device, processes: int) -> int:
    """Paths per batch: what the recipe says; else 2 on a CPU, and on GPUs as many as keep all of them at work.

    Args:
        recipe: Says how many paths there are, of what size.
        device: The kind of device.
        processes: How many GPUs, or shards with a GPU each, share the paths.
    """
    if recipe.path.batch_paths:
        return recipe.path.batch_paths
    if device.type == "cpu":
        return CPU_BATCH_PATHS
    each = _most_bytes_of_path(recipe, make_system(recipe.endpoints))
    fitting = int(_STATE_SHARE * free_card_bytes() // each)
    return max(1, min(math.ceil(recipe.path.paths / processes), fitting))


def paths_fit(recipe: SampleRecipe, system: System, device: torch.device, count: int) -> bool:
    """Whether so many paths fit into the memory that is free now, asked of the GPU that this process has opened.

    A number that the recipe gives (path.batch_paths) is taken at its word, as is any number on a CPU.
    """
    if device.type != "cuda" or recipe.path.batch_paths:
        return True
    return count * _most_bytes_of_path(recipe, system) <= _STATE_SHARE * free_bytes(device)


def _most_bytes_of_path(recipe: SampleRecipe, system: System) -> float:
    images = choose_images(recipe, system).value
    return max(bytes_of_path(stage, stage.images or images, system.ends) for stage in recipe.stages)


def bytes_of_path(stage: MethodSection, images: int, ends: torch.Tensor) -> float:
    """Memory that the optimizer of a stage needs for one path, besides the graphs of the score."""
    path = torch.empty(1, images, *ends.shape[1:], dtype=torch.float64, device="meta")
    size, tensors, matrices = path.numel() * path.element_size(), _PATH_TENSORS, 0
    if isinstance(stage, LbfgsSection):
        tensors += 4 * _LBFGS_PAIRS  # positions and gradients of every pair, and a copy while they are used
    if isinstance(stage, LevenbergMarquardtSection):
        blocks = BlockSystem.bytes_per_path(path)
        dense = 4 * path[0, 1:-1].numel() ** 2 * path.element_size()
        matrices = dense if NewtonSystem.fits(path) else 2 * blocks if blocks <= BlockSystem.MOST_BYTES_PER_PATH else 0
    if isinstance(stage, StringSection) and stage.preconditioned:
        modes = String.bytes_per_path(path)
        matrices = 3 * modes if modes <= String.MOST_BYTES_PER_PATH else 0
    return tensors * size + matrices


def free_card_bytes() -> float:
    """Free memory of the GPU that has the least, asked of the driver without opening it."""
    words = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        words.append(f"--id={visible}")
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
        return min(float(line) for line in said.split()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return _UNKNOWN_CARD_BYTES


def _gpu_is_there() -> bool:
    """Whether the kernel knows an NVIDIA GPU, and it was not hidden from this process on purpose."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "NoDevFiles"):
        return False
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))
