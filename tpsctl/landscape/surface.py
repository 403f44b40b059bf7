"""An energy surface U(x): energies, gradients and Hessians of batches of configurations.

    U(x) in kJ/mol,   x (batch, atom, dim) in nm,   gradient = dU/dx in kJ/mol/nm,
    hessian (batch, n, n) in kJ/mol/nm^2 with n = atom * dim

Every surface counts its cost in force evaluations: an energy with its gradient is one, a Hessian by
central differences of gradients is 2 n, a Hessian by autograd is n (one product per column). A force field's Hessian in
closed form counts 2 n as well, so that costs of different force fields compare.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.base import Score

DIFFERENCE_STEP_NM = 1e-5
"""Half the distance of the two gradients in a Hessian's column. A bond's fourth derivative (1e8 kJ/mol/nm^4) then costs
2e-3 of 3e5 kJ/mol/nm^2, rounding of the forces less."""


EnergiesAndForces = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Configurations (batch, atom, 3), nm -> energies (batch,), kJ/mol, and forces (batch, atom, 3), kJ/mol/nm."""

HessianFn = Callable[[Tensor], Tensor]
"""Configurations (batch, atom, 3), nm -> second derivatives (batch, n, n), kJ/mol/nm^2."""


class Surface(ABC):
    """Energy of a molecule or of a model system as a function of its coordinates.

    Attributes:
        masses_amu: Mass of every atom, amu.
        rigid_motions: Whether the energy is invariant under translation and rotation.
        evaluations: Number of force evaluations so far.
    """

    masses_amu: Float[Tensor, " atom"]
    rigid_motions: bool = True
    evaluations: int = 0

    @abstractmethod
    def energy_gradient(self, x: Float[Tensor, "batch atom dim"]) -> tuple[Tensor, Tensor]:
        """Energies (batch,), kJ/mol, and gradients (batch, atom, dim), kJ/mol/nm; NaN where unknown."""

    def hessian(self, x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n n"]:
        """Symmetric second derivatives, kJ/mol/nm^2, by central differences of gradients."""
        batch, n = len(x), x[0].numel()
        shift = DIFFERENCE_STEP_NM * torch.eye(n, dtype=x.dtype, device=x.device).reshape(n, *x.shape[1:])
        both = torch.stack((x.unsqueeze(1) + shift, x.unsqueeze(1) - shift), 1)
        gradient = self.energy_gradient(both.reshape(-1, *x.shape[1:]))[1].reshape(batch, 2, n, n)
        columns = (gradient[:, 0] - gradient[:, 1]) / (2 * DIFFERENCE_STEP_NM)
        return (columns + columns.mT) / 2


class ForceFieldSurface(Surface):
    """The potential energy of a force field, by default on OpenMM's Reference platform in double precision.

    Args:
        energies_and_forces: (batch, atom, 3) in nm -> energies (batch,), kJ/mol, and forces (batch, atom, 3),
            kJ/mol/nm, or NaN where they are unknown. It is given large batches at once, for a pool of OpenMM contexts.
        masses_amu: Mass of every atom.
        hessian_fn: Second derivatives, e.g. `Curvature(system).hessian`; None to take differences of the forces.
    """

    def __init__(
        self,
        energies_and_forces: EnergiesAndForces,
        masses_amu: Sequence[float],
        hessian_fn: HessianFn | None = None,
    ) -> None:
        self._energies_and_forces, self._hessian_fn = energies_and_forces, hessian_fn
        self.masses_amu = torch.tensor(tuple(masses_amu), dtype=torch.float64)

    def energy_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += len(x)
        energy, force = self._energies_and_forces(x)
        return energy.to(x), -force.to(x)

    def hessian(self, x: Tensor) -> Tensor:
        if self._hessian_fn is None:
            return super().hessian(x)
        self.evaluations += 2 * x[0].numel() * len(x)
        return self._hessian_fn(x)


class ScoreSurface(Surface):
    """The energy landscape of a conservative prior: U = kT times its energy over kT, with gradient -kT score.

    Args:
        score: Conservative score, 1/nm.
        energy_fn: Energy over kT of a batch (batch, atom, dim) -> (batch,), whose gradient is -score.
        kt: Thermal energy kT, kJ/mol.
        masses_amu: Mass of every atom.
        rigid_motions: Whether the energy is invariant under translation and rotation.
        device: Where the prior computes, e.g. a GPU; configurations and results are wherever the caller has them.
    """

    def __init__(
        self,
        score: Score,
        energy_fn: Callable[[Tensor], Tensor],
        *,
        kt: float,
        masses_amu: Sequence[float],
        rigid_motions: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self._score, self._energy_fn, self._kt, self._device = score, energy_fn, kt, device
        self.masses_amu = torch.tensor(tuple(masses_amu), dtype=torch.float64)
        self.rigid_motions = rigid_motions

    def energy_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies and gradients, the latter by autograd where it can follow the energy: that is one pass, not two."""
        self.evaluations += len(x)
        there = x.detach().to(self._device).requires_grad_(True)
        with torch.enable_grad():
            energy = self._energy_fn(there)
        known = energy.requires_grad
        gradient = torch.autograd.grad(energy.sum(), there)[0] if known else -self._score(there.detach())
        return (self._kt * energy.detach()).to(x), (self._kt * gradient).to(x)

    def hessian(self, x: Tensor) -> Tensor:
        self.evaluations += x[0].numel() * len(x)
        jacobian = self._score.jacobian(x.to(self._device))
        return (-self._kt * (jacobian + jacobian.mT) / 2).to(x)


class FunctionSurface(Surface):
    """A differentiable function of torch tensors, e.g. a model potential in two dimensions.

    Args:
        energy_fn: (batch, atom, dim) -> (batch,), kJ/mol.
        masses_amu: Mass of every atom.
        rigid_motions: Whether the energy is invariant under translation and rotation.
    """

    def __init__(
        self, energy_fn: Callable[[Tensor], Tensor], *, masses_amu: Sequence[float], rigid_motions: bool
    ) -> None:
        self._energy_fn = energy_fn
        self.masses_amu = torch.tensor(tuple(masses_amu), dtype=torch.float64)
        self.rigid_motions = rigid_motions

    def energy_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += len(x)
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            energy = self._energy_fn(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), gradient
