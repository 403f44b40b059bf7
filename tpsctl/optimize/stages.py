"""Several minimizations in a row, for example to repair a path and then converge it, or to refine it in steps.

A stage is an optimizer with an action of its own, so it may differ from the one before in the physical step
(continuation from small to large dt), in the diffusion time of its score (annealing from large to small), in the
method, and in the number of images: paths are then interpolated, with their ends bit-identical.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action
from tpsctl.optimize.base import Optimizer, StepReport
from tpsctl.optimize.outcome import Outcome
from tpsctl.optimize.state import BetweenSteps, State, within


@dataclass(frozen=True)
class Stage:
    """One of several minimizations in a row.

    Attributes:
        name: Name of the stage in reports of progress.
        optimizer: The method with its limits.
        action: The action that is minimized.
        images: Images of every path in this stage; None for as many as before.
    """

    name: str
    optimizer: Optimizer
    action: Action
    images: int | None = None


def run_stages(
    stages: Sequence[Stage],
    paths: Float[Tensor, "path image bead dim"],
    *,
    on_step: Callable[[StepReport], None] | None = None,
    state: State | None = None,
    between_steps: BetweenSteps | None = None,
) -> tuple[Tensor, tuple[Outcome, ...]]:
    """Run all stages, each from the paths that the stage before it returned.

    Args:
        stages: The stages in their order.
        paths: Starting paths of the first stage, nm.
        on_step: Called with a report after every step.
        state: State that `between_steps` took in an earlier call; the stages continue from it.
        between_steps: Called after every step; it may take the state, and end the stages by raising.

    Returns:
        Optimized paths, nm, and the outcome of every stage; the last of them is the outcome of the whole optimization.

    Raises:
        PathError, TpsctlError: See `Optimizer.minimize`.
    """
    outcomes = _finished(state or {})
    for number, stage in enumerate(stages[len(outcomes) :], start=len(outcomes)):
        if stage.images is not None:
            paths = interpolated(paths, stage.images)
        before = {f"stage_{k}.{name}": t for k, outcome in enumerate(outcomes) for name, t in outcome.tensors().items()}
        paths, outcome = stage.optimizer.minimize(
            stage.action,
            paths if state is None else state["minimization.record.good"].to(paths),
            on_step=_named(on_step, stage.name),
            state=None if state is None else within(state, "minimization."),
            between_steps=_after(before | {"stage": torch.tensor(number)}, between_steps),
        )
        state = None
        outcomes.append(outcome)
    return paths, tuple(outcomes)


def _finished(state: State) -> list[Outcome]:
    """Outcomes of the stages that were over when the state was taken."""
    return [Outcome.from_tensors(within(state, f"stage_{k}.")) for k in range(int(state.get("stage", 0)))]


def _after(before: State, between_steps: BetweenSteps | None) -> BetweenSteps | None:
    """`between_steps`, wrapped to be given the state of all stages, not the state of the present minimization alone."""
    if between_steps is None:
        return None
    return lambda take: between_steps(lambda: before | {f"minimization.{name}": t for name, t in take().items()})


def interpolated(paths: Float[Tensor, "path image bead dim"], images: int) -> Float[Tensor, "path image2 bead dim"]:
    """The same paths, nm, with another number of images, at equal steps of the old image number.

    The interpolation is cubic (Catmull-Rom), so that a bond that turns from image to image keeps its length to second
    order. The ends stay bit-identical.
    """
    old = paths.shape[1]
    if images == old:
        return paths
    place = torch.linspace(0, old - 1, images, dtype=paths.dtype, device=paths.device)
    left = place.long().clamp_max(old - 2)
    u = (place - left).view(1, -1, 1, 1)
    slope = torch.cat([paths[:, 1:2] - paths[:, :1], paths[:, 2:] - paths[:, :-2], paths[:, -1:] - paths[:, -2:-1]], 1)
    slope[:, 1:-1] /= 2
    a, b, da, db = paths[:, left], paths[:, left + 1], slope[:, left], slope[:, left + 1]
    new = a + u * da + u**2 * (3 * (b - a) - 2 * da - db) + u**3 * (2 * (a - b) + da + db)
    new[:, 0], new[:, -1] = paths[:, 0], paths[:, -1]
    return new


def _named(on_step: Callable[[StepReport], None] | None, name: str) -> Callable[[StepReport], None] | None:
    if on_step is None:
        return None
    return lambda report: on_step(replace(report, stage=name))
