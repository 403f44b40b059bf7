"""Variants of a saddle: the same reaction with the rest of the molecule in another state."""

import pytest
import torch

from tests.landscape.conftest import molecule_of
from tpsctl.endpoints.load import load_structure
from tpsctl.landscape.attempts import run_block
from tpsctl.landscape.local_search import search_nearby, variant_of_saddle
from tpsctl.landscape.moves import VARIANT_DEG, draw_variant
from tpsctl.landscape.search import begin, search
from tpsctl.molecule.geometry import dihedral


@pytest.fixture(scope="module")
def alanine(root):
    """Alanine dipeptide, its lowest saddle between C7eq and C7ax, and the energy of C7eq."""
    ends = [load_structure(root / "recipes" / "alanine_dipeptide" / f"{name}.pdb") for name in ("c7eq", "c7ax")]
    molecule = molecule_of(ends[0].topology, ends[0].x, ("amber99sbildn.xml",))
    found = search(
        begin(molecule, torch.stack([end.x for end in ends])), lambda bs: [run_block(molecule, b) for b in bs], seed=2
    )
    network, route = found.network, found.routes[0]
    saddle = network.saddles[route.saddles[0]]
    zero = network.minima[found.start].energy
    assert saddle.energy - zero == pytest.approx(36.37, abs=0.01)
    return molecule, saddle.x, zero, ends[0].topology


def test_a_variant_keeps_the_torsion_that_reacts_and_turns_others(alanine):
    """phi turns most at this saddle; every other torsion is as it was, or has turned by 60 to 180 degrees."""
    molecule, saddle, _, topology = alanine
    quadruples = torch.tensor(molecule.bonds.dihedrals)
    before = dihedral(saddle[None], quadruples)[0]
    values, vectors = torch.linalg.eigh(molecule.surface.hessian(saddle[None])[0])
    assert float(values[0]) < -1
    phi = set(dict(topology.backbone_dihedrals)["phi ALA2"][1:3])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        move = draw_variant(saddle, vectors[:, 0], molecule.bonds, generator)
        assert set(move.turned[0, 1:3].tolist()) == phi
        turned = torch.rad2deg(dihedral(move.x[None], quadruples)[0] - before)
        turned = (turned + 180) % 360 - 180
        moved = turned.abs() > 1e-6
        assert 1 <= int(moved.sum()) <= 2
        assert not moved[[set(q[1:3].tolist()) == phi for q in quadruples]]
        assert bool((turned[moved].abs() >= VARIANT_DEG[0] - 1e-6).all())
        assert float(dihedral(move.x[None], move.turned)[0, 0]) == pytest.approx(
            float(dihedral(saddle[None], move.turned)[0, 0]), abs=1e-9
        )


def test_the_second_pass_of_alanine_dipeptide_is_a_variant_of_the_first(alanine):
    """The pass at 42.18 kJ/mol, which local searches and random paths find in one of a hundred attempts."""
    molecule, saddle, zero, _ = alanine
    generators = [torch.Generator().manual_seed(k) for k in range(24)]
    start, draws = saddle.expand(24, -1, -1), [variant_of_saddle] * 24
    found = search_nearby(molecule.surface, start, draws, molecule.bonds, molecule.coordinates, generators)
    energies = (found.energy[found.converged] - zero).tolist()
    assert any(abs(energy - 42.18) < 0.02 for energy in energies)


def test_a_variant_that_comes_back_is_not_counted(alanine):
    """The saddle that variants leave must not look well found because they came back to it."""
    molecule, *_ = alanine
    counted = []

    def run(blocks):
        results = [run_block(molecule, block) for block in blocks]
        for block, result in zip(blocks, results, strict=True):
            for attempt, finds in zip(block.attempts, result.finds, strict=True):
                if attempt.kind == "variant":
                    own = [k for k, x in enumerate(block.known_x) if torch.equal(x, attempt.x[0])]
                    assert len(own) == 1
                    counted.append(own[0] in finds)
        return results

    state = begin(
        molecule, torch.stack((alanine_minimum(molecule, alanine[1], 1), alanine_minimum(molecule, alanine[1], -1)))
    )
    search(state, run, seed=3)
    assert len(counted) > 4
    assert not any(counted)


def alanine_minimum(molecule, saddle, sign):
    """The configuration on one side of a saddle, from which a search's minimization falls to its minimum."""
    values, vectors = torch.linalg.eigh(molecule.surface.hessian(saddle[None])[0])
    return saddle + sign * 0.05 * vectors[:, 0].reshape(saddle.shape)
