"""The stages of the optimization, each from the paths of the one before, with progress and a trace."""

from contextlib import ExitStack

from torch import Tensor

from tpsctl.optimize.base import StepCallback, StepReport
from tpsctl.optimize.outcome import Outcome
from tpsctl.optimize.stages import run_stages
from tpsctl.optimize.state import BetweenSteps, State
from tpsctl.progress import Progress, Update
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.sample.trace import Trace, describe_step


def optimize(
    tools: Tools,
    paths: Tensor,
    progress: Progress,
    *,
    trace: Trace | None = None,
    state: State | None = None,
    on_step: StepCallback | None = None,
    between_steps: BetweenSteps | None = None,
) -> tuple[Tensor, tuple[Outcome, ...]]:
    """Minimize the action of a batch of paths in all stages; the last outcome is that of the whole.

    Args:
        tools: The recipe with its prior and ends.
        paths: Initial paths (path, image, bead, dim), nm; with a `state`, any paths of this shape.
        progress: Told about every step.
        trace: Every step is added to it; it holds those before the `state`.
        state: Where an earlier call was when it was interrupted.
        on_step: Told about every step, too.
        between_steps: May take the state, and end the optimization by raising.

    Returns:
        The paths on the CPU, and the outcome of every stage.
    """
    stages = assemble.make_stages(tools.recipe, tools.chosen, tools.prior, tools.system)
    limits = {stage.name: stage.optimizer.max_steps for stage in stages}
    with ExitStack() as stack:
        tasks: dict[str, Update] = {}

        def tell(report: StepReport) -> None:
            if report.stage not in tasks:
                stack.close()
                tasks[report.stage] = stack.enter_context(progress.task(report.stage, limits[report.stage]))
            tasks[report.stage](report.step, describe_step(report))
            if trace is not None:
                trace.note(report)
            if on_step is not None:
                on_step(report)

        found, outcomes = run_stages(stages, paths, on_step=tell, state=state, between_steps=between_steps)
    return found.cpu(), outcomes
