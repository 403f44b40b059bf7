"""The nearest stationary point of any index: Newton's step along every mode toward zero gradient.

    dx = -sum_i s_i v_i 2 g_i / ( |l_i| + sqrt(l_i^2 + 4 g_i^2 / r^2) ) ,    s_i = sign(l_i)

(l_i, v_i curvatures and modes, g_i = v_i . grad U, r = 0.1 nm). Where the energy is quadratic this is Newton's step,
which goes to a minimum, a saddle or a hilltop alike, whichever is nearest; far from a stationary point it is at most r
per mode. So the point that is found says what a configuration lies next to, whereas a search for saddles
(`tpsctl.landscape.saddle`) would leave a hilltop. Every Hessian is exact.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.stationary import Points, curvatures, evaluate, limited, model_error, step_along_modes
from tpsctl.landscape.surface import Surface


@dataclass(frozen=True)
class NearestSettings:
    """Tolerance and limits of the search for the nearest stationary point.

    Attributes:
        tolerance: Largest |grad U| of a stationary point, kJ/mol/nm.
        max_steps: Most steps, each of which takes one Hessian.
        max_move_nm: Farthest an atom moves in a step, nm.
        max_distance_nm: Root-mean-square displacement per atom at which a search is given up, nm.
    """

    tolerance: float = 1e-3
    max_steps: int = 40
    max_move_nm: float = 0.02
    max_distance_nm: float = 0.05


def nearest_stationary(
    surface: Surface, x: Float[Tensor, "batch atom dim"], settings: NearestSettings | None = None
) -> Points:
    """Find the stationary points next to configurations, whatever their index.

    `converged` of the result says where one was found; elsewhere the rows hold the last point of the search.

    Args:
        surface: Energy and its derivatives.
        x: Where to start, nm.
        settings: Tolerance and limits; None for the defaults.
    """
    settings = settings or NearestSettings()
    start, x = x, x.clone()
    energy, gradient = evaluate(surface, x)
    hessian = x.new_full((len(x), gradient.shape[1], gradient.shape[1]), torch.nan)
    converged = torch.zeros(len(x), dtype=torch.bool)
    limit = torch.full_like(energy, settings.max_move_nm)
    lanes = torch.isfinite(energy).nonzero()[:, 0]
    for _ in range(settings.max_steps):
        if len(lanes) == 0:
            break
        hessian[lanes] = surface.hessian(x[lanes])
        converged[lanes] = gradient[lanes].norm(dim=1) <= settings.tolerance
        lanes = lanes[~converged[lanes]]
        if len(lanes) == 0:
            break
        values, vectors = curvatures(surface, x[lanes], hessian[lanes])
        toward_zero = torch.where(values < 0, 1.0, -1.0).to(values)
        step = step_along_modes(gradient[lanes], values, vectors, toward_zero)
        step = limited(step, x.shape[-1], limit[lanes])
        moved = x[lanes] + step.reshape(-1, *x.shape[1:])
        new_energy, new_gradient = evaluate(surface, moved)
        expected = gradient[lanes] + (hessian[lanes] @ step.unsqueeze(2)).squeeze(2)
        error = model_error(values, vectors, new_gradient - expected, gradient[lanes], new_gradient)
        found = torch.isfinite(new_energy)
        grown = torch.where(error < 0.35, 2 * limit[lanes], limit[lanes]).clamp_max(settings.max_move_nm)
        limit[lanes] = torch.where(found & (error < 0.7), grown, limit[lanes] / 4)
        taken = found & ((error < 1.5) | (new_gradient.norm(dim=1) < gradient[lanes].norm(dim=1)))
        kept = lanes[taken]
        x[kept], energy[kept], gradient[kept] = moved[taken], new_energy[taken], new_gradient[taken]
        near = (x[lanes] - start[lanes]).square().sum(-1).mean(-1).sqrt() <= settings.max_distance_nm
        lanes = lanes[near & (limit[lanes] > 1e-7)]
    return Points(x, energy, gradient, hessian, converged)
