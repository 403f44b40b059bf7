"""The time step of an action from the curvatures at the ends, and the number of images from their distance.

The curvatures k of -log p in z = x / sqrt(D), the eigenvalues of -sqrt(D) J sqrt(D), are rates: a displacement along
the mode relaxes as exp(-k t). Two of them bound the horizon (L - 1) dt of a path:

* It must let the softest mode relax several times, or the path cuts corners: with six relaxation times it starts out of
  a minimum and comes to rest at a saddle within e^-3 of their distance.
* In a step the stiffest mode may relax many times, for images follow a stiff valley, but not without limit: where
  dt k is too large, images leave the steep parts of the path (measured with Levenberg-Marquardt on five molecules: the
  largest gap is at most 7 mean gaps where dt k is up to 540, and 15 to 29 where it is 1500).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.rigid_motions import rigid_basis, without_rigid
from tpsctl.score.base import Score

SOFT_RELAXATIONS = 6.0
"""Relaxation times of the softest mode in the horizon of a path."""

MOST_STIFF_RELAXATIONS = 600.0
"""Most relaxation times of the stiffest mode in a step."""

WITHOUT_FORCES_PS = 1e-3
"""The step where the prior has no curvature at the ends, and any step gives the same path."""

_ZERO = 1e-6
"""Rates below this fraction of the largest are rigid motions, or not known."""

_SPACING_NM, _FEWEST, _MOST, _OF_A_POTENTIAL = 1.6e-3, 50, 200, 50


def images_by_distance(pairs: Float[Tensor, "*pair 2 bead dim"], *, is_molecule: bool) -> tuple[int, str]:
    """Number of images, and the reason in words: one image per 0.0016 nm of root-mean-square distance, 50 to 200.

    The two ends that are farthest from each other decide.
    """
    if not is_molecule:
        return _OF_A_POTENTIAL, "the default for a model potential, whose length has no scale"
    distance = pairs.diff(dim=-3).square().sum(-1).mean(-1).sqrt().max().item()
    found = min(_MOST, max(_FEWEST, 10 * round(distance / _SPACING_NM / 10)))
    return found, f"the ends are {distance:.3g} nm apart (root mean square per bead)"


def step_by_rates(
    score: Score, ends: Float[Tensor, "end bead dim"], diffusion: Float[Tensor, " bead"], images: int
) -> tuple[float, str]:
    """The time step, ps, and the reason for it in words.

    Args:
        score: The score at the diffusion time of the paths.
        ends: All ends, nm, on the device of the score.
        diffusion: D of every bead, nm^2/ps.
        images: Images of a path.

    Raises:
        PriorError: The score has no finite derivative at the ends.
    """
    rates = rates_per_ps(score, ends, diffusion)
    stiffest = float(rates.max())
    if stiffest <= 0:
        return WITHOUT_FORCES_PS, "the default: the prior has no positive curvature at the ends"
    softest = float(rates[rates > _ZERO * stiffest].min())
    wanted = SOFT_RELAXATIONS / (softest * (images - 1))
    largest = MOST_STIFF_RELAXATIONS / stiffest
    if wanted <= largest:
        text = f"the path lasts {SOFT_RELAXATIONS:g} relaxation times of the softest mode at the ends"
        return _rounded(wanted), f"{text}, whose rate is {softest:.3g} per ps"
    text = f"in a step the stiffest mode at the ends relaxes {MOST_STIFF_RELAXATIONS:g} times, the most that is safe"
    return _rounded(largest), f"{text}; its rate is {stiffest:.3g} per ps"


def rates_per_ps(
    score: Score, ends: Float[Tensor, "end bead dim"], diffusion: Float[Tensor, " bead"]
) -> Float[Tensor, "end n"]:
    """Eigenvalues of -sqrt(D) J sqrt(D), J symmetrized, without rigid motions of a molecule, 1/ps, ascending.

    Raises:
        PriorError: The score has no finite derivative at the ends.
    """
    jacobian = score.jacobian(ends).double().cpu()
    root = diffusion.double().sqrt().repeat_interleave(ends.shape[-1])
    hessian = -root.unsqueeze(1) * (jacobian + jacobian.mT) / 2 * root
    if not bool(hessian.isfinite().all()):
        raise PriorError(
            "the prior's score at the ends is not finite, or has no finite derivative. Look for clashes in the "
            "structures, and check the checkpoint, force field or plug-in of the prior."
        )
    if ends.shape[1] > 1 and ends.shape[2] == 3:
        basis = rigid_basis(ends.double().cpu(), 1 / diffusion.double())
        rows = torch.stack([without_rigid(row, basis) for row in hessian.unbind(1)], 1)
        hessian = torch.stack([without_rigid(column, basis) for column in rows.unbind(2)], 2)
    return torch.linalg.eigvalsh((hessian + hessian.mT) / 2)


def _rounded(value: float) -> float:
    """The number rounded to two digits, so that all processes of a run use the same."""
    return float(f"{value:.1e}") if math.isfinite(value) else value
