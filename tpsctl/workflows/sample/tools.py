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

from tpsctl.errors import RecipeError
from tpsctl.jobs.shard_status import slurm_ids
from tpsctl.prior.base import Prior
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.prior.snapshots import SnapshotPrior
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import products
from tpsctl.validation.ends import EndReport, report_ends
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.validation.saddle import TopJudge
from tpsctl.workflows.sample import assemble


class Tools:
    """The ends, the prior and the judges of a recipe, each made when it is first needed.

    Attributes:
        given: The recipe as it is written.
    """

    def __init__(self, recipe: SampleRecipe, device: torch.device, threads: int, device_note: str = "") -> None:
        self.given, self.device, self.threads, self.device_note = recipe, device, threads, device_note

    @cached_property
    def recipe(self) -> SampleRecipe:
        """The recipe, with the method chosen if it left the choice open."""
        return assemble.with_method(self.given, lambda: self.given_system, lambda: self.prior)

    @cached_property
    def system(self) -> assemble.System:
        """The two ends and what they are made of, minimized if the recipe says so."""
        if not getattr(self.given.endpoints, "minimize", False):
            return self.given_system
        given = self.given_system
        return assemble.minimize_ends(
            self.given,
            given,
            lambda: self._landscapes_of(given),
        )

    @cached_property
    def given_system(self) -> assemble.System:
        """The two ends as they are given."""
        return assemble.make_system(self.given.endpoints)

    @cached_property
    def prior(self) -> Prior:
        """The prior on its device."""
        return assemble.make_prior(self.given.prior, self.given_system, self.device)

    @cached_property
    def chosen(self) -> assemble.Chosen:
        """Every number that the recipe may leave open, as it is used; the ends as they are given decide."""
        return assemble.choose(self.recipe, self.given_system, self.prior, self.device, self._forces)

    @cached_property
    def gate(self) -> GeometryGate:
        """The geometry gate."""
        return assemble.make_gate(self.system)

    @cached_property
    def energy_model(self) -> EnergyModel | None:
        """The force field that judges the paths, if the recipe names one."""
        return assemble.make_energy_model(self.recipe.validation, self.given_system, self.threads, self.device)

    @cached_property
    def landscapes(self) -> dict[str, TopJudge]:
        """The energy landscapes of the prior and of the force field in double precision, as far as there are any."""
        return self._landscapes_of(self.system)

    def _landscapes_of(self, system: assemble.System) -> dict[str, TopJudge]:
        return assemble.make_landscapes(
            self.given,
            system,
            self.prior,
            self.energy_model,
            self.final_time,
            threads=self.threads,
            device=self.device,
        )

    @cached_property
    def final_time(self) -> float:
        """The diffusion time of the last stage, whose paths are the result."""
        stages = self.chosen.stages
        last = stages[-1].diffusion_time if stages else None
        return self.chosen.diffusion_time.value if last is None else last

    @cached_property
    def judges_saddles(self) -> bool:
        """Whether the tops of paths are judged.

        Raises:
            RecipeError: The recipe wants it, and it is impossible.
        """
        if not assemble.judges_saddles(self.recipe, self.system):
            return False
        if not self.landscapes and self.recipe.validation.saddle is True:
            raise RecipeError(
                "validation.saddle: true needs an energy: this prior's score is no gradient of a known one, and there "
                "is no validation.energy. Name a force field there."
            )
        return bool(self.landscapes)

    @cached_property
    def end_reports(self) -> tuple[EndReport, ...]:
        """Whether the ends are minima of the force field; empty without one, for sets, and above `MOST_ATOMS`."""
        has_force_field = self.prior_force_field is not None or self.energy_model is not None
        if not has_force_field or self.system.pairs is not None or self.system.topology.n_atoms > assemble.MOST_ATOMS:
            return ()
        name = assemble.end_landscape(self.recipe, self.landscapes)
        return () if name is None else report_ends(self.landscapes[name], self.system.ends)

    def _forces(self) -> Callable[[Tensor], Tensor] | None:
        return None if self.energy_model is None else self.energy_model.forces

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about ends and paths, one sentence each; an end that is no minimum is among it."""
        no_minima = (report.words for report in self.end_reports if not report.is_minimum)
        return (*self.system.notes, *no_minima, *(self.prior.notes if isinstance(self.prior, SnapshotPrior) else ()))

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
