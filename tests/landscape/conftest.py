"""Molecules and model surfaces for the search of routes."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tpsctl.landscape.attempts import SearchedMolecule, run_block
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.search import begin, search
from tpsctl.landscape.surface import ForceFieldSurface, FunctionSurface
from tpsctl.molecule.curvature import Curvature
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source
from tpsctl.prior.potentials import mueller_brown

SCALE = 100.0
"""The Mueller-Brown surface is looked at in units in which it is 0.2 nm wide, as molecules' landscapes are."""


def molecule_of(topology, x, force_field, *, keep_labels=False):
    """All that a search needs, for a molecule with a force field."""
    made = as_source(force_field).create(topology)
    guesses = TurningGuesses(topology)
    return SearchedMolecule(
        surface=ForceFieldSurface(
            ContextPool(made.system, threads=1).energies_and_forces,
            made.masses_amu,
            Curvature(made.system, threads=1).hessian,
        ),
        coordinates=BondedCoordinates(topology),
        equivalence=equivalence_of(topology, x, keep_labels=keep_labels),
        bonds=Bonds(topology),
        guess=guesses.of_style,
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
    x = {state: structure.x for state, structure in structures.items()}
    return SimpleNamespace(x=x, topology=first.topology, molecule=molecule, folder=folder)


def route_search(molecule, ends, seed, settings=None, run=None):
    """A whole search in this process."""
    run = run or (lambda blocks: [run_block(molecule, block) for block in blocks])
    return search(begin(molecule, ends), run, seed, settings)
