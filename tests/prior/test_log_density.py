"""The log density of a prior, whose gradient is its score."""

import pytest
import torch

from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.prior.reordered import ReorderedPrior

STEP_NM = 1e-6


def slope(prior, x, direction, t):
    """Central difference of the log density along a direction, 1/nm."""
    ahead, behind = (prior.log_density(x + sign * STEP_NM * direction, t) for sign in (1, -1))
    return (ahead - behind) / (2 * STEP_NM)


def double_well():
    return DoubleWellPrior(temperature_k=300.0, barrier=20.0, half_distance_nm=0.1, stiffness=1000.0, n_dims=2)


@pytest.mark.parametrize(
    ("prior", "t"), [(double_well(), 0.0), (GaussianPrior(mean_nm=[0.1, 0.2], std_nm=0.3), 0.3)], ids=["well", "normal"]
)
def test_its_slope_is_the_score_of_model_systems(prior, t):
    x, direction = torch.tensor([[[0.03, 0.02]], [[-0.08, 0.01]]]), torch.tensor([[[0.6, -0.8]]])
    expected = (prior.at(t)(x) * direction).sum((1, 2))
    torch.testing.assert_close(slope(prior, x, direction, t), expected, rtol=1e-6, atol=1e-6)  # step^2


def test_its_slope_is_the_score_of_a_force_field_in_any_order(alanine):
    topology, x = alanine
    prior = OpenMMPrior(topology, ("amber99sbildn.xml",), temperature_k=300.0, threads=1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = torch.empty_like(x)
    shuffled[order] = x + 0.002 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    reordered = ReorderedPrior(prior, order, topology)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))[None]
    expected = (reordered.at(0.0)(shuffled[None]) * direction).sum((1, 2))
    # the slope is 1e4 per nm; cancellation of energies of 1e2 kT leaves 1e-14 * 1e2 / 1e-6 per nm
    torch.testing.assert_close(slope(reordered, shuffled[None], direction, 0.0), expected, rtol=1e-5, atol=1e-5)


def test_the_embedded_prior_knows_its_energy(root):
    from tpsctl.endpoints.load import load_structure
    from tpsctl.workflows.checkpoints import open_prior

    folder = root / "recipes" / "alanine_dipeptide"
    structure = load_structure(folder / "c7eq.pdb")
    prior = open_prior(folder / "diffusion.safetensors", structure.topology).to(device="cpu", dtype=torch.float64)
    direction = torch.randn(structure.x.shape, generator=torch.Generator().manual_seed(3))[None]
    expected = (prior.at(0.01)(structure.x[None]) * direction).sum((1, 2))
    # second differences of 1e5 kT/nm^2 and rounding as above
    torch.testing.assert_close(slope(prior, structure.x[None], direction, 0.01), expected, rtol=1e-4, atol=1e-4)
