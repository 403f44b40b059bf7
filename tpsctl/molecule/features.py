"""Features of configurations, for models that are linear in them: internal coordinates and their products.

Of a molecule, angles are taken first: one torsion for each bond that can turn, one improper for each atom with three
neighbors, and all bond angles between heavy atoms. Base features are 1, sines and cosines of torsions that hardly turn,
sines of impropers, and cosines of bond angles. They are multiplied by harmonics of the torsions that do turn,

    1, cos k t, sin k t (k = 1, 2) and the products of those with k = 1 of two torsions ,

because at another value of a turning torsion the same displacement has another meaning. Products of harmonics with
k = 2 of two torsions complete them. All features are smooth and periodic, and do not change when a molecule moves.

Of a chain of beads, features are how far contacts are formed.

Of a point of a model potential, features are its coordinates and their products of second degree.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.contacts import NativeContacts, find_contacts
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import named_torsions


class Features(ABC):
    """Functions of a configuration.

    Attributes:
        variables: Names of the variables that features are made of.
        names: Names of the features, products with a space between their factors.
    """

    variables: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of features."""
        return len(self.names)

    @abstractmethod
    def variables_of(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch variable"]:
        """The variables of configurations in nm: angles in rad, contacts, or coordinates in nm; differentiable."""

    @abstractmethod
    def of_variables(self, values: Float[Tensor, "batch variable"]) -> Float[Tensor, "batch feature"]:
        """The features as functions of the variables; differentiable."""

    @abstractmethod
    def spread(self, values: Float[Tensor, "sample variable"]) -> Float[Tensor, " variable"]:
        """How far the variables vary over samples, in their unit."""

    def __call__(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch feature"]:
        """The features of configurations in nm."""
        return self.of_variables(self.variables_of(x))


class InternalFeatures(Features):
    """Internal coordinates of a molecule.

    Args:
        topology: Its atoms and bonds.
        turning: Names of the torsions that turn (`tpsctl.molecule.torsions.named_torsions`).
    """

    def __init__(self, topology: Topology, turning: Sequence[str]) -> None:
        torsions = [torsion for torsion in named_torsions(topology) if not torsion.rotor]
        torsions.sort(key=lambda torsion: torsion.name not in turning)  # those that turn first
        centers = [i for i in range(topology.n_atoms) if len(topology.neighbors[i]) == 3]
        impropers = [(a, i, b, c) for i in centers for a, b, c in [sorted(topology.neighbors[i])]]
        heavy = [[i for i in around if topology.atoms[i].element != "H"] for around in topology.neighbors]
        angles = [(i, j, k) for j, around in enumerate(heavy) for i, k in itertools.combinations(sorted(around), 2)]
        labels = [atom.label for atom in topology.atoms]
        self.variables = (
            *(torsion.name for torsion in torsions),
            *(f"improper at {labels[i]}" for i in centers),
            *(f"angle {labels[i]}-{labels[j]}-{labels[k]}" for i, j, k in angles),
        )
        self._torsions = torch.tensor([t.atoms for t in torsions] + impropers, dtype=torch.int64).reshape(-1, 4)
        self._angles = torch.tensor(angles, dtype=torch.int64).reshape(-1, 3)
        self._turning, self._stiff, self._impropers = len(turning), len(torsions) - len(turning), len(impropers)
        self.names = self._names()

    def variables_of(self, x: Tensor) -> Tensor:
        i, j, k = (x[:, self._angles[:, n]] for n in range(3))
        u, v = i - j, k - j
        sine = torch.linalg.cross(u, v).norm(dim=-1)
        return torch.cat((dihedral(x, self._torsions), torch.atan2(sine, (u * v).sum(-1))), 1)

    def of_variables(self, values: Tensor) -> Tensor:
        sizes = [self._turning, self._stiff, self._impropers, len(self._angles)]
        turning, stiff, impropers, angles = values.split(sizes, 1)
        base = torch.cat((stiff.cos(), stiff.sin(), impropers.sin(), angles.cos()), 1)
        first = [torch.stack((t.cos(), t.sin()), 1) for t in turning.unbind(1)]
        second = [torch.stack(((2 * t).cos(), (2 * t).sin()), 1) for t in turning.unbind(1)]
        pairs = list(itertools.combinations(range(len(first)), 2))
        crossed = [_products(first[a], first[b]) for a, b in pairs]
        harmonics = torch.cat((torch.ones_like(values[:, :1]), *first, *second, *crossed), 1)
        more = [_products(p[a], q[b]) for a, b in pairs for p, q in ((first, second), (second, first), (second,) * 2)]
        return torch.cat((harmonics[:, 1:], *more, _products(base, harmonics)), 1)

    def _names(self) -> tuple[str, ...]:
        """In the order of `of_variables`."""
        sizes = (self._turning, self._stiff, self._impropers, len(self._angles))
        parts, begin = [], 0
        for size in sizes:
            parts.append([f"[{name}]" for name in self.variables[begin : begin + size]])
            begin += size
        turning, stiff, impropers, angles = parts
        base = [f"{kind} {name}" for kind in ("cos", "sin") for name in stiff]
        base += [f"sin {name}" for name in impropers] + [f"cos {name}" for name in angles]
        first = [[f"cos {name}", f"sin {name}"] for name in turning]
        second = [[f"cos 2{name}", f"sin 2{name}"] for name in turning]
        pairs = list(itertools.combinations(range(len(first)), 2))
        crossed = [f"{p} {q}" for a, b in pairs for p in first[a] for q in first[b]]
        harmonics = ["", *itertools.chain(*first), *itertools.chain(*second), *crossed]
        kinds = ((first, second), (second, first), (second, second))
        more = [f"{p} {q}" for a, b in pairs for u, v in kinds for p in u[a] for q in v[b]]
        return (*harmonics[1:], *more, *(f"{p} {q}".rstrip() for p in base for q in harmonics))

    def spread(self, values: Tensor) -> Tensor:
        mean = torch.atan2(values.sin().mean(0), values.cos().mean(0))
        away = torch.atan2((values - mean).sin(), (values - mean).cos())
        return away.square().mean(0).sqrt()


class ContactFeatures(Features):
    """How far contacts of a chain of beads are formed: those that its ends have.

    Torsions of beads say nothing of which parts of a chain have met; contacts do.

    Args:
        topology: Beads and bonds.
        ends: Structures whose contacts count, nm; of a pair that is close in several of them, the least distance.
        cutoff_nm: Distance below which two beads are in contact, nm.
        separation: Least number of bonds between them.
    """

    def __init__(
        self, topology: Topology, ends: Float[Tensor, "end bead 3"], *, cutoff_nm: float = 0.8, separation: int = 4
    ) -> None:
        least: dict[tuple[int, int], float] = {}
        for end in ends:
            found = find_contacts(topology, end, cutoff_nm=cutoff_nm, separation=separation)
            for pair, distance in zip(found.pairs, found.distances_nm, strict=True):
                least[pair] = min(distance, least.get(pair, math.inf))
        self.contacts = NativeContacts(tuple(sorted(least)), tuple(least[pair] for pair in sorted(least)))
        labels = [atom.label for atom in topology.atoms]
        self.variables = tuple(f"contact {labels[i]}-{labels[j]}" for i, j in self.contacts.pairs)
        self.names = self.variables

    def variables_of(self, x: Tensor) -> Tensor:
        return self.contacts.formed(x)

    def of_variables(self, values: Tensor) -> Tensor:
        return values

    def spread(self, values: Tensor) -> Tensor:
        return values.std(0)


class PointFeatures(Features):
    """Coordinates of a point of a model potential, and their products.

    Args:
        dimensions: Their number.
    """

    def __init__(self, dimensions: int) -> None:
        self.variables = tuple(f"coordinate {k + 1}" for k in range(dimensions))
        self._first, self._second = torch.triu_indices(dimensions, dimensions)
        products = zip(self._first.tolist(), self._second.tolist(), strict=True)
        self.names = (*self.variables, *(f"{self.variables[a]} {self.variables[b]}" for a, b in products))

    def variables_of(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def of_variables(self, values: Tensor) -> Tensor:
        return torch.cat((values, values[:, self._first] * values[:, self._second]), 1)

    def spread(self, values: Tensor) -> Tensor:
        return values.std(0)


def _products(a: Float[Tensor, "batch m"], b: Float[Tensor, "batch n"]) -> Float[Tensor, "batch product"]:
    return (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1)
