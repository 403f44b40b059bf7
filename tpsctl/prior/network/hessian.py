"""Dense Hessian of an `InternalEnergy`, without a network call per column.

U(y) = E_lin(q(v)) + net(q(v)) with vectors v linear in y and invariants q(v) local: each touches at most
three vectors. Hence

    H = J^T H_net J + M^T blockdiag( d^2 / dv^2 [E_lin(q) + g . q] ) M ,      g = d net / d q held fixed

The first part is propagated forward through the perceptron's layers (hidden x 3N at a time); the second
needs nine derivative passes for all invariants together, one per coordinate of their three vectors.
Compared with column-by-column double backward this is 3N times fewer passes through the network.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from tpsctl.prior.network.internal_coordinates import Invariants
from tpsctl.prior.network.internal_energy import InternalEnergy


def hessian(network: InternalEnergy, y: Float[Tensor, "batch bead 3"], width: float) -> Float[Tensor, "batch n n"]:
    """d^2 U / dy^2 in kT/nm^2 at one noise width (nm), n = 3 bead."""
    sigma = torch.full((len(y),), width, dtype=y.dtype, device=y.device)
    with torch.enable_grad():
        v = network.coordinates.vectors(y.detach()).detach().requires_grad_(True)
        values = network.coordinates.invariants(v, sigma)
        features = network.features(values)
        jacobian = _feature_jacobian(network, values, features, v)
        curvature, slope = _perceptron_curvature(network, features.detach(), sigma, jacobian)
        local = network.linear(values, sigma).sum() + (features * slope).sum()
        (gradient,) = torch.autograd.grad(local, v, create_graph=True)
        return curvature + _local_curvature(network, gradient, v)


def _perceptron_curvature(
    network: InternalEnergy, features: Tensor, sigma: Tensor, jacobian: Float[Tensor, "feature batch_n"]
) -> tuple[Tensor, Tensor]:
    """(J^T H_net J, d net / d feature) for a batch at one width."""
    net, batch = network.net, len(features)
    radial = net.radial(network.level(sigma[:1]))
    std = network.normalized(torch.ones_like(features[:1]), sigma[:1]) - network.normalized(0 * features[:1], sigma[:1])
    weights, activations, h = [], [], network.normalized(features, sigma)
    for layer, film in zip(net.layers, net.films, strict=True):
        scale, shift = film(radial).chunk(2, 1)
        a = layer(h) * (1 + scale) + shift
        weights.append(layer.weight * (1 + scale).transpose(0, 1))
        activations.append(a)
        h = silu(a)
    slopes: list[Tensor] = []
    delta = net.output(radial).expand(batch, -1)
    for weight, a in zip(reversed(weights), reversed(activations), strict=True):
        slopes.insert(0, delta)
        delta = (delta * _silu_1(a)) @ weight
    curvature: Tensor | float = 0.0
    flow = std.transpose(0, 1) * jacobian
    for weight, a, slope in zip(weights, activations, slopes, strict=True):
        at_layer = (weight @ flow).reshape(len(weight), batch, -1)
        per_sample = at_layer.transpose(0, 1)
        curvature = curvature + per_sample.transpose(1, 2) @ ((slope * _silu_2(a)).unsqueeze(2) * per_sample)
        flow = (_silu_1(a).transpose(0, 1).unsqueeze(2) * at_layer).flatten(1)
    assert isinstance(curvature, Tensor)
    return curvature, (delta * std).detach()


def _silu_1(a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s * (1 + a * (1 - s))


def _silu_2(a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s * (1 - s) * (2 + a * (1 - 2 * s))


def _feature_jacobian(network: InternalEnergy, values: Invariants, features: Tensor, v: Tensor) -> Tensor:
    """d feature / dy as (feature, batch * n): the chain rule through the few vectors of each feature."""
    coordinates = network.coordinates
    maps, proper = coordinates.maps, coordinates.n_proper
    rows = []
    for values_of_group, name, count in (
        (values.distances, "pairs", None),
        (values.cos, "torsions", proper),
        (values.sin, "torsions", proper),
        (values.handedness, "handedness", None),
    ):
        (slope,) = torch.autograd.grad(values_of_group.sum(), v, retain_graph=True)
        local = coordinates.by_group(slope)[name][:, :count]
        rows.append(torch.einsum("bikd,ika->iabd", local, maps[name][:count].to(v.dtype)))
    jacobian = torch.cat(rows)  # (feature, atom, batch, 3)
    assert len(jacobian) == features.shape[1]
    return jacobian.permute(0, 2, 1, 3).reshape(len(jacobian), -1)


def _local_curvature(network: InternalEnergy, gradient: Tensor, v: Tensor) -> Tensor:
    """Hessian over positions of a sum of local terms from its gradient over the vectors."""
    coordinates = network.coordinates
    batch, n_atoms = len(v), coordinates.stacked.shape[1]
    grouped = coordinates.by_group(gradient)
    columns = []
    for k in range(3):
        for d in range(3):
            picked = torch.stack([g[:, :, k, d].sum() for g in grouped.values() if k < g.shape[2]]).sum()
            (column,) = torch.autograd.grad(picked, v, retain_graph=True)
            columns.append(coordinates.by_group(column))
    total = torch.zeros(batch * 9, n_atoms * n_atoms, dtype=v.dtype, device=v.device)
    for name, part in coordinates.maps.items():
        vectors = part.shape[1]
        blocks = torch.stack([column[name] for column in columns[: 3 * vectors]], 0)  # (kd, batch, item, l, e)
        blocks = blocks.reshape(vectors, 3, batch, -1, vectors, 3).permute(
            2, 1, 5, 3, 0, 4
        )  # (batch, d, e, item, k, l)
        products = torch.einsum("ika,ilb->iklab", part, part).to(v.dtype)
        total = total + blocks.reshape(batch * 9, -1) @ products.reshape(-1, n_atoms * n_atoms)
    total = total.reshape(batch, 3, 3, n_atoms, n_atoms).permute(0, 3, 1, 4, 2)
    return total.reshape(batch, 3 * n_atoms, 3 * n_atoms)
