"""Carrying out a training run: from where it was left, shown to whoever watches, saved and stopped between steps."""

import math
import time
from typing import Any

from tpsctl.errors import DataError, Interrupted
from tpsctl.jobs.interruption import noted_interruptions
from tpsctl.jobs.unfinished import SavePoints, Unfinished
from tpsctl.progress import Progress
from tpsctl.training.loop import Loop
from tpsctl.training.team import Team

_LOSS_MEMORY = 0.99
"""The loss that is shown is a running mean with this decay per step."""


def carry_out(loop: Loop[Any], kept: Unfinished, progress: Progress) -> None:
    """Do all that is left of a run; its state is saved every so often, when it is told to stop, and at the end.

    Raises:
        DataError: The loss is no longer finite, or another version of tpsctl wrote the saved state.
        Interrupted: Told to stop; the state is saved.
    """
    before = kept.newest()
    if before is not None:
        loop.restore(before)
        progress.say(f"going on after {_done(loop)}")
    with kept.stoppable() as points:
        _prepare(loop, kept, points, progress)
        if loop.team is not None:
            loop.team.shared(loop.store())
            points = points.agreed(loop.team.largest)
        if loop.step < loop.settings.steps:
            _step(loop, kept, points, progress)


def follow(loop: Loop[Any], team: Team) -> None:
    """Do the steps of a run that process 0 of a team carries out; nothing is prepared, saved or shown.

    Raises:
        DataError: Process 0 has ended.
        Interrupted: The team was told to stop.
    """
    with noted_interruptions() as asked:
        state = team.shared()
        if state is None:
            return
        loop.restore(state)
        for _ in loop.steps():
            code = team.largest(asked())
            if code:
                raise Interrupted(f"stopped after {_done(loop)}.", code)


def _prepare(loop: Loop[Any], kept: Unfinished, points: SavePoints, progress: Progress) -> None:
    total = len(loop.objective.preparation())
    if loop.prepared == total:
        return
    with progress.task("preparation", total) as update:
        for done, said in loop.prepare(lambda before: points.within_step(_done(loop), lambda: before)):
            update(done, said)
            points.after_step(_done(loop), loop.store)
    kept.save(loop.store())


def _step(loop: Loop[Any], kept: Unfinished, points: SavePoints, progress: Progress) -> None:
    started, first, steps = time.monotonic(), loop.step, loop.settings.steps
    mean, weight = 0.0, 0.0
    with progress.task("training", steps) as update:
        for step, loss in loop.steps():
            if not math.isfinite(loss):
                raise DataError(
                    f"step {step}: the loss is {loss}, no finite number. Lower optimize.learning_rate, or look for "
                    f"broken frames in the data; the last good state is in {kept.folder}."
                )
            mean = _LOSS_MEMORY * mean + (1 - _LOSS_MEMORY) * loss
            weight = _LOSS_MEMORY * weight + (1 - _LOSS_MEMORY)
            rate = (step - first) / (time.monotonic() - started)
            said = (f"loss {mean / weight:.4f}", loop.objective.remark, f"{rate:.1f} steps/s")
            update(step, "  ".join([*filter(None, said), f"{_clock((steps - step) / rate)} left"]))
            points.after_step(_done(loop), loop.store)
    kept.save(loop.store())


def _done(loop: Loop[Any]) -> str:
    """How far a run is, in words."""
    pieces = len(loop.objective.preparation())
    if loop.prepared < pieces:
        return f"{loop.prepared} of {pieces} pieces of the preparation"
    return f"step {loop.step} of {loop.settings.steps}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
