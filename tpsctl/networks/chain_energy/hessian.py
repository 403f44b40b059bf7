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

from tpsctl.networks.chain_energy.coordinates import COLLINEAR_NM4, ChainVectors
from tpsctl.networks.chain_energy.network import ChainEnergy
from tpsctl.networks.conditioned_perceptron import perceptron_curvature
from tpsctl.networks.internal_energy.local_curvature import angle_blocks, assemble, distance_blocks, handedness_blocks


def chain_hessian(network: ChainEnergy, y: Float[Tensor, "batch bead 3"], width: float) -> Float[Tensor, "batch n n"]:
    """Hessian d^2 U / dy^2 of the energy at positions y (nm) and one noise width (nm), kT/nm^2; n = 3 bead."""
    coordinates, tables = network.coordinates, network.tables(y.new_full((1,), width))
    vectors = coordinates.vectors(y.detach())
    values = coordinates.values(vectors)
    wells = tables.pairs.well_slopes(values.fitted)
    z = network.features(values, tables, wells[0])
    jacobian = _feature_jacobian(network, vectors)
    if network.sees_wells:
        of_coordinates = jacobian[: coordinates.n_fitted].unflatten(1, (len(y), -1))
        jacobian = torch.cat((jacobian, (of_coordinates * wells[1].T.unsqueeze(2)).flatten(1)))
    curvature, slope = perceptron_curvature(network.net, z, tables.level, network.scale(tables), jacobian)
    by_r, twice = network.rates(values, wells, slope, tables)
    pairs, angles, triples = by_r.split([coordinates.n_pairs, coordinates.n_angles, coordinates.n_triples], 1)
    soft = y.new_full((len(y), 1), COLLINEAR_NM4)
    blocks = {
        "pairs": distance_blocks(vectors.pairs, values.distances, pairs, twice[:, : coordinates.n_pairs]),
        "angles": angle_blocks(vectors.angles, soft, angles, twice[:, coordinates.n_pairs :]),
        "triples": handedness_blocks(vectors.triples, triples),
    }
    return assemble(coordinates.maps, blocks, onto=curvature.detach())


def _feature_jacobian(network: ChainEnergy, vectors: ChainVectors) -> Float[Tensor, "feature batch_n"]:
    """Derivative of every feature before normalization with respect to y, by the chain rule through its vectors."""
    maps, slopes = network.coordinates.maps, network.coordinates.slopes(vectors)._asdict()
    rows = [torch.einsum("bikd,ika->ibad", slopes[name], maps[name].to(slopes[name].dtype)) for name in slopes]
    return torch.cat(rows).flatten(1)
