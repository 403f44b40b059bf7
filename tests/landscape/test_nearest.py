"""The nearest stationary point of any index, on functions whose stationary points are known and on molecules."""

import pytest
import torch

from tpsctl.landscape.nearest import NearestSettings, nearest_stationary
from tpsctl.landscape.stationary import curvatures, index_of
from tpsctl.landscape.surface import FunctionSurface


def egg_box(x):
    """cos x + cos y + cos z with a period of 0.2 nm: minima, saddles of index 1 and 2 and hilltops on a grid."""
    return 10 * (x * (2 * torch.pi / 0.2)).cos().sum((1, 2))


EGG_BOX = FunctionSurface(egg_box, masses_amu=[1.0], rigid_motions=False)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_point_beside_a_stationary_point_of_any_index_leads_to_it(index):
    target = torch.tensor([0.0] * index + [0.1] * (3 - index)).reshape(1, 1, 3)
    away = torch.tensor([0.008, -0.012, 0.01]).reshape(1, 1, 3)
    found = nearest_stationary(EGG_BOX, target + away)
    assert bool(found.converged)
    assert index_of(curvatures(EGG_BOX, found.x, found.hessian)[0]).tolist() == [index]
    # |grad U| <= 1e-3 kJ/mol/nm over the curvature 1e4 kJ/mol/nm^2 is 1e-7 nm
    torch.testing.assert_close(found.x, target, atol=1e-7, rtol=0)
    assert float(found.gradient_norm) <= 1e-3


def test_a_slope_without_stationary_points_has_none():
    slope = FunctionSurface(lambda x: 50 * x[:, 0, 0] + x.square().sum((1, 2)), masses_amu=[1.0], rigid_motions=False)
    found = nearest_stationary(slope, torch.zeros(1, 1, 3))  # the only one is 25 nm away
    assert not bool(found.converged)
    # one step of at most 0.02 nm may lead beyond the limit of 0.05 nm
    assert float(found.x.norm()) <= 0.05 + NearestSettings().max_move_nm


def test_rows_of_a_batch_do_not_depend_on_each_other():
    x = torch.tensor([[0.01, 0.02, 0.09], [0.1, 0.11, 0.08], [0.03, 0.02, 0.01]]).unsqueeze(1)
    together = nearest_stationary(EGG_BOX, x)
    for k in range(3):
        alone = nearest_stationary(EGG_BOX, x[k : k + 1])
        torch.testing.assert_close(together.x[k], alone.x[0], atol=1e-12, rtol=0)  # rounding of batched products


def test_the_planar_ring_of_cyclohexane_has_index_3(cyclohexane):
    from tpsctl.endpoints.ends import align
    from tpsctl.endpoints.load import load_structure

    folder = cyclohexane.folder
    chairs = (load_structure(folder / f"cyclohexane_{name}.pdb") for name in ("chair", "chair_flipped"))
    ends = align(*chairs, equivalent_atoms="keep").x
    surface = cyclohexane.molecule.surface
    found = nearest_stationary(surface, ends.mean(0, keepdim=True))
    assert bool(found.converged)
    assert index_of(curvatures(surface, found.x, found.hessian)[0]).tolist() == [3]
    above = float(found.energy - surface.energy_gradient(ends[:1])[0])
    assert above == pytest.approx(105.63, abs=0.02)  # the chair is rounded to 1e-4 nm, which costs 0.01 kJ/mol
