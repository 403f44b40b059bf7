"""A reordered prior is the same function of relabeled beads."""

import torch

from tpsctl.molecule.topology import Atom, Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.reordered import ReorderedPrior
from tpsctl.score.base import AutogradScore

ORDER = [2, 0, 3, 1]


class Anharmonic(Prior):
    """Beads that are all different, so that order matters."""

    kind, n_beads, n_dims, temperature_k, conservative, generative = "test", 4, 3, 300.0, True, True

    def at(self, t):
        stiffness = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(-1, 1)
        return AutogradScore(lambda x: -stiffness * x**3 - x.roll(1, 1) - x.roll(-1, 1) - t)

    def noise(self, x, t, generator):
        return x + t * torch.arange(4.0).reshape(-1, 1)


def both():
    atoms = tuple(Atom(f"X{k}", "C", "LIG", 1, "", 12.0) for k in range(4))
    prior = Anharmonic()
    return prior, ReorderedPrior(prior, ORDER, Topology(atoms, ()))


def test_score_and_derivatives_are_permuted():
    prior, reordered = both()
    x, v = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    plain, ours = prior.at(0.5), reordered.at(0.5)
    assert torch.allclose(ours(x)[:, ORDER], plain(x[:, ORDER]))
    assert torch.allclose(ours.jvp(x, v)[:, ORDER], plain.jvp(x[:, ORDER], v[:, ORDER]))
    assert torch.allclose(ours.with_vjp(x)[1](v)[:, ORDER], plain.with_vjp(x[:, ORDER])[1](v[:, ORDER]))
    jacobian = torch.autograd.functional.jacobian(lambda y: _flat_score(y, prior), x[0].flatten())
    assert torch.allclose(ours.jacobian(x)[0], jacobian)


def _flat_score(y, prior):
    x = y.reshape(4, 3)[ORDER]
    stiffness = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(-1, 1)
    score = -stiffness * x**3 - x.roll(1, 0) - x.roll(-1, 0) - 0.5
    return score[torch.argsort(torch.tensor(ORDER))].flatten()


def test_noise_meets_the_same_beads():
    prior, reordered = both()
    x = torch.zeros(1, 4, 3)
    noised = reordered.noise(x, 1.0, torch.Generator())
    assert torch.equal(noised[:, ORDER], prior.noise(x, 1.0, torch.Generator()))
    assert reordered.to(device="cpu", dtype=torch.float64).n_beads == 4
