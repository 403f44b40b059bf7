"""The Mueller-Brown surface as a prior: one bead in two dimensions, score exact."""

from torch import Tensor

from tpsctl.potentials import mueller_brown
from tpsctl.prior.potential import PotentialPrior


class MuellerBrownPrior(PotentialPrior):
    """One bead on the Mueller-Brown surface of `potentials.mueller_brown`."""

    kind = "mueller_brown"
    n_beads = 1
    n_dims = 2

    def energy(self, x: Tensor) -> Tensor:
        return mueller_brown(x)
