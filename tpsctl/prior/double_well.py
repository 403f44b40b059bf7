"""A double well in one to three dimensions as a prior: its score, barrier and minima are known exactly."""

from torch import Tensor

from tpsctl.prior.potential import PotentialPrior
from tpsctl.prior.potentials import double_well


class DoubleWellPrior(PotentialPrior):
    """One bead; the first coordinate crosses a quartic barrier, the others are harmonic.

    Args:
        temperature_k: Temperature of the equilibrium, K.
        barrier: Height of the barrier, kJ/mol.
        half_distance_nm: Minima at -a and a of the first coordinate, nm.
        stiffness: Spring constant of the other coordinates, kJ/mol/nm^2.
        n_dims: Coordinates of the bead, 1 to 3.
    """

    kind = "double_well"
    n_beads = 1

    def __init__(
        self,
        *,
        temperature_k: float,
        barrier: float = 20.0,
        half_distance_nm: float = 0.1,
        stiffness: float = 1000.0,
        n_dims: int = 1,
    ) -> None:
        super().__init__(temperature_k=temperature_k)
        self.n_dims = n_dims
        self._barrier, self._half_distance_nm, self._stiffness = barrier, half_distance_nm, stiffness

    def energy(self, x: Tensor) -> Tensor:
        return double_well(x, barrier=self._barrier, half_distance_nm=self._half_distance_nm, stiffness=self._stiffness)
