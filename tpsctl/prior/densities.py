"""Log-densities of structures under a trained network, with their units.

Two quantities are called log p of a structure at a diffusion time t:

* `relative`: where the network is the gradient of an energy, log p_t up to a constant that depends on t only. It is
  exact for the model, and differences between structures at the same t are log-ratios of probabilities.
* `normalized`: from the probability-flow ODE, whose density integrates to one. Its unit is that of a density, one over
  nm to the number of coordinates, and its value is as good as the score at all larger noise widths.

Both are densities of the clean structure with the noise that t still has, y = x_t / alpha.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.prior.diffused import diffused
from tpsctl.prior.network import NetworkPrior
from tpsctl.score.likelihood import nll_ode


@dataclass(frozen=True)
class LogDensities:
    """Log-densities of structures at one diffusion time.

    Attributes:
        relative: Nats, up to a constant; (structure,). None if the network has no energy.
        normalized: Nats, for a density in nm^-coordinates; (structure,).
        prior_mismatch: Bound of the mean error of `normalized` from the noise law at the largest width, nats, as it is
            estimated at each structure; (structure,). It is no bound for a single structure.
        coordinates: Number of coordinates of which `normalized` is a density.
        width_nm: Noise width at this time, nm.
    """

    relative: Float[Tensor, " structure"] | None
    normalized: Float[Tensor, " structure"]
    prior_mismatch: Float[Tensor, " structure"]
    coordinates: int
    width_nm: float


def log_densities(
    prior: NetworkPrior, x: Float[Tensor, "structure bead dim"], t: float, *, steps: int = 200
) -> LogDensities:
    """Log-densities of structures x, nm, at diffusion time t.

    Args:
        prior: The prior; it computes in float64 afterwards.
        x: Structures, nm.
        t: Diffusion time, at which the prior must have a score.
        steps: Number of steps of the ODE.

    Raises:
        PriorError: The prior has no score at t.
    """
    prior.to(device="cpu", dtype=torch.float64)
    model = diffused(prior, t)
    law, units = model.law, prior.units
    y = units.to_network(x)
    found = nll_ode(law, y, steps=steps)
    coordinates = law.coordinates(y)
    log_unit = float(units.scale.log().expand(x.shape[2]).mean())
    relative = prior.log_density(x, t)
    return LogDensities(
        relative=None if relative is None else relative.detach(),
        normalized=-found.nll - coordinates * log_unit,
        prior_mismatch=found.prior_mismatch,
        coordinates=coordinates,
        width_nm=prior.sigma_nm(t),
    )
