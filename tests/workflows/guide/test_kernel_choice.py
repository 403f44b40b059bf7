"""In what samples are drawn to guides: what a recipe may name, and what it gets."""

from types import SimpleNamespace

import pytest

from tpsctl.endpoints.load import load_structure
from tpsctl.errors import RecipeError
from tpsctl.recipe.guide import SuperposedKernelSection, TorsionKernelSection
from tpsctl.score.guidance.metrics import InTorsions, Superposition
from tpsctl.workflows.guide.kernels.density import metric_of


@pytest.fixture
def tools(root):
    structure = load_structure(root / "recipes" / "alanine_dipeptide" / "c7eq.pdb")
    law = SimpleNamespace(centered=True)
    prior = SimpleNamespace(n_beads=22, n_dims=3)
    return SimpleNamespace(
        prior=prior, model=SimpleNamespace(law=law), topology=structure.topology, is_molecule=True, x=structure.x
    )


def test_all_coordinates_are_the_default(tools):
    found = metric_of(tools, SuperposedKernelSection(kind="superposed"))
    assert isinstance(found, Superposition)
    assert (found.features, found.is_length) == (66, True)


@pytest.mark.parametrize(("names", "count"), [(None, 4), (("phi ALA2",), 1), (("phi ALA2", "psi ALA2"), 2)])
def test_torsions_are_those_named_or_all_that_turn(tools, names, count):
    found = metric_of(tools, TorsionKernelSection(kind="torsions", torsions=names))
    assert isinstance(found, InTorsions)
    assert (found.features, found.is_length) == (count, False)
    assert found.squared(tools.x.unsqueeze(0), tools.x.unsqueeze(0)).item() == pytest.approx(0, abs=1e-12)


def test_a_torsion_that_is_not_there_is_refused_with_those_that_are(tools):
    with pytest.raises(RecipeError, match=r"got 'chi1 ALA2', expected some of omega ALA2, phi ALA2, psi ALA2"):
        metric_of(tools, TorsionKernelSection(kind="torsions", torsions=("chi1 ALA2",)))


def test_points_have_no_torsions(tools):
    tools.is_molecule = False
    with pytest.raises(RecipeError, match="no bond of this prior's molecule can turn"):
        metric_of(tools, TorsionKernelSection(kind="torsions"))
