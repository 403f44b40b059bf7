"""Dense Hessian of an `InternalEnergy`, without one network call per column.

In U(y) = E_lin(q(v)) + net(q(v)), the vectors v = M y are linear in y, and each of the invariants q depends on at
most three vectors. With J = dq/dy,

    H = J^T H_net J + M^T blockdiag( d^2 / dv^2 [E_lin(q) + g . q] ) M ,      g = d net / d q held fixed

The first part is propagated forward through the perceptron's layers (`perceptron_curvature`). The second part is
block-diagonal over invariants, and its blocks are in closed form (`local_curvature`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.conditioned_perceptron import perceptron_curvature
from tpsctl.networks.internal_energy.coordinates import Invariants
from tpsctl.networks.internal_energy.local_curvature import (
    Blocks,
    angle_blocks,
    assemble,
    distance_blocks,
    handedness_blocks,
    torsion_blocks,
)
from tpsctl.networks.internal_energy.network import InternalEnergy


def hessian(network: InternalEnergy, y: Float[Tensor, "batch bead 3"], width: float) -> Float[Tensor, "batch n n"]:
    """Hessian d^2 U / dy^2 of the energy at positions y (nm) and one noise width (nm), kT/nm^2; n = 3 bead."""
    sigma = torch.full((len(y),), width, dtype=y.dtype, device=y.device)
    coordinates = network.coordinates
    with torch.enable_grad():
        groups = coordinates.by_group(coordinates.vectors(y.detach()))
        v = {name: part.detach().requires_grad_(True) for name, part in groups.items()}
        values = coordinates.invariants(v, sigma)
        features = network.features(values)
        jacobian = _feature_jacobian(network, values, v)
        z, none = (network.normalized(part, sigma[:1]) for part in (features.detach(), 0 * features[:1].detach()))
        scale = network.normalized(torch.ones_like(none), sigma[:1]) - none
        curvature, slope = perceptron_curvature(network.net, z, network.level(sigma[:1]), scale, jacobian)
        local = network.linear(values, sigma).sum() + (features * slope).sum()
        return assemble(coordinates.maps, _local_blocks(local, values, v, coordinates.softening(sigma)), onto=curvature)


def _feature_jacobian(
    network: InternalEnergy, values: Invariants, v: dict[str, Tensor]
) -> Float[Tensor, "feature batch_n"]:
    """Derivative of every feature with respect to y, by the chain rule through the vectors of the feature."""
    maps, proper = network.coordinates.maps, network.coordinates.n_proper
    rows = []
    for values_of_group, name, count in (
        (values.distances, "pairs", None),
        (values.cos, "torsions", proper),
        (values.sin, "torsions", proper),
        (values.handedness, "handedness", None),
    ):
        (slope,) = torch.autograd.grad(values_of_group.sum(), v[name], retain_graph=True)
        rows.append(torch.einsum("bikd,ika->ibad", slope[:, :count], maps[name][:count].to(slope.dtype)))
    return torch.cat(rows).flatten(1)


def _local_blocks(local: Tensor, values: Invariants, v: dict[str, Tensor], soft: Tensor) -> dict[str, Blocks]:
    """Second derivatives of a sum of local terms with respect to the vectors of each invariant."""
    inner = [values.distances, values.angles, values.cos, values.sin, values.handedness]
    with torch.enable_grad():
        by_distance, by_angle, by_cos, by_sin, by_handedness = torch.autograd.grad(local, inner, create_graph=True)
        by_two = (by_distance.sum() + by_angle.sum() + by_cos.sum(), inner[:4])
    distance_twice, angle_twice, cos_twice, cos_sin = torch.autograd.grad(*by_two, retain_graph=True)
    (sin_twice,) = torch.autograd.grad(by_sin.sum(), values.sin, retain_graph=True)
    v = {name: part.detach() for name, part in v.items()}
    torsions = (by_cos.detach(), by_sin.detach()), (cos_twice, cos_sin, sin_twice)
    return {
        "pairs": distance_blocks(v["pairs"], values.distances.detach(), by_distance.detach(), distance_twice),
        "angles": angle_blocks(v["angles"], soft, by_angle.detach(), angle_twice),
        "torsions": torsion_blocks(v["torsions"], soft, *torsions),
        "handedness": handedness_blocks(v["handedness"], by_handedness.detach()),
    }
