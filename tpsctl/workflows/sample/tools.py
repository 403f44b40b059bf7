"""What every batch of paths of a recipe is made with."""

import os
import platform
import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tpsctl.jobs.shard_status import slurm_ids
from tpsctl.prior.base import Prior
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import products
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.workflows.sample import assemble


class Tools:
    """The ends, the prior and the judges of a recipe, each made when it is first needed."""

    def __init__(self, recipe: SampleRecipe, device: torch.device, threads: int, device_note: str = "") -> None:
        self.recipe, self.device, self.threads, self.device_note = recipe, device, threads, device_note

    @cached_property
    def system(self) -> assemble.System:
        """The two ends and what they are made of."""
        return assemble.make_system(self.recipe.endpoints)

    @cached_property
    def prior(self) -> Prior:
        """The prior on its device."""
        return assemble.make_prior(self.recipe.prior, self.system, self.device)

    @cached_property
    def chosen(self) -> assemble.Chosen:
        """Every number that the recipe may leave open, as it is used."""
        return assemble.choose(self.recipe, self.system, self.prior, self.device, self._forces)

    @cached_property
    def gate(self) -> GeometryGate:
        """The geometry gate."""
        return assemble.make_gate(self.system)

    @cached_property
    def energy_model(self) -> EnergyModel | None:
        """The force field that judges the paths, if the recipe names one."""
        return assemble.make_energy_model(self.recipe.validation, self.system, self.threads, self.device)

    def _forces(self) -> Callable[[Tensor], Tensor] | None:
        return None if self.energy_model is None else self.energy_model.forces

    @property
    def prior_force_field(self) -> dict[str, Any] | None:
        """The force field that is the prior, and how it is evaluated, for the manifest; None for other priors."""
        return asdict(self.prior.protocol) if isinstance(self.prior, OpenMMPrior) else None

    @property
    def machine(self) -> dict[str, Any]:
        """Where the work is done, for the manifest."""
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "device": str(self.device),
            "device_note": self.device_note,
            "gpu": gpu,
            "float32_products": products(),
            "threads": self.threads,
            "cores": os.cpu_count(),
            "slurm": slurm_ids(),
        }
