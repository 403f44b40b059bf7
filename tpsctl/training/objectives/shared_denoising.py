"""Denoising score matching of several molecules whose energies share one graph transformer.

Every molecule has an objective of its own (`ResidualDenoising`), with its frames, targets, tables and fitted pair
energies. A step draws as many structures of each molecule, takes the gradients of all energies from one padded batch,
and minimizes the mean of the molecules' losses. Each of these losses is what it would be without the other molecules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.networks.chain_energy.shared import SharedEnergy
from tpsctl.training.objectives.base import Objective, Piece, fingerprint_of
from tpsctl.training.objectives.energy_residual import ResidualDenoising
from tpsctl.training.targets import NoisedFrames


@dataclass(frozen=True)
class SharedBatch:
    """Noised structures of several molecules.

    Attributes:
        molecules: The structures of every molecule, with their targets.
    """

    molecules: tuple[NoisedFrames, ...]

    def __len__(self) -> int:
        """Number of structures of each molecule."""
        return len(self.molecules[0])

    def to(self, device: torch.device) -> "SharedBatch":
        """The same batch on a device."""
        return SharedBatch(tuple(batch.to(device) for batch in self.molecules))

    def part(self, first: int, step: int) -> "SharedBatch":
        """Every `step`-th structure of each molecule, from the structure `first` on."""
        return SharedBatch(tuple(batch.part(first, step) for batch in self.molecules))


class SharedDenoising(Objective[SharedBatch, SharedEnergy]):
    """The mean of the denoising losses of several molecules.

    Args:
        network: The energies.
        parts: The objective of every molecule by its name, in the order of the network's.
    """

    def __init__(self, network: SharedEnergy, parts: Mapping[str, ResidualDenoising]) -> None:
        self._network, self._parts = network, dict(parts)

    @property
    def network(self) -> SharedEnergy:
        return self._network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters of the transformer alone, because pair energies are fitted in closed form."""
        return dict(self._network.transformer.named_parameters())

    def preparation(self) -> Sequence[Piece]:
        return [
            Piece(f"{name}: {piece.name}", piece.run)
            for name, part in self._parts.items()
            for piece in part.preparation()
        ]

    def to(self, device: torch.device) -> None:
        super().to(device)
        for part in self._parts.values():
            part.to(device)

    def draw(self, generator: torch.Generator) -> SharedBatch:
        return SharedBatch(tuple(part.draw(generator) for part in self._parts.values()))

    def held_out_batch(self, generator: torch.Generator) -> SharedBatch | None:
        found = [part.held_out_batch(generator) for part in self._parts.values()]
        batches = tuple(batch for batch in found if batch is not None)
        return SharedBatch(batches) if len(batches) == len(found) else None

    def loss(self, batch: SharedBatch) -> Tensor:
        return torch.stack(list(self.losses(batch).values())).mean()

    def losses(self, batch: SharedBatch) -> dict[str, Tensor]:
        """The loss of every molecule by its name."""
        y = [frames.y.detach().requires_grad_(True) for frames in batch.molecules]
        energies = self._network(y, [frames.sigma for frames in batch.molecules])
        gradients = torch.autograd.grad(torch.cat(energies).sum(), y, create_graph=True)
        known = zip(self._parts.items(), batch.molecules, gradients, strict=True)
        return {name: part.loss_of(frames, gradient) for (name, part), frames, gradient in known}

    def store(self) -> dict[str, Tensor]:
        return {
            f"{number}.{key}": value
            for number, part in enumerate(self._parts.values())
            for key, value in part.store().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        for number, part in enumerate(self._parts.values()):
            own = f"{number}."
            part.restore({key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)})

    def fingerprint(self) -> str:
        facts = {name: part.fingerprint() for name, part in self._parts.items()}
        return fingerprint_of([type(self).__name__, facts], ())
