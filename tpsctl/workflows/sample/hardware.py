"""On which device, with how many threads and in how many processes a run is done."""

import torch

from tpsctl.environment import default_threads
from tpsctl.errors import RecipeError
from tpsctl.jobs.plan import Plan
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

BATCH_PATHS = {"cpu": 2, "cuda": 32}
"""Paths per batch by type of device, where the recipe does not say."""


def use_hardware(settings: RunSettings) -> tuple[torch.device, int]:
    """The device and the number of threads, set for torch.

    Raises:
        RecipeError: The device cannot be used here.
    """
    threads = settings.threads or default_threads()
    torch.set_num_threads(threads)
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"--device {name}: not usable here: {reason}. `tpsctl doctor` lists devices.") from None
    return device, threads


def processes(plan: Plan, tools: Tools, settings: RunSettings) -> list[list[str]]:
    """Options of the processes that share the work: one for each GPU, or for each CPU thread; at most one per batch.

    One process, with no options, for a shard, for a model potential, and for networks that use all threads at once.
    """
    missing = sum(not plan.batch_file(batch).exists() for batch in range(plan.batches))
    saving = ["--save-every", str(settings.save_every_s)]
    if settings.shard or not settings.origin:
        return [[]]
    if tools.device.type == "cuda" and settings.device in ("auto", "cuda"):
        return [["--device", f"cuda:{gpu}", *saving] for gpu in range(min(torch.cuda.device_count(), missing))]
    if tools.device.type == "cpu" and tools.system.is_molecule and tools.prior.one_thread:
        return [["--threads", "1", *saving] for _ in range(min(tools.threads, missing))]
    return [[]]
