"""The one training loop: preparation, then Adam on an objective, with a running average of the parameters.

A step draws a batch, takes the loss and its gradient, clips the gradient if that is asked for, lets Adam change the
parameters at a learning rate that follows a law, and moves the running average towards the new parameters. The state
of a run can be stored between two steps and between two pieces of the preparation. A run that is restored from a stored
state continues exactly as if it had not been stopped.

The preparation runs on the CPU, and the steps run on the chosen device. Batches are drawn on the CPU, so that they are
the same on every device, and a state can be stored from any device and restored to any other. A step waits for a GPU
once, to read its loss.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Generic

import torch
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.objectives.base import NetworkT, Objective, fingerprint_of, never
from tpsctl.training.team import Team

STATE_FORMAT = 2
"""Format of the stored state. Format 1, of earlier versions with several training loops, has no number in it."""

_HELD_OUT_POINTS = 50
"""Number of times in a run that the loss on held-out data is taken."""


@dataclass(frozen=True)
class LoopSettings:
    """How an objective is minimized.

    Attributes:
        steps: Number of optimizer steps.
        learning_rate: Learning rate as a function of the number of steps done.
        average: Decay per step of the running average of the parameters, as a function of the number of steps done.
        betas: Decays per step of Adam's two moments.
        largest_gradient_norm: A longer gradient is shortened to this norm; None to take every gradient as it is.
        seed: Seed of all random numbers but the initial parameters.
    """

    steps: int
    learning_rate: WarmUpThenCosine
    average: RampedDecay
    betas: tuple[float, float] = (0.9, 0.999)
    largest_gradient_norm: float | None = None
    seed: int = 0


class Loop(Generic[NetworkT]):
    """One training run.

    Args:
        objective: The objective that is minimized; its network is on the CPU.
        settings: How it is minimized.
        device: Device on which the steps are computed; None for the CPU.
        team: The processes that train the model together; None for one process.

    Attributes:
        prepared: Number of pieces of the preparation that are done.
        losses: Loss of every step so far.
        held_out_losses: Steps done, and the loss on held-out data there, about fifty times in a run; empty without
            such data. The batch and its noise are the same every time, so that differences are those of the network.

    Source: Adam is Kingma and Ba, arXiv:1412.6980.
    """

    def __init__(
        self,
        objective: Objective[Any, NetworkT],
        settings: LoopSettings,
        device: torch.device | None = None,
        team: Team | None = None,
    ) -> None:
        self.objective, self.settings, self.team = objective, settings, team
        self.device = device or torch.device("cpu")
        self.prepared = 0
        self.losses: list[float] = []
        self.held_out_losses: list[tuple[int, float]] = []
        self._parameters = objective.trained_parameters
        self._averages = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._adam = torch.optim.Adam(self._parameters.values(), lr=settings.learning_rate.peak, betas=settings.betas)
        self._generator = torch.Generator().manual_seed(settings.seed)

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.losses)

    def prepare(self, pause: Callable[[dict[str, Tensor]], None] | None = None) -> Iterator[tuple[int, str]]:
        """Do the remaining pieces of the preparation, which has to be complete before the first step.

        Args:
            pause: Called every few seconds with the state of the run before the present piece. By raising it gives up
                that piece; the run then has to be made anew and restored from that state.

        Yields:
            Number of pieces done, and a remark about the last one.
        """
        for piece in self.objective.preparation()[self.prepared :]:
            said = piece.run(self._generator, never if pause is None else self._pausing(pause))
            self.prepared += 1
            yield self.prepared, f"{piece.name} {said}".rstrip()

    def steps(self, *, until: int | None = None) -> Iterator[tuple[int, float]]:
        """Do the steps up to `until` (default: all), and yield the number of steps done and the loss after each."""
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        self._place(self.device)
        while self.step < last:
            loss = self._one_step()
            if self.step % max(1, self.settings.steps // _HELD_OUT_POINTS) == 0 or self.step == self.settings.steps:
                self._look_at_held_out()
            yield self.step, loss

    def averaged_network(self) -> NetworkT:
        """The objective's network on the CPU after its parameters are replaced by the averages, which ends the run."""
        self._place(torch.device("cpu"))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._averages[name])
        return self.objective.network

    def store(self) -> dict[str, Tensor]:
        """Copies, on the CPU, of all tensors on which the rest of the run depends."""
        tensors = {f"network.{name}": value for name, value in self.objective.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self._averages.items()}
        for name, parameter in self._parameters.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        tensors |= {f"objective.{name}": value for name, value in self.objective.store().items()}
        own = {
            "format": torch.tensor(STATE_FORMAT),
            "fingerprint": torch.tensor(list(bytes.fromhex(self._fingerprint))),
            "prepared": torch.tensor(self.prepared),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "held_out_losses": torch.tensor(self.held_out_losses, dtype=torch.float64).reshape(-1, 2),
            "generator": self._generator.get_state(),
        }
        return {name: value.detach().to("cpu", copy=True) for name, value in (tensors | own).items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from a state that `store` returned.

        Raises:
            DataError: The state has another format, or belongs to a run with other settings or data.
        """
        self._require_own(tensors)
        self.objective.network.load_state_dict(_under("network.", tensors))
        self.objective.restore(_under("objective.", tensors))
        self._averages = _under("average.", tensors)
        for name, parameter in self._parameters.items():
            self._adam.state[parameter] = _under(f"adam.{name}.", tensors)
        self._place(next(iter(self._parameters.values())).device)
        self._generator.set_state(tensors["generator"])
        self.prepared = int(tensors["prepared"])
        self.losses = tensors["losses"].tolist()
        held_out = tensors.get("held_out_losses", torch.zeros(0, 2))  # earlier states have none
        self.held_out_losses = [(round(step), loss) for step, loss in held_out.tolist()]

    @cached_property
    def _team_loss(self) -> torch.nn.Module:
        """The loss, made when the network is on its device; its backward pass averages gradients over the team."""
        assert self.team is not None
        return self.team.averaging(self.objective.loss, self.objective.network)

    @cached_property
    def _fingerprint(self) -> str:
        shapes = {name: list(value.shape) for name, value in self.objective.network.state_dict().items()}
        facts = [json.dumps(asdict(self.settings)), shapes, self.objective.fingerprint()]
        return fingerprint_of(facts, ())

    def _require_own(self, tensors: dict[str, Tensor]) -> None:
        if int(tensors.get("format", torch.tensor(1))) != STATE_FORMAT:
            raise DataError(
                "the saved state was written by another version of tpsctl, and this one cannot continue it; "
                "nothing was changed. Finish the training with that version, or train anew with --overwrite."
            )
        if bytes(tensors["fingerprint"].tolist()).hex() != self._fingerprint:
            raise DataError(
                "the saved state belongs to a training with other settings or data. Use another output, or --overwrite."
            )

    def _place(self, device: torch.device) -> None:
        """Move all tensors that a step changes to a device, but for Adam's count of steps, which stays on the CPU."""
        self.objective.to(device)
        self._averages = {name: value.to(device) for name, value in self._averages.items()}
        for state in self._adam.state.values():
            state.update({key: value.to(device) for key, value in state.items() if key != "step"})

    @cached_property
    def _held_out_batch(self) -> Any:
        return self.objective.held_out_batch(torch.Generator().manual_seed(self.settings.seed))

    def _look_at_held_out(self) -> None:
        if self._held_out_batch is not None:
            loss = self.objective.loss(self._held_out_batch.to(self.device))
            self.held_out_losses.append((self.step, float(loss.detach())))

    def _pausing(self, pause: Callable[[dict[str, Tensor]], None]) -> Callable[[], None]:
        before = self.store()
        return lambda: pause(before)

    def _one_step(self) -> float:
        settings, done = self.settings, self.step
        self._adam.param_groups[0]["lr"] = settings.learning_rate(done)
        self._adam.zero_grad(set_to_none=True)
        batch = self.objective.draw(self._generator)
        if self.team is None:
            loss = self.objective.loss(batch.to(self.device))
            loss.backward(inputs=list(self._parameters.values()))
        else:
            loss = self._team_loss(self.team.part_of(batch).to(self.device))
            loss.backward()
        if settings.largest_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters.values(), settings.largest_gradient_norm)
        self._adam.step()
        weight = 1 - settings.average(done)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self._averages[name].lerp_(parameter, weight)
        value = float(loss.detach())
        self.losses.append(value if self.team is None else self.team.mean(value))
        return self.losses[-1]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
