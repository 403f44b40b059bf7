"""Dense Hessian of a `ChainEnergy`, without one network call per column.

In U(y) = sum_p u_p(r_p) + net(r, h, w(r)), every distance r is the length of one vector, every handedness h a function
of three vectors and every well w of one distance, and all vectors are linear in y, v = M y. With J = d(r, h, w)/dy and
the slopes g = d net / d(r, h, w),

    H = J^T H_net J + M^T blockdiag( d^2/dv^2 [ u(r) + g_r . r + g_h . h + g_w . w(r) ] ) M ,      g held fixed.

The first part is propagated forward through the perceptron's layers; the blocks are in closed form.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.chain_energy.network import ChainEnergy
from tpsctl.networks.conditioned_perceptron import perceptron_curvature
from tpsctl.networks.internal_energy.local_curvature import assemble, distance_blocks, handedness_blocks


def chain_hessian(network: ChainEnergy, y: Float[Tensor, "batch bead 3"], width: float) -> Float[Tensor, "batch n n"]:
    """Hessian d^2 U / dy^2 of the energy at positions y (nm) and one noise width (nm), kT/nm^2; n = 3 bead."""
    sigma, coordinates = y.new_full((1,), width), network.coordinates
    with torch.enable_grad():
        pairs, triples = (part.detach().requires_grad_(True) for part in coordinates.vectors(y.detach()))
        values = coordinates.values(pairs, triples)
        z = network.features(values, sigma).detach()
        jacobian = _feature_jacobian(network, values.distances, values.handedness, pairs, triples)
        scale = torch.cat([1 / network.pairs.at(table, sigma) for table in (network.pairs.std, network.std)], 1)
        scale = torch.nn.functional.pad(scale, (0, z.shape[1] - scale.shape[1]), value=1.0)
        if network.sees_wells:
            jacobian = torch.cat((jacobian, _well_jacobian(network, values.distances, sigma, jacobian)))
        curvature, slope = perceptron_curvature(network.net, z, network.level(sigma), scale, jacobian)
        r = values.distances.detach().requires_grad_(True)
        local = network.pairs(r, sigma).sum()
        if network.sees_wells:
            of_wells = slope[:, coordinates.n_pairs + coordinates.n_triples :]
            local = local + (of_wells * network.pairs.wells(r, sigma)).sum()
        (by_r,) = torch.autograd.grad(local, r, create_graph=True)
        (twice,) = torch.autograd.grad(by_r.sum(), r)
    by_r = by_r.detach() + slope[:, : coordinates.n_pairs]
    blocks = {
        "pairs": distance_blocks(pairs.detach(), r.detach(), by_r, twice),
        "triples": handedness_blocks(
            triples.detach(), slope[:, coordinates.n_pairs : coordinates.n_pairs + coordinates.n_triples]
        ),
    }
    return assemble(coordinates.maps, blocks, onto=curvature.detach())


def _feature_jacobian(
    network: ChainEnergy, distances: Tensor, handedness: Tensor, pairs: Tensor, triples: Tensor
) -> Float[Tensor, "feature batch_n"]:
    """Derivative of every feature before normalization with respect to y, by the chain rule through its vectors."""
    rows, maps = [], network.coordinates.maps
    for values, vectors, name in ((distances, pairs, "pairs"), (handedness, triples, "triples")):
        (slope,) = torch.autograd.grad(values.sum(), vectors)
        rows.append(torch.einsum("bikd,ika->ibad", slope, maps[name].to(slope.dtype)))
    return torch.cat(rows).flatten(1).detach()


def _well_jacobian(
    network: ChainEnergy, distances: Tensor, sigma: Tensor, jacobian: Float[Tensor, "feature batch_n"]
) -> Float[Tensor, "pair batch_n"]:
    """Derivative of every well with respect to y: its slope times the derivative of its distance."""
    r = distances.detach().requires_grad_(True)
    (rate,) = torch.autograd.grad(network.pairs.wells(r, sigma).sum(), r)
    of_distances = jacobian[: network.coordinates.n_pairs].unflatten(1, (len(r), -1))
    return (of_distances * rate.T.unsqueeze(2)).flatten(1)
