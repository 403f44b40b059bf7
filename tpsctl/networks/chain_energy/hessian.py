"""Dense Hessian of a `ChainEnergy`, without one network call per column.

In U(y) = sum_p u_p(r_p) + net(r, h, w(r)), every r is the length of one vector or the angle of two, every handedness h
a function of three vectors and every well w of one r, and all vectors are linear in y, v = M y. With J = d(r, h, w)/dy
and the slopes g = d net / d(r, h, w),

    H = J^T H_net J + M^T blockdiag( d^2/dv^2 [ u(r) + g_r . r + g_h . h + g_w . w(r) ] ) M ,      g held fixed.

The first part is propagated forward through the perceptron's layers; the blocks are in closed form.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.chain_energy.coordinates import COLLINEAR_NM4, ChainValues, ChainVectors
from tpsctl.networks.chain_energy.network import ChainEnergy
from tpsctl.networks.conditioned_perceptron import perceptron_curvature
from tpsctl.networks.internal_energy.local_curvature import angle_blocks, assemble, distance_blocks, handedness_blocks


def chain_hessian(network: ChainEnergy, y: Float[Tensor, "batch bead 3"], width: float) -> Float[Tensor, "batch n n"]:
    """Hessian d^2 U / dy^2 of the energy at positions y (nm) and one noise width (nm), kT/nm^2; n = 3 bead."""
    sigma, coordinates = y.new_full((1,), width), network.coordinates
    with torch.enable_grad():
        vectors = ChainVectors(*(part.detach().requires_grad_(True) for part in coordinates.vectors(y.detach())))
        values = coordinates.values(vectors)
        z = network.features(values, sigma).detach()
        jacobian = _feature_jacobian(network, values, vectors)
        scale = torch.cat([1 / network.pairs.at(table, sigma) for table in (network.pairs.std, network.std)], 1)
        scale = torch.nn.functional.pad(scale, (0, z.shape[1] - scale.shape[1]), value=1.0)
        if network.sees_wells:
            jacobian = torch.cat((jacobian, _well_jacobian(network, values.fitted, sigma, jacobian)))
        curvature, slope = perceptron_curvature(network.net, z, network.level(sigma), scale, jacobian)
        r = values.fitted.detach().requires_grad_(True)
        local = network.pairs(r, sigma).sum()
        if network.sees_wells:
            of_wells = slope[:, coordinates.n_fitted + coordinates.n_triples :]
            local = local + (of_wells * network.pairs.wells(r, sigma)).sum()
        (by_r,) = torch.autograd.grad(local, r, create_graph=True)
        (twice,) = torch.autograd.grad(by_r.sum(), r)
    by_r = by_r.detach() + slope[:, : coordinates.n_fitted]
    pairs, bends = slice(coordinates.n_pairs), slice(coordinates.n_pairs, None)
    v, soft = ChainVectors(*(part.detach() for part in vectors)), y.new_full((len(y), 1), COLLINEAR_NM4)
    blocks = {
        "pairs": distance_blocks(v.pairs, values.distances.detach(), by_r[:, pairs], twice[:, pairs]),
        "angles": angle_blocks(v.angles, soft, by_r[:, bends], twice[:, bends]),
        "triples": handedness_blocks(v.triples, slope[:, coordinates.n_fitted :][:, : coordinates.n_triples]),
    }
    return assemble(coordinates.maps, blocks, onto=curvature.detach())


def _feature_jacobian(
    network: ChainEnergy, values: ChainValues, vectors: ChainVectors
) -> Float[Tensor, "feature batch_n"]:
    """Derivative of every feature before normalization with respect to y, by the chain rule through its vectors."""
    rows, maps = [], network.coordinates.maps
    for name, value in (("pairs", values.distances), ("angles", values.angles), ("triples", values.handedness)):
        (slope,) = torch.autograd.grad(value.sum(), getattr(vectors, name))
        rows.append(torch.einsum("bikd,ika->ibad", slope, maps[name].to(slope.dtype)))
    return torch.cat(rows).flatten(1).detach()


def _well_jacobian(
    network: ChainEnergy, fitted: Tensor, sigma: Tensor, jacobian: Float[Tensor, "feature batch_n"]
) -> Float[Tensor, "coordinate batch_n"]:
    """Derivative of every well with respect to y: its slope times the derivative of its coordinate."""
    r = fitted.detach().requires_grad_(True)
    (rate,) = torch.autograd.grad(network.pairs.wells(r, sigma).sum(), r)
    of_coordinates = jacobian[: network.coordinates.n_fitted].unflatten(1, (len(r), -1))
    return (of_coordinates * rate.T.unsqueeze(2)).flatten(1)
