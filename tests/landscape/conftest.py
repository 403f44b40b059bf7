"""Molecules and model surfaces for the search of routes."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tpsctl.landscape.attempts import Molecule, run_block
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.search import begin, search
from tpsctl.landscape.surface import ForceFieldSurface, FunctionSurface
from tpsctl.molecule.force_field import create_system
from tpsctl.prior.potentials import mueller_brown

SCALE = 100.0
"""The Mueller-Brown surface is looked at in units in which it is 0.2 nm wide, as molecules' landscapes are."""


def energies_and_forces(system):
    """OpenMM's Reference platform as a function of a batch."""
    import openmm

    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)

    def evaluate(x):
        energy, force = np.full(len(x), np.nan), np.full(x.shape, np.nan)
        for i, frame in enumerate(x.numpy()):
            if np.isfinite(frame).all():
                context.setPositions(frame)
                state = context.getState(energy=True, forces=True)
                energy[i] = state.getPotentialEnergy()._value
                force[i] = state.getForces(asNumpy=True)._value
        return torch.from_numpy(energy), torch.from_numpy(force)

    return evaluate


def molecule_of(topology, x, force_field, *, keep_labels=False):
    """All that a search needs, for a molecule with a force field."""
    system = create_system(topology, force_field)
    guesses = TurningGuesses(topology)
    return Molecule(
        surface=ForceFieldSurface(energies_and_forces(system), topology.masses_amu),
        coordinates=BondedCoordinates(topology),
        equivalence=equivalence_of(topology, x, keep_labels=keep_labels),
        bonds=Bonds(topology),
        guess=lambda ends, images, generator, style: guesses.draw(ends, images, generator, plain=style == 0),
    )


def barriers(result):
    """Saddles of every route above A, kJ/mol."""
    network = result.network
    zero = network.minima[result.start].energy
    return [[round(network.saddles[k].energy - zero, 2) for k in route.saddles] for route in result.routes]


@pytest.fixture(scope="session")
def mueller_brown_surface():
    return FunctionSurface(lambda x: mueller_brown(SCALE * x), masses_amu=[1.0], rigid_motions=False)


@pytest.fixture(scope="session")
def butane(root):
    """Butane anti, gauche+ and gauche-, its force field, and what a search needs."""
    return _files(root, "butane", ("anti", "gauche", "gauche_minus"))


@pytest.fixture(scope="session")
def cyclohexane(root):
    return _files(root, "cyclohexane", ("chair", "chair_flipped", "twist_boat"), keep_labels=True)


def _files(root: Path, name: str, states, *, keep_labels=False):
    from tpsctl.endpoints.load import load_structure

    folder = root / "tests" / "landscape" / "molecules"
    structures = {state: load_structure(folder / f"{name}_{state}.pdb") for state in states}
    first = structures[states[0]]
    molecule = molecule_of(first.topology, first.x, (str(folder / f"{name}.xml"),), keep_labels=keep_labels)
    return SimpleNamespace(x={k: s.x for k, s in structures.items()}, topology=first.topology, molecule=molecule)


def route_search(molecule, ends, seed, settings=None, run=None):
    """A whole search in this process."""
    run = run or (lambda blocks: [run_block(molecule, block) for block in blocks])
    return search(begin(molecule, ends), run, seed, settings)


def degrees(*values):
    return [math.radians(v) for v in values]
