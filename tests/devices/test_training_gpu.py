"""Training on a pretended GPU: the numbers of the CPU, no tensor of it among its own, and few waits."""

import pytest
import torch

from tests.pretend_device import CPU, GPU, PretendedGPU, on_gpu
from tpsctl.networks.internal_energy.network import InternalEnergySizes
from tpsctl.score.levels import cosine_tables
from tpsctl.score.schedule import VarianceExploding
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.energy_denoising import TrainingFrames
from tpsctl.training.objectives.internal_energy import (
    InternalEnergyDenoising,
    InternalEnergySettings,
)
from tpsctl.training.objectives.noise_prediction import NoisePrediction
from tpsctl.training.objectives.points import PointSettings
from tpsctl.training.objectives.velocity import VelocityRegression
from tpsctl.training.targets import KnownBias
from tpsctl.training.widths import WidthLaw

STEPS = 4


@pytest.fixture(autouse=True)
def _float32():
    """As in production; the fixture of all tests puts the default back."""
    torch.set_default_dtype(torch.float32)


def internal_energy(peroxide):
    x, scores = peroxide.frames(1000)
    bias = KnownBias(torch.linspace(0, 2, 1000), torch.tensor([[0, 1, 2, 3]]))
    widths = WidthLaw(0.001, 1.0, VarianceExploding(0.001, 1.0))
    return InternalEnergyDenoising(
        peroxide.topology,
        TrainingFrames(x.float(), scores.float(), bias),
        InternalEnergySizes(hidden=8, layers=2, levels=3, embedding=4),
        widths,
        InternalEnergySettings(batch=32, linear_samples=500),
    )


def points():
    return torch.randn(500, 2, generator=torch.Generator().manual_seed(1))


def noise_prediction(_):
    tables = cosine_tables(64)
    levels = (tables[name].float() for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"))
    return NoisePrediction(points(), PointSettings(8, 32, 0.5), *levels)


def velocity(_):
    return VelocityRegression(points(), PointSettings(8, 32, 0.5))


OBJECTIVES = [internal_energy, noise_prediction, velocity]


def make(objective, peroxide, device):
    settings = LoopSettings(STEPS, WarmUpThenCosine(1e-3, STEPS), RampedDecay(0.9), (0.9, 0.99), 1.0)
    return Loop(objective(peroxide), settings, device)


def everything(loop):
    """All tensors of the state, which are on the CPU."""
    state = loop.store()
    assert not any(on_gpu(tensor) for tensor in state.values())
    return state


def assert_same(state, expected):
    """Equal within a hundredth of a step of Adam, which is 1e-3 for any size of a gradient.

    On the pretended GPU torch joins fewer operations, so gradients differ by rounding, and those near zero by much.
    """
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_on_a_gpu_are_those_of_the_cpu_and_wait_for_the_loss_alone(objective, peroxide):
    here = make(objective, peroxide, CPU)
    list(here.prepare())
    list(here.steps())
    with PretendedGPU() as gpu:
        there = make(objective, peroxide, GPU)
        list(there.prepare())
        counted = []
        for _ in there.steps():
            assert all(on_gpu(parameter) for parameter in there.objective.trained_parameters.values())
            counted.append(gpu.n_waits)
        network = there.averaged_network()
        assert not any(on_gpu(parameter) for parameter in network.parameters())
        state = everything(there)
    assert not gpu.mixes
    waits = [after - before for before, after in zip(counted[1:-1], counted[2:], strict=True)]
    # the loss, and a copy within torch's clipping, whose C++ code sees the CPU on a pretended GPU
    assert max(waits) <= 2, gpu.waits.most_common(5)
    assert_same(state, everything(here))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("first", "second"), [(CPU, GPU), (GPU, CPU), (GPU, GPU)])
def test_a_state_of_one_device_goes_on_on_another(objective, peroxide, first, second):
    unbroken = make(objective, peroxide, CPU)
    list(unbroken.prepare())
    list(unbroken.steps())
    with PretendedGPU() as gpu:
        begun = make(objective, peroxide, first)
        list(begun.prepare())
        list(begun.steps(until=2))
        rest = make(objective, peroxide, second)
        rest.restore(begun.store())
        list(rest.steps())
        state = everything(rest)
    assert not gpu.mixes
    assert_same(state, everything(unbroken))
