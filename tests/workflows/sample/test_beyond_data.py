"""Paths that leave the data of their prior are named, by the regions in the checkpoint's verdict."""

import math
from pathlib import Path

import pytest
import torch

from tpsctl.checkpoints.stored_regions import StoredRegions
from tpsctl.checkpoints.stored_verdict import StoredVerdict
from tpsctl.guess.base import straight_line
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.torsion_cover import TorsionCover
from tpsctl.molecule.torsions import named_torsions
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import beyond_data as module
from tpsctl.workflows.sample.beyond_data import beyond_data, note_on
from tpsctl.workflows.sample.tools import Tools

ROOT = Path(__file__).parents[3]
NAMES = ("phi ALA2", "psi ALA2")


@pytest.fixture(scope="module")
def tools():
    """Alanine dipeptide with its prior."""
    recipe = load_recipe(ROOT / "recipes" / "alanine_dipeptide.yaml", SampleRecipe, [])
    return Tools(recipe, torch.device("cpu"), 1)


@pytest.fixture(scope="module")
def line(tools):
    """From end to end: phi turns by 150 degrees."""
    return straight_line(tools.system.ends_of(0), 24)


def regions(tools, x, radius_deg):
    """Regions around the torsions of these structures."""
    atoms = {torsion.name: torsion.atoms for torsion in named_torsions(tools.system.topology)}
    centers = dihedral(x, torch.tensor([atoms[name] for name in NAMES]))
    return StoredRegions(NAMES, TorsionCover(centers, math.radians(radius_deg)), 0.5)


def test_a_path_within_the_data_has_no_note(tools, line):
    assert note_on(regions(tools, line, 1), tools.system.topology, [line]) is None


def test_a_path_between_two_basins_leaves_the_data(tools, line):
    stays = line[:1].repeat(5, 1, 1)
    note = note_on(regions(tools, line[[0, -1]], 20), tools.system.topology, [stays, line])
    assert note.startswith("1 of 2 paths (1) pass where the prior has no data, farthest path 1 at image ")
    assert "nearest of the 2 regions of the data, which have a radius of 20." in note


def test_many_paths_are_not_all_named(tools, line):
    note = note_on(regions(tools, line[[0, -1]], 20), tools.system.topology, [line] * 9)
    assert note.startswith("9 of 9 paths (0, 1, 2, 3, 4, 5 ...)")


def test_regions_of_another_molecule_say_nothing(tools, line):
    other = StoredRegions(("chi1 TRP2",), TorsionCover(torch.zeros(1, 1, dtype=torch.float64), 0.1), None)
    assert note_on(other, tools.system.topology, [line]) is None


def test_the_verdict_of_the_checkpoint_is_asked(tools, line, monkeypatch):
    narrow = StoredVerdict(True, "fit.", None, regions(tools, line[[0, -1]], 20))
    monkeypatch.setattr(module, "verdict_of", lambda section, topology: narrow)
    assert len(beyond_data(tools, [line])) == 1
    assert beyond_data(tools, [line[:1]]) == beyond_data(tools, []) == ()
    monkeypatch.setattr(module, "verdict_of", lambda section, topology: StoredVerdict())
    assert beyond_data(tools, [line]) == ()


def test_a_force_field_knows_everything(line):
    recipe = load_recipe(ROOT / "recipes" / "trp_cage_classical.yaml", SampleRecipe, [])
    assert beyond_data(Tools(recipe, torch.device("cpu"), 1), [line]) == ()
