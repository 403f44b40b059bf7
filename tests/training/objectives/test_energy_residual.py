"""The objective of chain energies learns, and a run that was cut in two is bit for bit the unbroken one."""

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.networks.chain_energy.network import ChainEnergy, ChainEnergySizes
from tpsctl.score.schedule import VarianceExploding
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.base import seeded
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.objectives.energy_residual import ResidualDenoising, ResidualSettings
from tpsctl.training.targets import KnownBias
from tpsctl.training.widths import BANDS_OF_BEADS, WidthLaw

SIZES = ChainEnergySizes(hidden=24, layers=2, levels=3, embedding=4, gaussians=3)


@pytest.fixture(autouse=True)
def _float32():
    """As in production; the fixture of all tests puts the default back."""
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def make(peroxide):
    """Peroxide is a chain of four beads whose energy depends on its torsion, which distances alone do not give."""

    def make(frames=2000, forces=True, biased=False, steps=400, seed=0, bands=BANDS_OF_BEADS, **changes):
        x, scores = peroxide.frames(frames)
        bias = KnownBias(torch.linspace(0, 2, frames), torch.tensor([[0, 1, 2, 3]])) if biased else None
        data = TrainingFrames(x.float(), scores.float() if forces else None, bias)
        network = seeded(seed, lambda: ChainEnergy(peroxide.topology, SIZES))
        widths = WidthLaw(0.001, 1.0, VarianceExploding(0.001, 1.0), bands=bands)
        settings = ResidualSettings(**{"batch": 64, "fit_samples": 500} | changes)
        law = WarmUpThenCosine(1e-3, steps)
        objective = ResidualDenoising(peroxide.topology, data, network, widths, settings)
        return Loop(objective, LoopSettings(steps, law, RampedDecay(0.999), (0.9, 0.99), 1.0, seed))

    return make


def everything(loop):
    """All tensors of the state as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in loop.store().items()}


def test_the_loss_falls_by_what_only_the_network_can_learn(make):
    """The energy of the frames has a fivefold torsion, which three Gaussians per pair cannot express."""
    loop = make()
    list(loop.prepare())
    losses = [loss for _, loss in loop.steps()]
    assert sum(losses[-50:]) < 0.9 * sum(losses[:50])


@pytest.mark.parametrize(("forces", "biased"), [(False, False), (True, True)])
def test_a_run_broken_anywhere_ends_bit_for_bit_like_the_unbroken_one(make, forces, biased):
    unbroken = make(forces=forces, biased=biased, steps=4)
    states = [unbroken.store()]
    states += [unbroken.store() for _ in unbroken.prepare()]
    assert len(states) == 1 + 3 + 3, "three tables, and a fit at every width"
    states += [unbroken.store() for _ in unbroken.steps()]
    for state in states[1::2]:
        rest = make(forces=forces, biased=biased, steps=4)
        rest.restore(state)
        list(rest.prepare())
        list(rest.steps())
        assert everything(rest) == everything(unbroken)


def test_only_the_perceptron_is_trained(make):
    loop = make(steps=3)
    list(loop.prepare())
    before = loop.store()
    list(loop.steps())
    after = loop.store()
    changed = {name for name in before if name.startswith("network.") and not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("network.net.") for name in changed)


def test_states_of_other_runs_are_refused(make):
    state = make().store()
    make().restore(state)
    others = [{"batch": 65}, {"frames": 1999}, {"forces": False}, {"biased": True}, {"bands": ((1.0, 1.0),)}]
    for changes in others:
        with pytest.raises(DataError, match="saved state belongs to a training with other settings or data"):
            make(**changes).restore(state)


def test_the_features_are_normalized_at_every_width_of_the_tables(make, generator):
    loop = make()
    list(loop.prepare())
    network = loop.objective.network
    for log_sigma in network.pairs.log_sigmas:
        batch = loop.objective._source.draw(log_sigma.exp().expand(2000), generator)
        z = network.features(network.coordinates(batch.y), network.tables(batch.sigma))
        # 3000 and 2000 samples; a handedness narrower than 1e-3, and a distance than 0.002 nm, are less spread than 1
        assert float(z.mean(0).abs().max()) < 0.1
        assert float(z.std(0).max()) < 1.1
