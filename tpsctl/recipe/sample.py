"""The recipe of `tpsctl sample`: the sections of a run, one file each."""

from typing import Literal, Self

from pydantic import model_validator

from tpsctl.recipe.action import ActionSection, GeometricActionSection, TransportActionSection, TruncatedActionSection
from tpsctl.recipe.endpoints import EndpointsSection
from tpsctl.recipe.optimize import AutoMethodSection, MethodSection, OptimizeSection, RouteSection
from tpsctl.recipe.output import OutputSection
from tpsctl.recipe.path import PathSection
from tpsctl.recipe.prior import PriorSection
from tpsctl.recipe.section import Section, key
from tpsctl.recipe.validation import ValidationSection

_OF_TRANSPORT = {"adam", "lbfgs", "sgd"}
"""Minimizers of the transport action, which is no sum of squares."""


class SampleRecipe(Section):
    """A complete description of one `tpsctl sample` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the run, for tables and figures.", min_length=1)
    seed: int = key("Seed of all random numbers; each path has its own stream.", "1", ge=0)
    endpoints: EndpointsSection = key("The two fixed ends.")
    prior: PriorSection = key("Where the score comes from.")
    path: PathSection = key("Number and size of the paths, and the initial guess.", default=PathSection())
    action: ActionSection = key(
        "The functional that is minimized.", default=TruncatedActionSection(functional="truncated")
    )
    optimize: OptimizeSection = key(
        "The search for routes, a minimizer, or a list of stages.", default=AutoMethodSection()
    )
    validation: ValidationSection = key("Checks of the finished paths.", default=ValidationSection())
    output: OutputSection = key("Files to write.")

    @model_validator(mode="after")
    def _last_stage_has_all_images(self) -> Self:
        if self.stages and self.stages[-1].images not in (None, self.path.images):
            raise ValueError(
                f"optimize: the last stage has {self.stages[-1].images} images, path.images is {self.path.images}; "
                "leave images out of the last stage"
            )
        return self

    @model_validator(mode="after")
    def _no_step_without_time(self) -> Self:
        stepped = [number for number, stage in enumerate(self.stages, 1) if getattr(stage, "dt_ps", None) is not None]
        if isinstance(self.action, GeometricActionSection) and stepped:
            raise ValueError(f"optimize: stage {stepped[0]} has a dt_ps, but the geometric action has no time step")
        return self

    @model_validator(mode="after")
    def _transport_through_snapshots(self) -> Self:
        transport, snapshots = isinstance(self.action, TransportActionSection), self.prior.kind == "snapshots"
        if transport != snapshots:
            raise ValueError(
                f'prior.kind "{self.prior.kind}" with action.functional "{self.action.functional}": paths through the '
                "field between snapshots need both prior.kind: snapshots and action.functional: transport"
            )
        named = [str(stage.method) for stage in self.stages] or [str(getattr(self.optimize, "method", "auto"))]
        stepped = any(getattr(stage, "dt_ps", None) is not None for stage in self.stages)
        if transport and (stepped or not _OF_TRANSPORT.issuperset(named)):
            raise ValueError(
                f"action.functional: transport: got optimize.method {', '.join(named)}; expected one of "
                f"{', '.join(sorted(_OF_TRANSPORT))}, without a dt_ps, which follows from the snapshots' times"
            )
        return self

    @property
    def route(self) -> RouteSection | None:
        """The search for routes, if that is the method."""
        return self.optimize if isinstance(self.optimize, RouteSection) else None

    @property
    def stages(self) -> tuple[MethodSection, ...]:
        """The stages of minimization: one if only one minimizer is given, none for a search for routes."""
        if isinstance(self.optimize, AutoMethodSection | RouteSection):
            return ()
        return self.optimize if isinstance(self.optimize, tuple) else (self.optimize,)
