"""Whether guided samples are new structures, or copies of the guides: distances, and bond lengths beside those of data.

Distances are root mean square deviations, of molecules after superposition. The diversity of samples is their mean
pairwise distance. It is compared with that of the wanted ones of the unguided samples or, where these are too few, with
that of the guides themselves. Samples have collapsed if they are less than half as diverse, or if they lie nearer to a
guide than half the distance from an unguided sample to its nearest neighbor.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.guidance.metrics import KernelMetric, squared_distances

_FEWEST, _MOST = 10, 200
_HALF = 0.5


@dataclass(frozen=True)
class Collapse:
    """How far samples are from one another and from the guides.

    Attributes:
        collapsed: Whether they are copies of the guides.
        diversity_nm: Mean pairwise distance of the wanted guided samples, nm; nan if there are fewer than two.
        reference_diversity_nm: What it is compared with, nm.
        reference: Whose diversity that is.
        nearest_guide_nm: Median distance of the wanted guided samples to their nearest guide, nm.
        nearest_unguided_nm: Median distance of unguided samples to their nearest neighbor, nm.
        words: All that in a sentence.
    """

    collapsed: bool
    diversity_nm: float
    reference_diversity_nm: float
    reference: str
    nearest_guide_nm: float
    nearest_unguided_nm: float
    words: str

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def judge_collapse(
    wanted: Float[Tensor, "sample bead dim"],
    guides: Float[Tensor, "guide bead dim"],
    unguided: Float[Tensor, "sample bead dim"],
    unguided_wanted: Float[Tensor, "sample bead dim"],
    *,
    superposed: bool,
) -> Collapse:
    """Judge the wanted ones of guided samples, nm."""
    own = diversity(wanted, superposed=superposed)
    enough = len(unguided_wanted) >= _FEWEST
    name = "wanted unguided samples" if enough else "the guides"
    reference = diversity(unguided_wanted if enough else guides, superposed=superposed)
    to_guide = distances_nm(wanted, guides, superposed=superposed).amin(1) if len(wanted) else torch.zeros(0)
    nearest = float(to_guide.median()) if len(wanted) else float("nan")
    apart = _to_neighbor(unguided, superposed=superposed)
    collapsed = bool(len(wanted) >= 2 and (own < _HALF * reference or nearest < _HALF * apart))
    verdict = "the samples have COLLAPSED onto the guides" if collapsed else "no collapse onto the guides"
    if len(wanted) < 2:
        words = f"too few wanted samples ({len(wanted)}) to say whether they have collapsed onto the guides"
        return Collapse(collapsed, own, reference, name, nearest, apart, words)
    words = (
        f"{verdict}: mean pairwise distance {own:.4f} nm ({name}: {reference:.4f}); median distance to the nearest "
        f"guide {nearest:.4f} nm (of an unguided sample to its neighbor: {apart:.4f})"
    )
    return Collapse(collapsed, own, reference, name, nearest, apart, words)


def diversity(x: Float[Tensor, "sample bead dim"], *, superposed: bool) -> float:
    """Mean pairwise distance, nm; nan for fewer than two samples."""
    count = min(len(x), _MOST)
    if count < 2:
        return float("nan")
    return float(_pairs(x, superposed=superposed).sum() / (count * (count - 1)))


def distances_nm(
    x: Float[Tensor, "sample bead dim"], guides: Float[Tensor, "guide bead dim"], *, superposed: bool
) -> Float[Tensor, "sample guide"]:
    """Root mean square deviations, nm."""
    return (squared_distances(x, guides, superposed=superposed) / x.shape[1]).sqrt()


def natural_bandwidth(
    guides: Float[Tensor, "guide bead dim"], unguided: Float[Tensor, "sample bead dim"], metric: KernelMetric
) -> float:
    """The bandwidth of a kernel density over guides that neither copies them nor leaves gaps between them, nm or rad.

    It is the standard deviation of a coordinate or torsion, for which two samples of a Gaussian are sqrt(2 features) of
    it apart, root mean square. It is taken from the distances of guides from one another, or from the median distance
    of an unguided sample to its nearest neighbor where guides are nearer than that, e.g. because they are images of one
    path.
    """
    count, unguided = len(guides), unguided[:_MOST]
    apart = metric.squared(guides, guides).fill_diagonal_(0.0).sum() / (count * (count - 1))
    to_neighbor = metric.squared(unguided, unguided).fill_diagonal_(torch.inf).amin(1).median()
    return math.sqrt(max(float(apart), float(to_neighbor)) / (2 * metric.features))


def bond_deviation(
    x: Float[Tensor, "sample bead dim"], data: Float[Tensor, "sample bead dim"], bonds: tuple[tuple[int, int], ...]
) -> float | None:
    """Mean over bonds of |mean length - that of data|, in the standard deviation of the data; None without bonds."""
    if not bonds or len(x) < 2:
        return None
    i, j = torch.tensor(bonds).unbind(1)
    here, there = ((y[:, i] - y[:, j]).norm(dim=-1) for y in (x, data))
    return float(((here.mean(0) - there.mean(0)).abs() / there.std(0)).mean())


def _pairs(x: Tensor, *, superposed: bool) -> Tensor:
    """Distances of up to `_MOST` samples from one another, with zeros on the diagonal."""
    x = x[:_MOST]
    return distances_nm(x, x, superposed=superposed).fill_diagonal_(0.0)


def _to_neighbor(x: Tensor, *, superposed: bool) -> float:
    """Median distance of a sample to its nearest neighbor, nm."""
    return float(_pairs(x, superposed=superposed).fill_diagonal_(torch.inf).amin(1).median())
