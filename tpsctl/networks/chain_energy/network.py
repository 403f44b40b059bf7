"""Scalar energy of a chain of beads on noised structures, from pair distances, bond angles and handedness.

    U(y; sigma) = U_pairs(r(y); sigma) + net( z(r; sigma), (h - mean(sigma)) / std(sigma), w(r; sigma) ; log sigma )

where r are the distances of all pairs and all bond angles. The pair energy (`PairEnergy`) is fitted in closed form; the
network, a perceptron conditioned on log sigma, learns what it leaves over: torsions, cooperativity and handedness. The
wells w are the Gaussians of the fitted energy of every coordinate: a contact is narrow beside the spread of its
distance, and a network that sees it as a bend of z hardly learns how contacts depend on one another.

An angle is no sum over distances: a force along the distance of second neighbors pulls at the stiff bonds, too, and at
a noise that resolves bonds a fit without angles finds half of their energy. Models of earlier versions have no angles,
and no wells among their inputs.

The score -grad_y U is a gradient by construction, invariant under translation and equivariant under rotation, and it
distinguishes mirror images.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.coordinates import ChainValues
from tpsctl.networks.chain_energy.fitted import PAIRS, FittedEnergy
from tpsctl.networks.chain_energy.pair_energy import COARSE, PairTables
from tpsctl.networks.conditioned_perceptron import ConditionedPerceptron

SMALLEST_HANDEDNESS_SPREAD = 1e-3
"""Least standard deviation of a handedness in the tables."""


@dataclass(frozen=True)
class ChainEnergySizes:
    """Hyper-parameters that fix the shapes of a `ChainEnergy`.

    Attributes:
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        levels: Noise widths in the tables.
        embedding: Number of radial functions that embed log sigma.
        gaussians: Number of Gaussians per pair.
        resolution: Standard deviation of a distance in units of the least width of its Gaussians; models of earlier
            versions have 4, too few for native contacts.
        fitted: Sorts of coordinates whose energies are fitted: 1 for pairs, 2 for pairs and bond angles.
        inputs: Number of sorts of inputs: 2 for distances and handedness, 3 with the wells of the pairs.
    """

    hidden: int = 192
    layers: int = 3
    levels: int = 16
    embedding: int = 16
    gaussians: int = 8
    resolution: int = COARSE
    fitted: int = PAIRS
    inputs: int = 2

    def to_dict(self) -> dict[str, Any]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


@dataclass(frozen=True)
class ChainTables:
    """The tables of a `ChainEnergy` at one noise width, or at one for each structure of a batch.

    Attributes:
        pairs: Those of the fitted energy.
        mean, std: Mean and spread of handedness.
        level: The level of the noise width, in [0, 1].
    """

    pairs: PairTables
    mean: Float[Tensor, "batch_or_1 triple"]
    std: Float[Tensor, "batch_or_1 triple"]
    level: Float[Tensor, " batch_or_1"]


class ChainEnergy(FittedEnergy):
    """The energy U(y; sigma), in kT, of positions y (nm) with noise of width sigma (nm).

    Args:
        topology: Beads with bonds.
        sizes: Shapes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, topology: Topology, sizes: ChainEnergySizes) -> None:
        super().__init__(topology, sizes.levels, sizes.gaussians, sizes.resolution, sizes.fitted)
        n_triples = self.coordinates.n_triples
        self.register_buffer("mean", torch.zeros(sizes.levels, n_triples))
        self.register_buffer("std", torch.ones(sizes.levels, n_triples))
        self.sees_wells = sizes.inputs == 3
        n_features = (2 if self.sees_wells else 1) * self.coordinates.n_fitted + n_triples
        self.net = ConditionedPerceptron(n_features, sizes.hidden, sizes.layers, sizes.embedding)

    def forward(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        values, tables = self.coordinates(y), self.tables(sigma)
        return tables.pairs.energy(values.fitted) + self.net(self.features(values, tables), tables.level)

    @property
    def trained(self) -> nn.Module:
        return self.net

    def tabulate(self, level: int, y: Float[Tensor, "sample bead 3"]) -> None:
        values = self.coordinates(y)
        self.pairs.set_level(level, values.fitted)
        self.mean[level] = values.handedness.mean(0)
        self.std[level] = values.handedness.std(0).clamp_min(SMALLEST_HANDEDNESS_SPREAD)

    def residual(
        self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        tables = self.tables(sigma)
        return self.net(self.features(self.coordinates(y), tables), tables.level)

    def tables(self, sigma: Float[Tensor, " batch_or_1"]) -> ChainTables:
        """All tables at noise widths sigma, nm."""
        mean, std = (self.pairs.at(table, sigma) for table in (self.mean, self.std))
        return ChainTables(self.pairs.tables(sigma), mean, std, self.level(sigma))

    def features(
        self, values: ChainValues, tables: ChainTables, wells: Float[Tensor, "batch coordinate"] | None = None
    ) -> Float[Tensor, "batch feature"]:
        """Normalized inputs of the network: distances and angles, then handedness, then wells.

        Args:
            values: The coordinates.
            tables: The tables at the noise widths.
            wells: The wells, if they are known.
        """
        inputs = [tables.pairs.normalized(values.fitted), (values.handedness - tables.mean) / tables.std]
        if self.sees_wells:
            inputs.append(tables.pairs.wells(values.fitted) if wells is None else wells)
        return torch.cat(inputs, 1)

    def scale(self, tables: ChainTables) -> Float[Tensor, "batch_or_1 feature"]:
        """Derivatives of the network's inputs by the features before normalization."""
        scale = torch.cat((1 / tables.pairs.std, 1 / tables.std), 1)
        return functional.pad(scale, (0, self.coordinates.n_fitted if self.sees_wells else 0), value=1.0)

    def gradient(self, y: Float[Tensor, "batch bead 3"], tables: ChainTables) -> Float[Tensor, "batch bead 3"]:
        """Gradient of U with respect to y, kT/nm, in closed form but for the perceptron."""
        vectors = self.coordinates.vectors(y.detach())
        values = self.coordinates.values(vectors)
        wells = tables.pairs.well_slopes(values.fitted)
        with torch.enable_grad():
            features = self.features(values, tables, wells[0]).requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(features, tables.level).sum(), features)
        return self.coordinates.pull(vectors, self.rates(values, wells, slope * self.scale(tables), tables)[0])

    def rates(
        self,
        values: ChainValues,
        wells: tuple[Tensor, Tensor, Tensor],
        slope: Float[Tensor, "batch feature"],
        tables: ChainTables,
    ) -> tuple[Float[Tensor, "batch rate"], Float[Tensor, "batch coordinate"]]:
        """Derivatives of U by distances, angles and handedness, and second ones by the fitted coordinates.

        Args:
            values: The coordinates.
            wells: The wells with their first and second derivatives.
            slope: Derivative of the network's part by its inputs before normalization; held fixed in the second ones.
            tables: The tables at the noise widths.
        """
        fitted = self.coordinates.n_fitted
        end = fitted + self.coordinates.n_triples
        once, twice = tables.pairs.quadratic_slopes(values.fitted)
        of_wells = 1 + slope[:, end:] if self.sees_wells else 1
        once = once + of_wells * wells[1] + slope[:, :fitted]
        return torch.cat((once, slope[:, fitted:end]), 1), twice + of_wells * wells[2]
