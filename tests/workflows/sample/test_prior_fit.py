"""Whether a prior fits the ends, by its noise and by a force field."""

import pytest
import torch

from tpsctl.units import thermal_energy
from tpsctl.validation.energy import EnergyModel
from tpsctl.workflows.sample.prior_fit import force_fit, noise_fit, thermal_force


@pytest.fixture(scope="module")
def peptide(alanine):
    topology, x = alanine
    return EnergyModel(topology, ("amber99sbildn.xml",), x, threads=1), torch.stack((x, x))


def test_the_thermal_force_is_that_of_the_exact_hessian(peptide):
    model, ends = peptide
    n, step = ends[0].numel(), 1e-5
    shifts = step * torch.eye(n).reshape(n, *ends.shape[1:])
    rows = (model.forces(ends[0] - shifts) - model.forces(ends[0] + shifts)).reshape(n, n) / (2 * step)
    exact = (rows.trace() / n / thermal_energy(300)).sqrt()
    found = thermal_force(model, ends, thermal_energy(300))
    # four random directions: off-diagonal elements leave some per cent of the trace
    assert float(found[0]) == pytest.approx(float(exact), rel=0.1)
    assert float(exact) == pytest.approx(340, rel=0.05)  # what the module says


@pytest.mark.parametrize(("error", "verdict"), [(0.0, "ok"), (10.0, "ok"), (45.0, "warn"), (150.0, "FAIL")])
def test_a_score_that_is_far_from_the_force_is_a_failure(peptide, error, verdict):
    model, ends = peptide
    noise = error * torch.randn(ends.shape, generator=torch.Generator().manual_seed(0))
    finding = force_fit(model, model.forces(ends) / thermal_energy(300) + noise, ends, 300)
    assert finding.verdict == verdict
    if verdict == "FAIL":
        assert "the prior does not fit. Check that it belongs to this molecule and force field" in finding.text


def test_a_score_that_is_not_finite_is_a_failure(peptide):
    model, ends = peptide
    assert force_fit(model, torch.full_like(ends, torch.nan), ends, 300).verdict == "FAIL"


@pytest.mark.parametrize(("size", "verdict"), [(0.1, "ok"), (0.5, "warn"), (1.1, "FAIL")])
def test_an_end_that_looks_like_noise_is_a_failure(size, verdict):
    score = torch.full((2, 4, 3), size / 0.01)
    assert noise_fit(score, 0.01).verdict == verdict
