"""The loss of several molecules with one transformer is the mean of the losses that each of them has alone."""

import pytest
import torch

from tests.networks.chain_energy.test_shared import LONG, MOLECULES, SHORT, SIZES, noised
from tpsctl.networks.chain_energy.shared import SharedEnergy
from tpsctl.networks.graph_transformer.bead_table import BeadTable
from tpsctl.score.schedule import VarianceExploding
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.objectives.energy_residual import ResidualDenoising, ResidualSettings
from tpsctl.training.objectives.shared_denoising import SharedDenoising
from tpsctl.training.widths import BANDS_OF_BEADS, WidthLaw


@pytest.fixture
def objective():
    """A prepared objective whose transformer has random weights; float64."""
    widths = WidthLaw(0.02, 2.0, VarianceExploding(0.02, 2.0), bands=BANDS_OF_BEADS)
    network = SharedEnergy(MOLECULES, BeadTable.of(MOLECULES), SIZES)
    parts = {}
    for name, topology, member in zip(("short", "long"), MOLECULES, network.members, strict=True):
        training, held_out = (TrainingFrames(noised(topology, 60)[0], None, None) for _ in range(2))
        settings = ResidualSettings(batch=6, fit_samples=100)
        parts[name] = ResidualDenoising(topology, training, member, widths, settings, held_out=held_out)
    found = SharedDenoising(network, parts)
    generator = torch.Generator().manual_seed(0)
    for piece in found.preparation():
        piece.run(generator, lambda: None)
    for parameter in network.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return found, parts


def test_the_loss_is_the_mean_of_those_of_the_molecules_alone(objective):
    """Padding changes the order of sums only; 1e-10 is a million roundings of a loss about 1."""
    shared, parts = objective
    batch = shared.draw(torch.Generator().manual_seed(1))
    alone = [float(part.loss(frames).detach()) for part, frames in zip(parts.values(), batch.molecules, strict=True)]
    found = {name: float(loss.detach()) for name, loss in shared.losses(batch).items()}
    assert list(found.values()) == pytest.approx(alone, rel=1e-10)
    assert float(shared.loss(batch).detach()) == pytest.approx(sum(alone) / 2, rel=1e-10)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_the_gradient_by_the_weights_is_the_mean_of_those_alone(objective):
    shared, parts = objective
    batch, weights = shared.draw(torch.Generator().manual_seed(1)), list(shared.trained_parameters.values())

    def slopes(loss):
        return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

    alone = [slopes(part.loss(frames)) for part, frames in zip(parts.values(), batch.molecules, strict=True)]
    found = slopes(shared.loss(batch))
    largest = max(float(slope.abs().max()) for slope in found)
    for together, one, other in zip(found, *alone, strict=True):
        torch.testing.assert_close(together, (one + other) / 2, rtol=0, atol=1e-10 * largest)


def test_processes_share_the_structures_of_every_molecule(objective):
    shared, _ = objective
    batch = shared.draw(torch.Generator().manual_seed(1))
    assert len(batch) == 6
    halves = [batch.part(first, 2) for first in (0, 1)]
    assert [len(frames) for half in halves for frames in half.molecules] == [3, 3, 3, 3]
    mean = sum(float(shared.loss(half).detach()) for half in halves) / 2
    assert mean == pytest.approx(float(shared.loss(batch).detach()), rel=1e-10)


def test_only_the_transformer_is_trained_and_every_molecule_prepared(objective):
    shared, _ = objective
    assert set(shared.trained_parameters) == {name for name, _ in shared.network.transformer.named_parameters()}
    names = [piece.name for piece in shared.preparation()]
    assert names[0] == "short: tables of the targets"
    assert names[-1] == "long: tables of the loss"
    assert [member.scale.item() != 1 for member in shared.network.members] == [True, True]
    assert shared.held_out_batch(torch.Generator().manual_seed(0)).molecules[1].y.shape[1:] == (LONG.n_atoms, 3)
    assert SHORT.n_atoms == 5


def test_the_state_goes_back_to_its_molecule(objective):
    shared, parts = objective
    stored = {name: value.clone() for name, value in shared.store().items()}
    assert any(name.startswith("1.") for name in stored)
    for part in parts.values():
        part.restore({name: torch.zeros_like(value) for name, value in part.store().items()})
    shared.restore(stored)
    for name, value in shared.store().items():
        assert torch.equal(value, stored[name])
