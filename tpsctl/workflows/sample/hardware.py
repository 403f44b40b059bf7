"""On which device, with how many threads and in how many processes a run is done."""

import torch

from tpsctl.environment import default_threads
from tpsctl.jobs.plan import Plan
from tpsctl.jobs.side_by_side import Process
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import devices
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools


def use_hardware(settings: RunSettings, recipe: SampleRecipe) -> tuple[torch.device, int, str]:
    """The device, the number of threads, set for torch, and what the user should know of the choice ("" if nothing).

    No GPU is opened: `devices.require_usable` does so in the process that computes.

    Raises:
        RecipeError: There is no such device.
    """
    threads = settings.threads or default_threads()
    torch.set_num_threads(threads)
    choice = devices.choose(settings.device, recipe)
    try:
        device = torch.device(choice.name)
    except RuntimeError as error:
        raise devices.not_usable(choice.name, error) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        devices.require_usable(device)  # whose message names the reason
    return device, threads, choice.note or _idle_gpus(settings, device)


def _idle_gpus(settings: RunSettings, device: torch.device) -> str:
    """A note on the GPUs that a shard leaves idle; "" if it leaves none."""
    seen = len(devices.gpus_for(settings.device)) if device.type == "cuda" else 0
    if settings.shard is None or seen < 2:
        return ""
    return (
        f"this shard computes on the first of {seen} GPUs. Give each shard a GPU of its own (CUDA_VISIBLE_DEVICES), or "
        "leave --shard out: then all GPUs work side by side."
    )


def processes(plan: Plan, tools: Tools, settings: RunSettings) -> list[Process]:
    """The processes that share the work: one for each GPU, or for each CPU thread; at most one per batch.

    One process, this one, for a shard, for a model potential, and for networks that use all threads at once.
    """
    missing = sum(not plan.batch_file(batch).exists() for batch in range(plan.batches))
    missing = plan.shares if plan.together and missing else missing
    saving = ("--save-every", str(settings.save_every_s))
    if settings.shard or not settings.origin:
        return [Process()]
    if plan.together:
        return [Process(("--device", "cpu", "--threads", "1", *saving)) for _ in range(min(tools.threads, missing))]
    if tools.device.type == "cuda":
        gpus = devices.gpus_for(settings.device)[:missing]
        threads = str(devices.share_of_threads(tools.threads, max(1, len(gpus))))
        options = ("--device", "cuda", "--threads", threads, *saving)
        return [Process(options, {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus] or [Process()]
    if tools.device.type == "cpu" and tools.system.is_molecule and tools.prior.one_thread:
        return [Process(("--threads", "1", *saving)) for _ in range(min(tools.threads, missing))]
    return [Process()]
