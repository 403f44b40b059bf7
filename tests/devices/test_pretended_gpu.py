"""All priors, functionals and optimizers on a pretended GPU: no tensor of the CPU among its own, and few waits.

What a step may wait for, per optimizer, is `BUDGET`: one copy of all numbers that it decides by, and a second one
where Levenberg-Marquardt asks its model about a flat path. Conjugate gradients look at their residual now and then.
"""

import math

import pytest
import torch

from tests.pretend_device import GPU, PretendedGPU, on_gpu
from tpsctl.action import (
    Dynamics,
    EulerMaruyamaAction,
    ExactDivergence,
    GeometricAction,
    HutchinsonDivergence,
    OnsagerMachlupAction,
    ScoreInPrecision,
    TruncatedAction,
)
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.optimize import LBFGS, SGD, Adam, Convergence, LevenbergMarquardt, String
from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.fields.internal_energy import InternalEnergyField
from tpsctl.prior.fields.perceptron import PerceptronField
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.prior.network import energy_prior, noise_prior, velocity_prior
from tpsctl.prior.reordered import ReorderedPrior
from tpsctl.score.levels import Levels, cosine_tables
from tpsctl.score.schedule import VarianceExploding
from tpsctl.workflows.sample.trace import Trace, describe_step

IMAGES, BEADS = 6, 4
NEVER = Convergence(0.0, 0.0)
METHODS = {
    "adam": Adam(learning_rate_nm=1e-5, max_steps=4, convergence=NEVER),
    "sgd": SGD(learning_rate_nm2=1e-9, max_steps=4, convergence=NEVER),
    "lbfgs": LBFGS(max_steps=5, convergence=NEVER),
    "lm_block": LevenbergMarquardt(max_steps=5, convergence=NEVER, solver="block"),
    "lm_newton": LevenbergMarquardt(max_steps=5, convergence=NEVER, solver="newton"),
    "lm_products": LevenbergMarquardt(max_steps=3, convergence=NEVER, solver="products"),
    "string": String(max_steps=6, convergence=NEVER),
    "string_plain": String(max_steps=6, convergence=NEVER, preconditioned=False),
}
PRODUCTS = 100
BUDGET = {"adam": 1, "sgd": 1, "lbfgs": 1, "lm_block": 2, "lm_newton": 2, "lm_products": 2 + 2 * PRODUCTS // 10}
BUDGET |= {"string": 2, "string_plain": 1}
"""Most waits of a step; the matrix-free solver looks at its residual at every tenth of at most 100 products, and it
solves twice a step (direction and bend), and a string waits for its modes when they are renewed."""


def random_network(sizes):
    network = GraphTransformer(sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    return network


def network_prior(kind, field, **units):
    if kind == "diffusion":
        return noise_prior(field, Levels(cosine_tables(100)), temperature_k=300.0, **units)
    return velocity_prior(field, temperature_k=300.0, **units)


def graph_prior(kind, *, types=0, positions=False, distances=False, outputs=1):
    sizes = GraphTransformerSizes(BEADS, types, 8, 2, 2, 4, positions, True, distances, outputs)
    known = torch.arange(BEADS) % types if types else None
    field = GraphTransformerField(random_network(sizes), Beads(torch.arange(BEADS), known))
    return network_prior(kind, field, scale_nm=(0.5,), offset_nm=(0.1,))


def point_prior(kind):
    field = PerceptronField(Perceptron(PerceptronSizes(2, 16, 3, "gelu")))
    return network_prior(kind, field, scale_nm=(9.0, 8.0), offset_nm=(25.0, 24.0))


def trained_prior(peroxide, kind):
    network = InternalEnergy(peroxide.topology, InternalEnergySizes(hidden=8, layers=2, levels=4, embedding=5))
    network.linear.log_sigmas.copy_(torch.linspace(-7, 0, 4))
    network.linear.coefficients.normal_()
    torch.nn.init.normal_(network.net.output.weight)
    field = InternalEnergyField(network, peroxide.topology.n_atoms, smallest_width=0.001)
    return energy_prior(kind, field, VarianceExploding(0.001, 0.3), peroxide.topology, temperature_k=300.0)


PRIORS = {
    "gaussian": lambda _: GaussianPrior(mean_nm=(0.0, 0.0), std_nm=0.1),
    "mueller_brown": lambda _: MuellerBrownPrior(temperature_k=300.0),
    "double_well": lambda _: DoubleWellPrior(
        temperature_k=300.0, barrier=20.0, half_distance_nm=0.2, stiffness=2000.0, n_dims=2
    ),
    "trained diffusion": lambda peroxide: trained_prior(peroxide, "diffusion"),
    "trained flow": lambda peroxide: trained_prior(peroxide, "flow_matching"),
    "reordered": lambda peroxide: ReorderedPrior(trained_prior(peroxide, "diffusion"), [3, 1, 2, 0], peroxide.topology),
    "graph diffusion": lambda _: graph_prior("diffusion"),
    "graph flow": lambda _: graph_prior("flow_matching", positions=True),
    "graph with types": lambda _: graph_prior("diffusion", types=3, distances=True),
    "graph of vectors": lambda _: graph_prior("diffusion", outputs=3),
    "point diffusion": lambda _: point_prior("diffusion"),
    "point flow": lambda _: point_prior("flow_matching"),
}
NETWORKS = [name for name in PRIORS if name.split()[0] not in ("gaussian", "mueller_brown", "double_well")]
FUNCTIONALS = {
    "truncated": TruncatedAction,
    "euler_maruyama": EulerMaruyamaAction,
    "geometric": GeometricAction,
    "exact": lambda score, motion: OnsagerMachlupAction(score, motion, ExactDivergence()),
    "hutchinson": lambda score, motion: OnsagerMachlupAction(score, motion, HutchinsonDivergence(probes=2)),
}


def bows(prior, device):
    """Two paths between random ends, and their dynamics; one of them is a straight line."""
    size = 9.0 if prior.n_beads == 1 and prior.n_dims == 2 and prior.kind != "gaussian" else 0.2
    ends = size * torch.randn(2, prior.n_beads, prior.n_dims)
    s = torch.linspace(0, 1, IMAGES).view(-1, 1, 1)
    line = (1 - s) * ends[0] + s * ends[1]
    bow = torch.sin(math.pi * s) * 0.1 * size * torch.randn(prior.n_beads, prior.n_dims)
    paths = torch.stack([line, line + bow])
    paths[1, [0, -1]] = line[[0, -1]]
    return paths.to(device), Dynamics(1e-3, torch.linspace(0.5, 1.0, prior.n_beads))


def make(name, functional, peroxide, device):
    torch.manual_seed(7)
    prior = PRIORS[name](peroxide).to(device=device, dtype=torch.float64)
    paths, motion = bows(prior, device)
    time = 0.0 if prior.kind in ("gaussian", "mueller_brown", "double_well") else 0.3
    return FUNCTIONALS[functional](ScoreInPrecision(prior.at(time), torch.float64), motion), paths


def minimize(method, action, paths, **how):
    return METHODS[method].minimize(action, paths, **how)


ALL = [(name, functional) for name in PRIORS for functional in ("truncated", "hutchinson")]
ALL += [(name, "geometric") for name in ("double_well", "trained diffusion", "graph diffusion", "reordered")]
ALL += [("reordered", "exact"), ("reordered", "euler_maruyama"), ("graph flow", "euler_maruyama")]


@pytest.mark.parametrize(("name", "functional"), ALL, ids=lambda word: word)
def test_terms_and_gradients_of_every_prior_and_functional(name, functional, peroxide):
    action, paths = make(name, functional, peroxide, "cpu")
    terms, gradient = action.value_and_gradient(paths)
    with PretendedGPU() as gpu:
        action, paths = make(name, functional, peroxide, GPU)
        before = gpu.n_waits
        there, its_gradient = action.value_and_gradient(paths)
        first = gpu.n_waits - before
        action.value_and_gradient(paths)
        assert gpu.n_waits - before == first, f"a wait that is not only at the first call: {gpu.waits}"
        assert on_gpu(there.total)
        assert on_gpu(its_gradient)
    assert not gpu.mixes
    torch.testing.assert_close(there.total, terms.total)
    torch.testing.assert_close(its_gradient, gradient)


def waits_of_steps(method, action, paths, gpu, **how):
    """Minimize, and count what each step waited for, what a watching run asks of the reports included."""
    counted, trace = [gpu.n_waits], Trace()

    def watch(report):
        trace.note(report)
        describe_step(report)

    def between_steps(take):
        counted.append(gpu.n_waits)

    found = minimize(method, action, paths, on_step=watch, between_steps=between_steps, **how)
    return found, torch.tensor(counted).diff().tolist()[1:]  # the first step copies constants and plans chunks


CASES = [("double_well", method) for method in METHODS]
CASES += [(name, "lm_block") for name in NETWORKS]
CASES += [("graph diffusion", "adam"), ("reordered", "adam")]
CASES += [(name, "string") for name in ("mueller_brown", "trained diffusion", "graph diffusion", "reordered")]
CASES += [("trained diffusion", "string_plain")]
CASES += [("mueller_brown", "lm_newton"), ("point diffusion", "lm_newton")]
CASES += [("gaussian", "lbfgs"), ("graph flow", "lbfgs"), ("trained diffusion", "lbfgs")]


@pytest.mark.parametrize(("name", "method"), CASES, ids=lambda word: word)
def test_steps_wait_within_the_budget_and_end_where_the_cpu_ends(name, method, peroxide):
    action, paths = make(name, "truncated", peroxide, "cpu")
    expected, outcome = minimize(method, action, paths)
    with PretendedGPU() as gpu:
        action, paths = make(name, "truncated", peroxide, GPU)
        (found, its_outcome), waits = waits_of_steps(method, action, paths, gpu)
        assert on_gpu(found)
        assert torch.equal(found[:, [0, -1]], paths[:, [0, -1]])
    assert not gpu.mixes
    assert max(waits) <= BUDGET[method], gpu.waits.most_common(10)
    assert its_outcome.status == outcome.status
    if method != "lm_products":  # which looks at its residual less often on a GPU
        torch.testing.assert_close(its_outcome.terms.total, outcome.terms.total)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("functional", ["hutchinson", "euler_maruyama"])
@pytest.mark.parametrize("method", ["sgd", "lbfgs"])
def test_other_functionals_in_steps(functional, method, peroxide):
    with PretendedGPU() as gpu:
        action, paths = make("graph diffusion", functional, peroxide, GPU)
        _, waits = waits_of_steps(method, action, paths, gpu)
    assert not gpu.mixes
    assert max(waits) <= BUDGET[method], gpu.waits.most_common(10)


def test_a_flat_path_costs_one_more_wait():
    """Levenberg-Marquardt then asks its model what decrease is still to come."""
    with PretendedGPU() as gpu:
        prior = GaussianPrior(mean_nm=(0.0, 0.0), std_nm=0.1)
        paths, motion = bows(prior, GPU)
        action = TruncatedAction(prior.at(0.0), motion)
        optimizer = LevenbergMarquardt(max_steps=20, convergence=Convergence(0.0, 1e9), solver="block")
        counted = []
        optimizer.minimize(action, paths, between_steps=lambda take: counted.append(gpu.n_waits))
    waits = torch.tensor(counted).diff().tolist()
    assert 2 in waits
    assert max(waits) == 2


@pytest.mark.parametrize("method", METHODS)
def test_cut_after_any_step_it_goes_on_bit_by_bit(method, peroxide):
    name = "graph diffusion" if method in ("adam", "lm_block") else "double_well"
    with PretendedGPU() as gpu:
        action, paths = make(name, "truncated", peroxide, GPU)
        states = []
        found, outcome = minimize(method, action, paths, between_steps=lambda take: states.append(take()))
        for state in states[1::2]:
            stored = {key: value.cpu() for key, value in state.items()}
            action, paths = make(name, "truncated", peroxide, GPU)
            again, its_outcome = minimize(method, action, paths, state=stored)
            assert torch.equal(again.cpu(), found.cpu())
            assert torch.equal(its_outcome.terms.total, outcome.terms.total)
    assert not gpu.mixes


def test_jacobians_and_products_of_every_prior(peroxide):
    for name in PRIORS:
        action, paths = make(name, "truncated", peroxide, "cpu")
        expected = action.scaled_jacobian(paths)
        with PretendedGPU() as gpu:
            action, paths = make(name, "truncated", peroxide, GPU)
            found = action.scaled_jacobian(paths)
            forward, backward = action.scaled_products(paths)
            v = torch.ones_like(paths[:, 1:-1].flatten(2))
            forward(v), backward(v)
        assert not gpu.mixes, name
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", [name for name in PRIORS if "double" not in name and "mueller" not in name])
def test_generative_priors_noise_denoise_and_sample(name, peroxide):
    with PretendedGPU() as gpu:
        torch.manual_seed(7)
        prior = PRIORS[name](peroxide).to(device=GPU, dtype=torch.float64)
        x, random = torch.zeros(3, prior.n_beads, prior.n_dims), torch.Generator().manual_seed(0)
        for device in ("cpu", GPU):
            noised = prior.noise(x.to(device), 0.5, random)
            clean = prior.denoise(noised, 0.5, random, steps=3, shared_noise=True)
            assert on_gpu(clean) == (device is GPU)
        prior.sample(2, random, steps=3)
    assert not gpu.mixes
