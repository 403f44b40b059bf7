"""Energy that is linear in its parameters: an exponential family over internal coordinates.

    U(y; sigma) = sum_k c_k(sigma) phi_k(y; sigma)

where phi are the terms of classical force fields: z and z^2 of every distance and bond angle,
powers 1, 6, 12 of a softened inverse distance between atoms three or more bonds apart, cosines and sines
of one, two and three times every torsion, and handedness. Because U is linear in c, score matching has a
closed-form solution at each noise width sigma (`tpsctl.training.linear_fit`); between widths the coefficients
are interpolated in log sigma. This energy describes the stiff part of the score; the network adds the rest.

Inverse distances are softened according to the noise, r^2 -> r^2 + (6 sigma)^2, so that noised atoms which
overlap do not give huge energies.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tpsctl.networks.internal_energy.coordinates import InternalCoordinates, Invariants

_CONTACT_NM = 0.25
"""The length that makes inverse distances dimensionless; it is a typical distance of atoms in contact."""

_POWERS = (1, 6, 12)


class LinearEnergy(nn.Module):
    """The energy, with coefficients at a set of noise widths.

    Args:
        coordinates: Feature tables of the molecule.
        levels: Number of noise widths with coefficients.
    """

    log_sigmas: Tensor
    coefficients: Tensor
    center: Tensor
    width: Tensor

    def __init__(self, coordinates: InternalCoordinates, levels: int) -> None:
        super().__init__()
        self.coordinates = coordinates
        n_quadratic = coordinates.n_pairs + coordinates.n_angles
        self.register_buffer("log_sigmas", torch.zeros(levels))
        self.register_buffer("center", torch.zeros(n_quadratic))
        self.register_buffer("width", torch.ones(n_quadratic))
        self.register_buffer("coefficients", torch.zeros(levels, self.n_terms))

    @property
    def n_terms(self) -> int:
        c = self.coordinates
        inverse = len(_POWERS) * len(c.far)
        return 2 * (c.n_pairs + c.n_angles) + inverse + 6 * c.n_torsions + c.n_handedness

    @property
    def bounded(self) -> Bool[Tensor, " term"]:
        """True for terms that stay of order one if atoms collide: all but the inverse powers 6 and 12."""
        c = self.coordinates
        steep = torch.zeros(self.n_terms, dtype=torch.bool)
        first = 2 * (c.n_pairs + c.n_angles) + len(c.far)
        steep[first : first + 2 * len(c.far)] = True
        return ~steep

    def terms(self, values: Invariants, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, "batch term"]:
        """phi_k, dimensionless; sigma in nm."""
        z = (torch.cat((values.distances, values.angles), 1) - self.center) / self.width
        soft = values.distances[:, self.coordinates.far].square() + 36 * sigma.square().unsqueeze(1)
        inverse = _CONTACT_NM * soft.rsqrt()
        inverse6 = inverse**6
        cos, sin = values.cos, values.sin
        cos2, sin2 = cos.square() - sin.square(), 2 * cos * sin
        cos3, sin3 = cos * cos2 - sin * sin2, sin * cos2 + cos * sin2
        angular = (cos, sin, cos2, sin2, cos3, sin3)
        return torch.cat((z, z.square(), inverse, inverse6, inverse6.square(), *angular, values.handedness), 1)

    def forward(self, values: Invariants, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        """U in kT."""
        return (interpolate(self.log_sigmas, self.coefficients, sigma) * self.terms(values, sigma)).sum(1)


def interpolate(log_sigmas: Tensor, table: Tensor, sigma: Tensor) -> Tensor:
    """Interpolate the rows of a (level, ...) table at each sigma, linearly in log sigma, and constant beyond the ends.

    Args:
        log_sigmas: log sigma of each row, ascending.
        table: One row per level.
        sigma: Noise widths (batch,), in the unit that belongs to `log_sigmas`.
    """
    position = (sigma.log() - log_sigmas[0]) / (log_sigmas[1] - log_sigmas[0])
    position = position.clamp(0, len(log_sigmas) - 1)
    lower = position.floor().long().clamp(max=len(log_sigmas) - 2)
    weight = (position - lower).unsqueeze(1)
    return torch.lerp(table[lower], table[lower + 1], weight)
