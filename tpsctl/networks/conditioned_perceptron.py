"""A scalar perceptron that is conditioned on the noise width, and its second derivatives in closed form.

An embedding of the noise level scales and shifts the hidden layers (FiLM, Perez et al., arXiv:1709.07871):

    h_0 = z ,   h_k = silu( (W_k h_{k-1} + b_k) (1 + scale_k(level)) + shift_k(level) ) ,   net = output(level) . h_last
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from tpsctl.networks.bfloat16 import Bfloat16Module


class ConditionedPerceptron(Bfloat16Module):
    """A scalar multi-layer perceptron with SiLU, whose hidden layers are scaled and shifted by a level in [0, 1].

    Its output is 0 before training.
    """

    knots: Tensor

    def __init__(self, n_inputs: int, hidden: int, layers: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("knots", torch.linspace(0, 1, embedding), persistent=False)
        widths = [n_inputs] + [hidden] * layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        films = [nn.Linear(embedding, 2 * b) for b in widths[1:]]
        self.films = nn.ModuleList(films)
        self.output = nn.Linear(embedding, hidden)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        for film in films:
            nn.init.normal_(film.weight, std=0.1)
            nn.init.zeros_(film.bias)

    def radial(self, level: Float[Tensor, " batch"]) -> Float[Tensor, "batch knot"]:
        """Embedding of the level."""
        return torch.exp(-0.5 * ((level.unsqueeze(1) - self.knots) * (len(self.knots) - 1)).square())

    def forward(
        self, z: Float[Tensor, "batch feature"], level: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        radial = self.radial(level)
        with self.products(z):
            h = z
            for layer, film in zip(self.layers, self.films, strict=True):
                scale, shift = film(radial).chunk(2, 1)
                h = silu(layer(h) * (1 + scale) + shift)
            output = self.output(radial)
        return (h.to(z.dtype) * output.to(z.dtype)).sum(1)


def perceptron_curvature(
    net: ConditionedPerceptron,
    z: Float[Tensor, "batch feature"],
    level: Float[Tensor, " 1"],
    scale: Float[Tensor, "1 feature"],
    jacobian: Float[Tensor, "feature batch_n"],
) -> tuple[Float[Tensor, "batch n n"], Float[Tensor, "batch feature"]]:
    """Second derivatives of a perceptron of normalized features, by positions, at one noise level.

    The derivatives are propagated forward through the layers (hidden x n numbers at a time); column-by-column double
    backward would need n times as many passes through the network.

    Args:
        net: The perceptron.
        z: Normalized features.
        level: Noise level.
        scale: Derivative of z with respect to the features before normalization.
        jacobian: Derivative of the features before normalization with respect to the n coordinates of every sample.

    Returns:
        J^T H_net J, with the Hessian H_net by the features held at fixed J, and the slope d net / d feature.
    """
    radial = net.radial(level)
    weights, activations, h = [], [], z
    for layer, film in zip(net.layers, net.films, strict=True):
        factor, shift = film(radial).chunk(2, 1)
        a = layer(h) * (1 + factor) + shift
        weights.append(layer.weight * (1 + factor).transpose(0, 1))
        activations.append(a)
        h = silu(a)
    slopes: list[Tensor] = []
    delta = net.output(radial).expand(len(z), -1)
    for weight, a in zip(reversed(weights), reversed(activations), strict=True):
        slopes.insert(0, delta)
        delta = (delta * _silu_1(a)) @ weight
    curvature = jacobian.new_zeros(len(z), *[jacobian.shape[1] // len(z)] * 2)
    flow = jacobian
    for weight, a, slope in zip([weights[0] * scale, *weights[1:]], activations, slopes, strict=True):
        at_layer = (weight @ flow).reshape(len(weight), len(z), -1)
        per_sample = at_layer.transpose(0, 1)
        curvature.baddbmm_(per_sample.transpose(1, 2), (slope * _silu_2(a)).unsqueeze(2) * per_sample)
        flow = at_layer.mul_(_silu_1(a).transpose(0, 1).unsqueeze(2)).flatten(1)
    return curvature, (delta * scale).detach()


def _silu_1(a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s * (1 + a * (1 - s))


def _silu_2(a: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s * (1 - s) * (2 + a * (1 - 2 * s))
