"""The score of a network that is an energy U(y; s), in kT, of y = x_t / alpha with noise of width s = sigma / alpha:

    score(y, t) = -dU/dy (y; s(t))

The field is -dU/dy, in 1/nm, and its clock is the width s in nm. With any schedule, y is data plus noise of this width,
so diffusion and flow matching differ only in the width that belongs to t.
"""

from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.prior.fields.energy import EnergyField
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.schedule import NoiseSchedule


class EnergyOutput(OutputConversion):
    """A network that is an energy; it works in nm, so x needs no conversion.

    Args:
        field: The negative gradient of the energy.
        schedule: Noise schedule, nm.
    """

    field: EnergyField

    def __init__(self, field: EnergyField, schedule: NoiseSchedule) -> None:
        super().__init__(field, schedule, NetworkUnits())

    def score(self, x: Tensor, t: float) -> Tensor:
        return self.field(x, self.schedule.width(t))

    def relative_score(self, y: Tensor, width: float) -> Tensor:
        return self.field(y, width)

    def relative_jacobian(self, y: Tensor, width: float) -> Tensor | None:
        return self.field.jacobian(y, width)

    @property
    def data_spread(self) -> float:
        """0: the energy works in nm and does not know the size of its molecule."""
        return 0.0

    @property
    def largest_width(self) -> float:
        """The largest width of the training, at which noise hides the molecule."""
        return self.field.largest_width

    def log_density(self, x: Tensor, t: float) -> Tensor:
        return -self.field.energy(x, self.schedule.width(t))

    def jacobian(self, x: Tensor, t: float) -> Tensor | None:
        return self.field.jacobian(x, self.schedule.width(t))

    def noise_in_noise(self, z: Tensor) -> Tensor:
        """The estimate at the largest width of the training: at t = 1 the noise of a flow has no finite width s."""
        width = self.largest_width
        return -width * self.field(width * self.field.gauge(z), width).detach()
