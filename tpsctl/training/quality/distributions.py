"""Distributions of bonds, angles, torsions and pair distances, and how far samples are from data.

One estimator serves all: the Jensen-Shannon divergence, in nats, of two histograms of one internal coordinate,

    JS = (KL(p | m) + KL(q | m)) / 2 ,   m = (p + q) / 2 ,      between 0 and ln 2 = 0.693 .

Lengths and angles have 30 equal bins between the 0.5 % and 99.5 % quantiles of the reference and one bin for all that
lies beyond on either side; torsions have 36 bins of 10 degrees. A divergence of finite samples is never 0, hence it is
read beside its floor: that of two independent halves of the data with as many structures each.

Source: Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003) 1858.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology

BINS, TORSION_BINS = 30, 36
_TAIL = 0.005
_QUANTILE_FRAMES = 100_000


@dataclass(frozen=True)
class Coordinate:
    """One internal coordinate of many structures.

    Attributes:
        name: Labels of its atoms.
        values: Its values, nm or rad.
    """

    name: str
    values: Float[Tensor, " structure"]


def internal_coordinates(topology: Topology, x: Float[Tensor, "structure bead 3"]) -> dict[str, list[Coordinate]]:
    """All bonds, angles, torsions and pair distances of structures, nm and rad, by these four names.

    Pair distances are those of beads that are at least four bonds apart, or not connected.
    """
    x = x.double()
    rows: dict[str, list[tuple[int, ...]]] = {
        "bonds": [*topology.bonds],
        "angles": [*topology.angles],
        "torsions": [*topology.torsions],
        "pair distances": _far_pairs(topology),
    }
    found: dict[str, list[Coordinate]] = {}
    for name, atoms in rows.items():
        if atoms:
            values = _MEASURES[name](x, torch.tensor(atoms))
            labels = ["-".join(topology.atoms[i].label for i in row) for row in atoms]
            found[name] = [Coordinate(label, values[:, n]) for n, label in enumerate(labels)]
    return found


def divergence(samples: Coordinate, reference: Coordinate, *, periodic: bool) -> float:
    """JS divergence, nats, of one coordinate of two sets of structures; bins are those of the reference."""
    edges = torch.linspace(-torch.pi, torch.pi, TORSION_BINS + 1) if periodic else _edges(reference.values)
    p, q = (_histogram(each.values, edges) for each in (samples, reference))
    middle = (p + q) / 2
    return float((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def divergences(
    samples: dict[str, list[Coordinate]], reference: dict[str, list[Coordinate]]
) -> dict[str, dict[str, float]]:
    """JS divergence, nats, of every coordinate, by its sort and name."""
    return {
        sort: {a.name: divergence(a, b, periodic=sort == "torsions") for a, b in zip(samples[sort], found, strict=True)}
        for sort, found in reference.items()
    }


def _edges(values: Tensor) -> Tensor:
    """Edges of the inner bins: equal ones between two quantiles."""
    step = max(1, len(values) // _QUANTILE_FRAMES)
    low, high = torch.quantile(values[::step].double(), torch.tensor([_TAIL, 1 - _TAIL], dtype=torch.float64)).tolist()
    return torch.linspace(low, max(high, low + 1e-9), BINS + 1, dtype=torch.float64)


def _histogram(values: Tensor, edges: Tensor) -> Tensor:
    """Normalized histogram with one bin below and one above the edges."""
    index = torch.bucketize(values.double().contiguous(), edges.double(), right=True)
    counts = torch.bincount(index, minlength=len(edges) + 1).double()
    return counts / counts.sum()


def _relative_entropy(p: Tensor, q: Tensor) -> Tensor:
    present = p > 0
    return (p[present] * (p[present] / q[present]).log()).sum()


def _far_pairs(topology: Topology) -> list[tuple[int, ...]]:
    near = {*topology.bonds, *((i, k) for i, _, k in topology.angles), *((i, m) for i, _, _, m in topology.torsions)}
    near |= {(j, i) for i, j in near}
    n = topology.n_atoms
    return [(i, j) for i in range(n) for j in range(i + 1, n) if (i, j) not in near]


def _distances(x: Tensor, rows: Tensor) -> Tensor:
    return (x[:, rows[:, 0]] - x[:, rows[:, 1]]).norm(dim=-1)


def _angles(x: Tensor, rows: Tensor) -> Tensor:
    a, b = x[:, rows[:, 0]] - x[:, rows[:, 1]], x[:, rows[:, 2]] - x[:, rows[:, 1]]
    return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))


_MEASURES = {"bonds": _distances, "angles": _angles, "torsions": dihedral, "pair distances": _distances}
