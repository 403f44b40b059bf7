"""`rate` from a recipe to its numbers: a point in a double well, and a molecule with torsions and a data set."""

import json
import math

import pytest
import torch

from tpsctl.errors import RecipeError, ValidationError
from tpsctl.molecule.geometry import dihedral
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.units import thermal_energy
from tpsctl.workflows.rate import RateSettings, _of_frames, rate_of_recipe

DOUBLE_WELL = """
version: 1
name: wells
seed: 1
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.0]}}
prior: {kind: double_well, barrier_kj_per_mol: 12.0, temperature_k: 300, stiffness_kj_per_mol_nm2: 4000.0}
action: {functional: truncated, dt_ps: 0.001, diffusion_nm2_per_ps: 0.5}
output: {directory: unused}
"""

MOLECULE = """
version: 1
name: molecule
seed: 1
endpoints: {{start: {{structure: {0}/c7eq.pdb}}, end: {{structure: {0}/c7ax.pdb}}}}
prior: {{kind: openmm, force_field: [amber99sbildn.xml], temperature_k: 300}}
output: {{directory: unused}}
"""


def recipe_of(text, folder):
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml", SampleRecipe)


@pytest.fixture
def molecule(root, tmp_path):
    return recipe_of(MOLECULE.format(root / "recipes" / "alanine_dipeptide"), tmp_path)


@pytest.fixture
def data(molecule, tmp_path, generator):
    """Four trajectories of 300 frames of the atoms between both ends, by a straight line and noise."""
    from tpsctl.workflows.sample.assemble import make_system

    system = make_system(molecule.endpoints)
    s = torch.rand(1200, generator=generator)[:, None, None]
    x = (1 - s) * system.ends[0] + s * system.ends[1] + 0.01 * torch.randn(1200, 22, 3, generator=generator)
    zeros = torch.zeros(1200)
    found = Dataset(
        system.topology, 300.0, x, torch.zeros_like(x), zeros, zeros, torch.arange(1200) // 300, zeros, None, {}
    )
    found.save(tmp_path / "data.npz")
    return tmp_path / "data.npz"


def test_three_numbers_of_a_double_well_in_two_dimensions(tmp_path):
    found = rate_of_recipe(
        recipe_of(DOUBLE_WELL, tmp_path), RateSettings(samples=4000, steps=240, draws=50), Progress()
    )
    kt = thermal_energy(300)
    x = torch.linspace(-0.3, 0.3, 20001)
    # the balls of 0.01 nm are small; a committor that is flat across the channel is exact for walls of that radius
    between = torch.linspace(-0.09, 0.09, 20001)
    u, over = (12 / kt * ((y / 0.1).square() - 1).square() for y in (x, between))
    flux = 0.5 / float(torch.trapezoid((-u).exp(), x) * torch.trapezoid(over.exp(), between))
    # the ends lie 4.8 kT below the barrier, where 0.01 nm more or less adds 1 % of the resistance; sampling adds 7 %
    assert found["flux_per_ps"] == pytest.approx(flux, rel=0.25)
    assert found["functional_per_nm2"] == pytest.approx(found["flux_per_ps"] / 2 / 0.5, rel=1e-12)
    assert found["rate_per_ps"] == pytest.approx(found["flux_per_ps"] / found["population_a"], rel=1e-12)
    assert found["population_a"] == pytest.approx(0.5, abs=0.06)
    assert found["diffusion_nm2_per_ps"] == 0.5
    assert not found["notes"]
    assert json.loads(json.dumps(found))["settings"]["radius"] == pytest.approx(0.01)


def test_the_metric_of_torsions_is_that_of_finite_differences(data, generator):
    frames = Dataset.load(data)
    atoms, diffusion = torch.tensor([[4, 6, 8, 14], [6, 8, 14, 16]]), torch.rand(22, generator=generator)
    found = _of_frames(frames.take(torch.arange(2)), atoms, diffusion, 10)
    x, step = frames.positions[0].double(), 1e-6
    slopes = torch.zeros(2, 22, 3)
    for atom in range(22):
        for axis in range(3):
            moved = torch.zeros(22, 3)
            moved[atom, axis] = step
            slopes[:, atom, axis] = (dihedral(x + moved, atoms) - dihedral(x - moved, atoms)) / (2 * step)
    expected = torch.einsum("iax,jax,a->ij", slopes, slopes, diffusion)
    torch.testing.assert_close(found.metric[0], expected, rtol=1e-6, atol=0)  # the error of the differences


def test_a_molecule_has_a_rate_along_its_torsions(molecule, data):
    settings = RateSettings(torsions=("phi ALA2", "psi ALA2"), data=data, samples=600, steps=120, draws=20)
    found = rate_of_recipe(molecule, settings, Progress())
    assert math.isfinite(found["rate_per_ps"])
    assert found["rate_per_ps"] > 0
    assert "functional_per_nm2" not in found
    assert "phi ALA2" in found["states"]
    assert found["settings"]["radius"] == pytest.approx(15)
    assert any("rate of overdamped dynamics. Inertia limits" in note for note in found["notes"])


def test_what_is_missing_or_unknown_is_named(molecule, data, tmp_path, root):
    with pytest.raises(RecipeError, match="--cv, and a data set|with --cv"):
        rate_of_recipe(molecule, RateSettings(), Progress())
    with pytest.raises(RecipeError, match="--data: missing"):
        rate_of_recipe(molecule, RateSettings(torsions=("phi ALA2",)), Progress())
    with pytest.raises(RecipeError, match="--cv: got 'phi ALA3', expected one of"):
        rate_of_recipe(molecule, RateSettings(torsions=("phi ALA3",), data=data), Progress())
    with pytest.raises(ValidationError, match="radius of 0.15"):
        rate_of_recipe(recipe_of(DOUBLE_WELL, tmp_path), RateSettings(radius=0.15), Progress())


def test_a_data_set_of_other_atoms_is_refused(molecule, data, tmp_path):
    few = Dataset.load(data)
    other = Dataset(
        few.topology.select(range(10)),
        300.0,
        few.positions[:, :10],
        few.forces[:, :10],
        few.energies,
        few.bias_energies,
        few.trajectories,
        few.times_ps,
        None,
        {},
    )
    other.save(tmp_path / "other.npz")
    with pytest.raises(RecipeError, match="its 10 atoms are not the 22 of the ends"):
        rate_of_recipe(molecule, RateSettings(torsions=("phi ALA2",), data=tmp_path / "other.npz"), Progress())
