"""Several molecules with one transformer: padding changes nothing, and every molecule knows its beads."""

import pytest
import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.chain_energy.shared import SharedEnergy, padded_beads
from tpsctl.networks.chain_energy.transformer import TransformerEnergySizes
from tpsctl.networks.graph_transformer.bead_table import BeadTable
from tpsctl.prior.fields.transformer_energy import TransformerEnergyField

SIZES = TransformerEnergySizes(hidden=8, layers=2, heads=2, head_dim=4, levels=4, gaussians=3)


def chain_of(*residues):
    atoms = tuple(Atom("CA", "C", name, number + 1, "A", 110.0) for number, name in enumerate(residues))
    return Topology(atoms, tuple((i, i + 1) for i in range(len(residues) - 1)))


SHORT, LONG = (
    chain_of("ALA", "GLY", "ALA", "PRO", "GLY"),
    chain_of("GLY", "PRO", "TRP", "ALA", "ALA", "GLY", "SER", "GLY"),
)
MOLECULES = (SHORT, LONG)


def noised(topology, count):
    steps = 0.3 * torch.randn(count, topology.n_atoms, 3) + torch.tensor([0.2, 0.0, 0.0])
    return steps.cumsum(1), 0.05 + torch.rand(count)


@pytest.fixture
def energies():
    """Energies with random weights; float64."""
    network = SharedEnergy(MOLECULES, BeadTable.of(MOLECULES), SIZES)
    for member, topology in zip(network.members, MOLECULES, strict=True):
        member.pairs.log_sigmas.copy_(torch.linspace(-4, 1, SIZES.levels))
        for level in range(SIZES.levels):
            member.tabulate(level, noised(topology, 50)[0])
        member.pairs.coefficients.normal_(std=0.1)
    for parameter in network.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def gradients(energies, y):
    return torch.autograd.grad(torch.cat(energies).sum(), y, create_graph=True)


def test_a_molecule_has_the_same_energy_and_score_alone_and_padded(energies):
    """Sums over a longer row have another order; 1e-12 of the largest value is a thousand roundings."""
    y, sigma = zip(*(noised(topology, 6) for topology in MOLECULES), strict=True)
    y = [x.requires_grad_(True) for x in y]
    together = energies(y, sigma)
    found = gradients(together, y)
    for member, x, widths, energy, gradient in zip(energies.members, y, sigma, together, found, strict=True):
        alone = member.residual(x, widths)
        torch.testing.assert_close(energy, alone, rtol=0, atol=1e-12 * float(alone.detach().abs().max()))
        (expected,) = torch.autograd.grad(alone.sum(), x)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_the_derivatives_by_the_weights_do_not_depend_on_the_padding(energies):
    """The loss of a training is of the gradient, so that its derivative by the weights is a second one."""
    y, sigma = noised(SHORT, 4)
    other = noised(LONG, 3)
    y.requires_grad_(True)
    weights = dict(energies.transformer.named_parameters())
    alone = torch.autograd.grad(energies.members[0].residual(y, sigma).sum(), y, create_graph=True)[0]
    padded = gradients(energies((y, other[0]), (sigma, other[1]))[:1], [y])[0]
    expected = torch.autograd.grad(alone.square().sum(), weights.values(), allow_unused=True, materialize_grads=True)
    found = torch.autograd.grad(padded.square().sum(), weights.values(), allow_unused=True, materialize_grads=True)
    largest = max(float(value.abs().max()) for value in expected)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-11 * largest)


def test_a_structure_does_not_depend_on_the_others_of_its_batch(energies):
    (y, sigma), (other, widths) = noised(SHORT, 4), noised(LONG, 3)
    before = energies((y, other), (sigma, widths))[0]
    after = energies((y, 3 * other + 1), (sigma, widths))[0]
    assert torch.equal(before, after)


def test_padding_beads_are_hidden():
    table = BeadTable.of(MOLECULES)
    beads = padded_beads([table.beads(topology) for topology in MOLECULES], [2, 1], LONG.n_atoms)
    assert beads.slots.shape == beads.types.shape == beads.real.shape == (3, 8)
    assert beads.real.sum(1).tolist() == [5, 5, 8]
    assert bool(beads.blocked[0, 2, 6])
    assert not bool(beads.blocked[2].any())


def test_beads_of_one_type_have_one_embedding_in_all_molecules(energies):
    table = energies.table
    assert table.types == ("ALA:CA", "GLY:CA", "PRO:CA", "SER:CA", "TRP:CA")
    assert table.slots == 8
    assert [table.types[i] for i in table.beads(SHORT).types] == ["ALA:CA", "GLY:CA", "ALA:CA", "PRO:CA", "GLY:CA"]
    assert energies.transformer.type_embedding.weight.shape == (5, 8)
    state = energies.state_dict()
    assert sum(name.startswith("transformer.") for name in state) == len(energies.transformer.state_dict())
    assert not any(".transformer." in name for name in state), "the weights are stored once"


@pytest.mark.parametrize("residues", [("ALA", "HIS", "ALA", "ALA"), ("ALA",) * 9])
def test_beads_that_the_table_lacks_are_refused(residues):
    lacks = "it lacks HIS:CA" if "HIS" in residues else "a molecule of 9 beads"
    with pytest.raises(PriorError, match=lacks):
        BeadTable.of(MOLECULES).beads(chain_of(*residues))


def test_the_field_of_a_molecule_has_its_frozen_energy(energies):
    y, _ = noised(LONG, 3)
    field = TransformerEnergyField(energies.members[1], LONG.n_atoms, smallest_width=0.02)
    with torch.no_grad():
        expected = energies.members[1](y, torch.full((3,), 0.1))
    torch.testing.assert_close(field.energy(y, 0.1), expected, rtol=0, atol=1e-12 * float(expected.abs().max()))
    assert field.n_parameters == sum(p.numel() for p in energies.transformer.parameters())
