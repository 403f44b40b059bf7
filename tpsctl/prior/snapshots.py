"""The field between snapshots of a process, learned by Action Matching, as a prior.

The potential s(y, u) of the network belongs to lengths in units of l nm and to times u from 0 to 1. In nm and ps it is

    S(x, time) = l^2 / T s((x - offset) / l, (time - start) / T) ,    dx = grad S dtime + sqrt(2 D) dW ,

T the duration from the first to the last snapshot. Where frames may gain or lose weight, d log w / dtime = S / L^2 with
the length L of the recipe. The score that a path sees at time fraction t is grad S / D. It is no equilibrium score:
the field depends on time, and its marginals are those of the snapshots.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.snapshot_potential import SnapshotPotential
from tpsctl.prior.base import Prior
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.hamilton_jacobi import hjb_residual

CAVEAT = (
    "a path through a field that was learned from snapshots is a transport map between their distributions: it is no "
    "reactive trajectory, and its time is no rate"
)
"""What is said wherever such a path is reported."""


@dataclass(frozen=True)
class SnapshotTimes:
    """When the snapshots were taken, and the noise and the growth of the dynamics between them.

    Attributes:
        times_ps: Times of the snapshots, ps, rising.
        diffusion_nm2_per_ps: D of the noise that the field was learned for, nm^2/ps; 0 for none.
        growth_length_nm: Length L with d log w / dtime = S / L^2, nm; None where frames neither gain nor lose weight.
    """

    times_ps: tuple[float, ...]
    diffusion_nm2_per_ps: float
    growth_length_nm: float | None = None

    @property
    def start_ps(self) -> float:
        """Time of the first snapshot, ps."""
        return self.times_ps[0]

    @property
    def duration_ps(self) -> float:
        """Time from the first to the last snapshot, ps."""
        return self.times_ps[-1] - self.times_ps[0]

    @property
    def growth_per_nm2(self) -> float:
        """1 / L^2, 1/nm^2; 0 without growth."""
        return 0.0 if self.growth_length_nm is None else self.growth_length_nm**-2


class SnapshotPrior(Prior):
    """The field of a potential between snapshots.

    Args:
        network: s.
        units: Its unit of length and its origin, nm.
        when: Times of the snapshots, with D.
        topology: The molecule; None for points.
    """

    kind = "snapshots"
    temperature_k = None
    conservative = True
    one_thread = True

    def __init__(
        self, network: SnapshotPotential, units: NetworkUnits, when: SnapshotTimes, topology: Topology | None
    ) -> None:
        self.network, self.units, self.when, self.topology = network.eval().requires_grad_(False), units, when, topology
        self.n_beads, self.n_dims = network.sizes.beads, network.sizes.dims

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of paths through this field, one sentence each."""
        length = self.when.growth_length_nm
        grown = f"a path counts with the weight that it gathers on its way, d log w = S / ({length} nm)^2 dt"
        return (CAVEAT,) if length is None else (CAVEAT, grown)

    def field(self, x: Float[Tensor, "batch bead dim"], time_ps: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """S, nm^2/ps, of configurations in nm at times in ps; differentiable by both."""
        u = (time_ps - self.when.start_ps) / self.when.duration_ps
        value = self.network(self.units.to_network(x), u)
        return self.units.mean_scale_nm**2 / self.when.duration_ps * value

    def at(self, t: float) -> Score:
        """grad S / D at the fraction t of the duration, 1/nm; where the field has no noise, D is 1 nm^2/ps."""
        time_ps = self.when.start_ps + t * self.when.duration_ps
        diffusion = self.when.diffusion_nm2_per_ps or 1.0
        return AutogradScore(lambda x: hjb_residual(self.field, x, x.new_full((len(x),), time_ps)).gradient / diffusion)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "SnapshotPrior":
        self.network.to(device=device, dtype=dtype)
        return self
