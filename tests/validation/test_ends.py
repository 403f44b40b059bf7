"""Ends that are minima, and ends that are not."""

import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.surface import ForceFieldSurface
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source
from tpsctl.validation.ends import report_ends
from tpsctl.validation.saddle import TopJudge


@pytest.fixture(scope="module")
def butane(root):
    folder = root / "tests" / "landscape" / "molecules"
    structures = [load_structure(folder / f"butane_{name}.pdb") for name in ("anti", "gauche")]
    topology = structures[0].topology
    made = as_source((str(folder / "butane.xml"),)).create(topology)
    surface = ForceFieldSurface(ContextPool(made.system, threads=1).energies_and_forces, made.masses_amu)
    ends = torch.stack([structure.x for structure in structures])
    return lambda x: TopJudge(surface, BondedCoordinates(topology), equivalence_of(topology, ends[0]), x), ends


def test_structures_that_a_file_rounds_are_minima(butane):
    judge, ends = butane
    for report in report_ends(judge(ends), ends):
        assert report.is_minimum
        assert 0 <= report.energy_kj_per_mol < 0.05  # 42 coordinates, rounded to 1e-4 nm
        assert "is a minimum" in report.words


def test_a_displaced_end_is_no_minimum_and_the_one_below_it_is_named(butane):
    judge, ends = butane
    push = 0.02 * torch.randn(ends[1].shape, generator=torch.Generator().manual_seed(0))
    moved = torch.stack((ends[0], ends[1] + push))
    first, second = report_ends(judge(moved), moved)
    assert first.is_minimum
    assert not second.is_minimum
    assert second.words.startswith("B is no minimum (|grad U| ")
    assert second.words.endswith("Set endpoints.minimize: true")
    exact = minimize(judge(ends).surface, ends[1:], BondedCoordinates(load(butane)))
    energy = judge(ends).surface.energy_gradient(moved[1:])[0] - exact.energy
    # the same minimum from two sides: |grad U| of 1e-3 leaves far less than 1e-6 kJ/mol
    assert second.energy_kj_per_mol == pytest.approx(float(energy), abs=1e-6)


def load(butane):
    judge, ends = butane
    return judge(ends).equivalence.topology
