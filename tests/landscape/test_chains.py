"""Chains of minima between structures that differ in many torsions."""

import math

import pytest
import torch

from tests.landscape.conftest import molecule_of
from tpsctl.endpoints.load import load_structure
from tpsctl.landscape.attempts import AttemptBlock, SearchAttempt, run_block
from tpsctl.landscape.chains import TOGETHER, TurningChains, chained_minima
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.guesses import CHANGED_DEG, TurningGuesses
from tpsctl.landscape.network import Minimum, Network
from tpsctl.landscape.round_plan import plan_round
from tpsctl.landscape.search_state import SearchSettings, SearchState
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.z_matrix import ZMatrix, wrapped

AMBER = ("amber14-all.xml",)


@pytest.fixture(scope="module")
def helix(root):
    """ACE-ALA5-NME as a helix and extended, which differ in ten torsions."""
    folder = root / "tests" / "landscape" / "molecules"
    start, end = (load_structure(folder / f"ace_ala5_nme_{name}.pdb") for name in ("helix", "extended"))
    order = equivalence_of(start.topology, start.x).relabeled_towards(end.x, start.x)
    return start.topology, torch.stack((start.x, end.x[list(order)]))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("style", [0, 1, 2])
def test_steps_turn_every_torsion_once_and_few_changed_ones_together(helix, style):
    topology, ends = helix
    chains = TurningChains(topology)
    changed = set(chains.changed(ends))
    steps = chains.steps(ends, generator(), style)
    assert len(changed) == 10
    assert sorted(k for step in steps for k in step) == list(range(len(ZMatrix(topology).torsions)))
    assert [len(changed.intersection(step)) for step in steps] == [TOGETHER] * 5


def test_chains_begin_at_either_end_of_the_molecule(helix):
    topology, ends = helix
    chains = TurningChains(topology)
    bonds = sorted(ZMatrix(topology).torsions)

    def residues(style):
        changed = set(chains.changed(ends))
        steps = chains.steps(ends, generator(), style)
        return [{topology.atoms[bonds[k][0]].residue_id for k in changed.intersection(step)} for step in steps]

    one, other = residues(0), residues(1)
    assert [len(step) for step in one + other] == [1] * 10
    assert one == other[::-1]
    assert one != other


def test_a_step_turns_its_torsions_and_no_others(helix):
    topology, ends = helix
    chains = TurningChains(topology)
    internal = ZMatrix(topology)
    atoms = [internal.torsions[bond] for bond in sorted(internal.torsions)]
    step = chains.steps(ends, generator(), 0)[1]
    turned = internal.to_internal(chains.turned(ends[0], ends[1], step)).dihedrals[atoms]
    here, there = (internal.to_internal(x).dihedrals[atoms] for x in ends)
    wanted = here.clone()
    wanted[list(step)] = there[list(step)]
    assert float(wrapped(turned - wanted).abs().max()) < 1e-9
    assert float(wrapped(turned - here).abs().max()) > math.radians(CHANGED_DEG)


def test_a_chain_of_one_step_ends_in_the_other_minimum(butane):
    """Odd styles go from the second structure to the first."""
    molecule = butane.molecule
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))
    chains = TurningChains(butane.topology)
    found = chained_minima(
        molecule.surface, molecule.coordinates, chains, torch.stack((ends, ends)), [generator(), generator()], [0, 1]
    )
    (there,), (back,) = found
    assert there[1] - back[1] == pytest.approx(3.28, abs=0.01)
    assert molecule.equivalence.same(there[0], ends[1], (0.0, 0.0)) is not None
    assert molecule.equivalence.same(back[0], ends[0], (0.0, 0.0)) is not None


def test_a_block_of_chains_finds_minima_and_no_saddles(butane):
    ends = torch.stack((butane.x["anti"], butane.x["gauche"]))
    attempts = tuple(SearchAttempt(k, (0, 1), ends, style=k, kind="chain") for k in range(2))
    result = run_block(butane.molecule, AttemptBlock(1, 0, attempts, (), ()))
    assert result.finds == ((), ())
    assert [len(minima) for minima in result.minima] == [1, 1]
    assert result.evaluations > 0


def test_structures_that_differ_much_are_bridged_by_chains_at_first(helix):
    """The plan needs no energies, so the minima are the structures themselves."""
    topology, ends = helix
    molecule = molecule_of(topology, ends[0], AMBER)
    network = Network(molecule.equivalence, [Minimum(ends[0], 0.0), Minimum(ends[1], 50.0)])
    blocks = plan_round(SearchState(network, 0, 1), 1, SearchSettings())
    chains = [attempt for block in blocks for attempt in block.attempts if attempt.kind == "chain"]
    assert [attempt.style for attempt in chains] == list(range(12))
    assert all(len({a.kind for a in block.attempts}) == 1 for block in blocks)
    assert [a.number for block in blocks for a in block.attempts] == list(range(16))


@pytest.mark.parametrize("count", [1, 5])
def test_residues_that_change_share_the_path_out_equally(helix, count):
    """Nothing of the path is spent on residues that do not change, so a single one turns all along it."""
    topology, ends = helix
    chains = TurningChains(topology)
    end = ends[0]
    for step in chains.steps(ends, generator(), 0)[:count]:
        end = chains.turned(end, ends[1], step)
    images = 1 + 6 * count
    path = TurningGuesses(topology).draw(torch.stack((ends[0], end)), images, generator(), plain=True, in_turn=True)
    phi_psi = torch.tensor([q for label, q in topology.backbone_dihedrals if label[:3] in ("phi", "psi")])
    moved = wrapped(dihedral(path[1:], phi_psi) - dihedral(path[:-1], phi_psi)).abs() > 0.02
    assert moved.any(1).all()
    assert (moved.any(0).sum(), moved.sum(1).max()) == (2 * count, 2)
