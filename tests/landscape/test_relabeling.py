"""Landscapes that tell equivalent atoms apart, as those of networks that were trained on labeled atoms do."""

from dataclasses import replace

import pytest
import torch

from tests.landscape.conftest import route_search
from tpsctl.landscape.equivalence import EXACT, Tolerance
from tpsctl.landscape.pinned_path import labels_towards, pinned_path
from tpsctl.landscape.relabeling import MARGIN, tolerance_of_copies
from tpsctl.landscape.search_state import SearchSettings
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.geometry import rmsd


class LabeledSurface(Surface):
    """Butane's force field plus a small pull between C4 and each hydrogen of C1, which differs from one to the next."""

    def __init__(self, surface, topology, pull):
        names = [atom.name for atom in topology.atoms]
        self._surface, self._carbon = surface, names.index("C4")
        around = topology.neighbors[names.index("C1")]
        self._hydrogens = [i for i in around if topology.atoms[i].element == "H"]
        self._pulls = pull * torch.tensor([-1.0, 0.0, 1.0])
        self.masses_amu = surface.masses_amu

    def energy_gradient(self, x):
        energy, gradient = self._surface.energy_gradient(x)
        self.evaluations += len(x)
        apart = x[:, self._hydrogens] - x[:, [self._carbon]]
        distance = apart.norm(dim=-1)
        along = self._pulls[:, None] * apart / distance[..., None]
        gradient = gradient.clone()
        gradient[:, self._hydrogens] += along
        gradient[:, self._carbon] -= along.sum(1)
        return energy + (self._pulls * distance).sum(1), gradient


def labeled(butane, pull):
    surface = LabeledSurface(butane.molecule.surface, butane.topology, pull)
    ends = torch.stack((butane.x["gauche"], butane.x["gauche_minus"]))
    return replace(butane.molecule, surface=surface), ends


def test_copies_on_a_force_field_are_exactly_the_same(butane):
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))
    molecule = butane.molecule
    found = tolerance_of_copies(molecule.surface, ends, molecule.coordinates, molecule.equivalence)
    assert found.energy == pytest.approx(EXACT.energy)
    assert found.rmsd_nm == pytest.approx(EXACT.rmsd_nm)


def test_tolerance_is_the_spread_of_the_copies(butane):
    """H to C4 is 0.28 nm across and 0.35 to 0.42 nm otherwise, so a pull of 1 kJ/mol/nm splits copies by about 0.1."""
    molecule, ends = labeled(butane, 1.0)
    found = tolerance_of_copies(molecule.surface, ends, molecule.coordinates, molecule.equivalence)
    assert 0.05 * MARGIN < found.energy < 0.3 * MARGIN
    doubled, _ = labeled(butane, 2.0)
    twice = tolerance_of_copies(doubled.surface, ends, molecule.coordinates, molecule.equivalence)
    assert twice.energy == pytest.approx(2 * found.energy, rel=0.05)


def test_copies_that_differ_by_more_than_kt_are_different_states(butane):
    molecule, ends = labeled(butane, 40.0)
    assert tolerance_of_copies(molecule.surface, ends, molecule.coordinates, molecule.equivalence) == EXACT


def test_a_search_takes_copies_for_one_state_and_its_path_passes_real_saddles(butane):
    """Without the tolerance each of the three minima of butane is there for every labeling of the methyls."""
    molecule, ends = labeled(butane, 1.0)
    settings = SearchSettings(most_rounds=5)
    split = route_search(molecule, ends, 1, settings)
    copies = tolerance_of_copies(molecule.surface, ends, molecule.coordinates, molecule.equivalence)
    molecule = replace(molecule, equivalence=molecule.equivalence.tolerating(copies))
    found = route_search(molecule, ends, 1, settings)
    assert len(found.network.minima) <= 4 < len(split.network.minima)
    path = pinned_path(molecule, found.network, found.routes[0], kt=2.5, images=60)
    _, gradient = molecule.surface.energy_gradient(path.x[list(path.pinned)])
    assert float(gradient.flatten(1).norm(dim=1).max()) < 0.05
    assert float(path.energy.max() - path.energy[0]) == pytest.approx(10.47, abs=0.5)
    assert path.largest_jump < 1.5


def test_two_copies_of_a_minimum_may_differ_by_twice_the_tolerance(butane):
    """A route that reaches one copy goes on from another one; each is within the tolerance of the minimum itself."""
    equivalence = butane.molecule.equivalence.tolerating(Tolerance(1.0, 0.01))
    minimum = butane.x["gauche"]
    names = [atom.name for atom in butane.topology.atoms]
    shift = torch.zeros_like(minimum)
    shift[names.index("C1"), 0], shift[names.index("C4"), 0] = 1.0, -1.0
    shift *= 0.008 / shift.square().sum(1).mean().sqrt()  # 0.008 nm rms, little of which is a rotation
    here, there = minimum + shift, minimum - shift
    hydrogens = [i for i in butane.topology.neighbors[names.index("C1")] if butane.topology.atoms[i].element == "H"]
    order = list(range(len(minimum)))
    for k, i in enumerate(hydrogens):
        order[i] = hydrogens[(k + 1) % 3]
    found = labels_towards(equivalence, there[order], here)
    assert found is not None
    assert 0.01 < float(rmsd(there[order][list(found)], here)) < 0.02
    assert equivalence.same(there[order], here, (0.0, 0.0)) is None, "what the comparison of states says"
    far = minimum + 4 * shift
    assert labels_towards(equivalence, far, here) is None
