"""The prior of a network trained by Action Matching on the straight path from noise to data."""

from collections.abc import Sequence

from tpsctl.prior.conversions.potential import PotentialOutput
from tpsctl.prior.fields.potential_perceptron import PotentialPerceptronField
from tpsctl.prior.network import NetworkPrior
from tpsctl.prior.potentials import NamedPotential
from tpsctl.prior.samplers.transport import TransportSampler
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.schedule import Flow


def action_matching_prior(
    field: PotentialPerceptronField,
    *,
    noise: float,
    scale_nm: Sequence[float],
    offset_nm: Sequence[float] = (0.0,),
    temperature_k: float | None = None,
    potential: NamedPotential | None = None,
) -> NetworkPrior:
    """Make the prior of a potential s(y, time), time from noise (0) to data (1), for the straight interpolant.

    Args:
        field: grad s.
        noise: Strength of the noise of the dynamics that it was trained for, in network units; 0 for none.
        scale_nm: Length of one network unit, nm; one value, so that the score is a gradient.
        offset_nm: Position of the network's origin, nm; one value, or one per dimension.
        temperature_k: Temperature of the training data, K; None if unknown.
        potential: The model potential that the training data came from; None if there is none.
    """
    output = PotentialOutput(field, Flow(), NetworkUnits(scale_nm, offset_nm), noise=noise)
    sampler = TransportSampler(output)
    return NetworkPrior("action_matching", output, sampler, temperature_k=temperature_k, potential=potential)
