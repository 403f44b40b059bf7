"""A network as a prior: one class for all networks, whether trained here, published or converted.

Three objects hold what differs between networks. The field is the network itself, with its own unit of length and its
own clock; the output conversion knows what its output means and computes the score; the sampler turns noise into
samples.

    energy of noised structures       EnergyOutput       WidthSampler      `energy_prior`
    noise (denoising diffusion)       NoiseOutput        LevelSampler      `noise_prior`
    velocity (flow matching)          VelocityOutput     FlowSampler       `velocity_prior`
    potential (Action Matching)       PotentialOutput    TransportSampler  `prior.action_matching`
    noise, by noise width             WidthNoiseOutput   ReverseFamily...  `width_noise_prior`
    drifts of a bridge                BridgeOutput       BridgeSampler     `bridge_prior`

A new combination needs one more such function; a new meaning of the output needs one more file in `conversions/`, and
a new way of sampling one more file in `samplers/`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.prior.conversions.bridge import BridgeOutput
from tpsctl.prior.conversions.energy import EnergyOutput
from tpsctl.prior.conversions.noise import NoiseOutput
from tpsctl.prior.conversions.velocity import VelocityOutput
from tpsctl.prior.conversions.width_noise import WidthNoiseOutput
from tpsctl.prior.field import Field
from tpsctl.prior.fields.bridge_perceptron import BridgeField
from tpsctl.prior.fields.energy import EnergyField
from tpsctl.prior.potentials import NamedPotential
from tpsctl.prior.samplers.base import Sampler
from tpsctl.prior.samplers.bridge import BridgeSampler
from tpsctl.prior.samplers.flow import FlowSampler
from tpsctl.prior.samplers.levels import LevelSampler
from tpsctl.prior.samplers.reverse_family import ReverseFamilySampler
from tpsctl.prior.samplers.widths import WidthSampler
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.levels import Levels
from tpsctl.score.schedule import BrownianMotion, Flow, NoiseSchedule


class NetworkPrior(Prior):
    """Score, noise and samples from a network.

    Args:
        kind: "diffusion", "flow_matching", "action_matching", "score_matching" or "schroedinger_bridge".
        output: Conversion of the network's output, with the network (`output.field`), its schedule and its units.
        sampler: Adds noise and draws samples.
        temperature_k: Temperature of the training data, K; None if unknown.
        topology: The molecule; None if it is unknown or if there is none.
        potential: The model potential that the training data came from; None if there is none.
    """

    def __init__(
        self,
        kind: str,
        output: OutputConversion,
        sampler: Sampler,
        *,
        temperature_k: float | None = None,
        topology: Topology | None = None,
        potential: NamedPotential | None = None,
    ) -> None:
        self.kind = kind
        self.output, self.sampler = output, sampler
        self.field, self.schedule, self.units = output.field, output.schedule, output.units
        self.temperature_k, self.topology, self.potential = temperature_k, topology, potential
        field = output.field
        self.n_beads, self.n_dims, self.conservative = field.n_beads, field.n_dims, field.conservative
        self.one_thread = field.one_thread

    def at(self, t: float) -> Score:
        width = self.sigma_nm(t)
        if width < self.smallest_width_nm * (1 - 1e-6):
            smallest = self.time_of(self.smallest_width_nm)
            raise PriorError(
                f"diffusion_time: got {t:g}, noise of {width:.2g} nm; this prior was trained down to "
                f"{self.smallest_width_nm:g} nm. Use diffusion_time >= {smallest:.3g}."
            )
        if width == 0:
            raise PriorError(
                "diffusion_time: got 0, where this prior has no noise and hence no score. Published runs use 0.05."
            )
        return _NetworkScore(self.output, t)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        _require_time(t)
        return self.output.log_density(x, t)

    def sigma_nm(self, t: float) -> float:
        """Width of the noise relative to clean positions, nm (root mean square over dimensions)."""
        _require_time(t)
        return self.schedule.width(t) * self.units.mean_scale_nm

    def time_of(self, width_nm: float) -> float:
        """Diffusion time at which the noise relative to clean positions has this width, nm."""
        return float(self.schedule.time_of(torch.tensor(width_nm / self.units.mean_scale_nm, dtype=torch.float64)))

    @property
    def smallest_width_nm(self) -> float:
        """Smallest noise width of the training, nm; `at` refuses smaller ones. 0 if it is unknown."""
        return self.field.smallest_width * self.units.mean_scale_nm

    @property
    def generative(self) -> bool:
        return True

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        _require_time(t)
        return self.sampler.noise(x, t, generator)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        _require_time(t)
        return self.sampler.denoise(x_t, t, generator, steps=steps, shared_noise=shared_noise)

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        return self.sampler.sample(count, generator, steps=steps)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "NetworkPrior":
        self.field.to(device=device, dtype=dtype)
        return self


def energy_prior(
    kind: str,
    field: EnergyField,
    schedule: NoiseSchedule,
    topology: Topology,
    *,
    temperature_k: float | None,
) -> NetworkPrior:
    """Make the prior of a network that is the energy of a molecule's noised structures.

    Args:
        kind: "diffusion" or "flow_matching".
        field: Negative gradient of the energy in kT, for positions and noise widths in nm.
        schedule: Noise schedule, nm.
        topology: The molecule.
        temperature_k: Temperature of the training data, K; None if unknown.
    """
    output = EnergyOutput(field, schedule)
    return NetworkPrior(kind, output, WidthSampler(output), temperature_k=temperature_k, topology=topology)


def noise_prior(
    field: Field,
    levels: Levels,
    *,
    scale_nm: Sequence[float],
    offset_nm: Sequence[float] = (0.0,),
    temperature_k: float | None = None,
    topology: Topology | None = None,
    potential: NamedPotential | None = None,
) -> NetworkPrior:
    """Make the prior of a diffusion network whose output is the noise; `scale_nm`, `offset_nm` as in `NetworkUnits`."""
    output = NoiseOutput(field, levels, NetworkUnits(scale_nm, offset_nm))
    sampler = LevelSampler(output, levels)
    return NetworkPrior(
        "diffusion", output, sampler, temperature_k=temperature_k, topology=topology, potential=potential
    )


def velocity_prior(
    field: Field,
    *,
    scale_nm: Sequence[float],
    offset_nm: Sequence[float] = (0.0,),
    temperature_k: float | None = None,
    topology: Topology | None = None,
    potential: NamedPotential | None = None,
) -> NetworkPrior:
    """Make the prior of a flow-matching network whose output is the velocity towards data (straight interpolant).

    `scale_nm` and `offset_nm` are those of `NetworkUnits`.
    """
    output = VelocityOutput(field, Flow(), NetworkUnits(scale_nm, offset_nm))
    sampler = FlowSampler(output)
    return NetworkPrior(
        "flow_matching", output, sampler, temperature_k=temperature_k, topology=topology, potential=potential
    )


def width_noise_prior(
    field: Field,
    schedule: NoiseSchedule,
    *,
    scale_nm: Sequence[float],
    offset_nm: Sequence[float] = (0.0,),
    temperature_k: float | None = None,
    topology: Topology | None = None,
    potential: NamedPotential | None = None,
) -> NetworkPrior:
    """Make the prior of a network whose output is the noise at the noise width that it sees, for any schedule.

    The schedule is in the network's own unit of length; `scale_nm` and `offset_nm` are those of `NetworkUnits`.
    """
    output = WidthNoiseOutput(field, schedule, NetworkUnits(scale_nm, offset_nm))
    sampler = ReverseFamilySampler(output)
    return NetworkPrior(
        "score_matching", output, sampler, temperature_k=temperature_k, topology=topology, potential=potential
    )


def bridge_prior(
    field: BridgeField,
    *,
    scale_nm: Sequence[float],
    offset_nm: Sequence[float] = (0.0,),
    temperature_k: float | None = None,
    topology: Topology | None = None,
    potential: NamedPotential | None = None,
) -> NetworkPrior:
    """Make the prior of the drifts of a Schroedinger bridge; `scale_nm` and `offset_nm` are those of `NetworkUnits`."""
    schedule = BrownianMotion(field.network.sizes.noise)
    output = BridgeOutput(field, schedule, NetworkUnits(scale_nm, offset_nm))
    sampler = BridgeSampler(output)
    return NetworkPrior(
        "schroedinger_bridge", output, sampler, temperature_k=temperature_k, topology=topology, potential=potential
    )


class _NetworkScore(AutogradScore):
    """Score of a network at one diffusion time; its dense Jacobian is in closed form if the network has one."""

    def __init__(self, output: OutputConversion, t: float) -> None:
        field = output.field
        super().__init__(lambda x: output.score(x, t), conservative=field.conservative, parallel=not field.one_thread)
        self._output, self._t = output, t

    def jacobian(self, x: Tensor) -> Tensor:
        found = self._output.jacobian(x, self._t)
        return super().jacobian(x) if found is None else found


def _require_time(t: float) -> None:
    if not 0 <= t <= 1:
        raise PriorError(f"diffusion_time: got {t}, expected a value in [0, 1] (0 = data).")
