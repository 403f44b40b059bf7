"""The free energy of a simulation behind paths: weights undo a bias, slow coordinates are slow."""

import numpy as np
import pytest
import torch

from tests.workflows.report.test_run import PEPTIDE, data_of, run
from tpsctl.errors import EndpointError, RecipeError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.simulation.dataset import Dataset
from tpsctl.units import thermal_energy
from tpsctl.validation.ensemble.markov import slow_axes
from tpsctl.workflows.density import Density, ramachandran_backgrounds, read_density, slow_map
from tpsctl.workflows.report.run import report_run
from tpsctl.workflows.stored_run import StoredRun


@pytest.fixture(scope="module")
def peptide(tmp_path_factory, request):
    folder = request.config.rootpath / "recipes" / "alanine_dipeptide"
    return run(tmp_path_factory.mktemp("peptide"), PEPTIDE.format(folder=folder))


def dataset(found, frames, bias_kj_per_mol):
    """A data set of images of the first path of a run."""
    x = found.path(0)[frames].float()
    count = len(frames)
    return Dataset(
        topology=found.topology,
        temperature_k=300.0,
        positions=x,
        forces=torch.zeros_like(x),
        energies=torch.zeros(count),
        bias_energies=torch.tensor(bias_kj_per_mol),
        trajectories=torch.arange(count) % 2,
        times_ps=torch.zeros(count),
        bias=None,
        settings={},
    )


def test_weights_undo_the_bias_of_a_data_set(peptide, tmp_path):
    """Three frames at A, one of them with a bias of -2 kJ/mol, and one at B: F(B) - F(A) = kT ln(2 + e^(-2/kT))."""
    found = StoredRun.read(peptide)
    dataset(found, [0, 0, 0, -1], [0.0, 0.0, -2.0, 0.0]).save(tmp_path / "data.npz")
    background = ramachandran_backgrounds(found, read_density(found, tmp_path / "data.npz"))["ala2"]
    kT = thermal_energy(300.0)
    known = np.sort(background.values[np.isfinite(background.values)])
    np.testing.assert_allclose(known, [0.0, kT * np.log(2 + np.exp(-2.0 / kT))], atol=1e-9)


def test_a_data_set_of_another_molecule_is_refused(peptide, tmp_path):
    found = StoredRun.read(peptide)
    data = dataset(found, [0, 1], [0.0, 0.0])
    fewer = Topology(found.topology.atoms[:-1], tuple(bond for bond in found.topology.bonds if max(bond) < 21))
    other = Dataset(
        **(vars(data) | {"topology": fewer, "positions": data.positions[:, :-1], "forces": data.forces[:, :-1]})
    )
    other.save(tmp_path / "other.npz")
    with pytest.raises(EndpointError, match=r"other\.npz: has 21 atoms, expected the 22 atoms of the run"):
        read_density(found, tmp_path / "other.npz")


def test_the_report_draws_the_free_energy_behind_the_dihedrals(peptide, tmp_path):
    density = peptide / "paths" / "path_0000.dcd"
    report_run(peptide, out=tmp_path / "page.html", density=density, overwrite=False)
    shading = data_of(tmp_path / "page.html")["panels"][0]["shading"]
    assert shading["name"] == "free energy of path_0000.dcd"
    assert len(shading["values"]) == len(shading["y"]) == 60
    assert min(value for row in shading["values"] for value in row if value is not None) == 0


def test_the_slowest_coordinate_is_the_slow_one_of_a_mixture():
    """Two independent chains x(t+1) = a x(t) + noise with a = 0.99 and 0.5, mixed: TICA finds the slow one."""
    generator = np.random.default_rng(3)
    count, rates = 20_000, np.array([0.99, 0.5])
    noise = generator.normal(size=(count, 2)) * np.sqrt(1 - rates**2)
    chains = np.zeros((count, 2))
    for t in range(1, count):
        chains[t] = rates * chains[t - 1] + noise[t]
    features = torch.from_numpy(chains @ np.array([[1.0, 0.7], [3.0, -2.0]]))
    slow = slow_axes([features], dimensions=2).project(features).numpy()
    correlation = np.abs(np.corrcoef(slow.T, chains.T)[:2, 2:])
    # at lag 10 the fast chain has decayed to 0.5^10, so it leaks by about 1 / sqrt(effective frames), 1 %
    np.testing.assert_allclose(correlation, np.eye(2), atol=0.03)


@pytest.fixture
def beads():
    """A chain of nine beads and two paths of nine images along which it bends."""
    atoms = tuple(Atom("CA", "C", "ALA", k + 1, "A", 12.0) for k in range(9))
    topology = Topology(atoms, tuple((k, k + 1) for k in range(8)))
    paths = torch.stack([bent(torch.linspace(0.05, 0.7, 9)), bent(torch.linspace(0.05, 0.7, 9))])
    return topology, paths


def bent(angles):
    """Chains (frame, bead, 3) of nine beads, 0.38 nm apart, that turn by an angle at every bead, nm."""
    turned = angles.unsqueeze(1) * torch.arange(8)
    steps = torch.stack((turned.cos(), turned.sin(), 0.1 * torch.ones_like(turned)), -1)
    steps = 0.38 * steps / steps.norm(dim=-1, keepdim=True)
    return torch.cat((torch.zeros(len(angles), 1, 3), steps.cumsum(1)), 1)


class _Beads:
    """A run of beads, as far as the slow coordinates ask for it."""

    has_trajectories = True

    def __init__(self, topology, paths):
        self.topology, self.paths = topology, paths


def test_paths_of_beads_are_shown_in_the_slow_coordinates_of_their_simulation(beads, tmp_path):
    topology, paths = beads
    walk = torch.linspace(0, 40 * torch.pi, 2000)
    frames = bent(0.4 + 0.4 * walk.sin() + 0.02 * torch.randn(2000))
    weights = torch.full((2000,), 1 / 2000)
    density = Density(tmp_path / "md.dcd", (frames,), weights, 2.5, biased=False)
    found = slow_map(_Beads(topology, paths), density)
    steps = np.diff(found.x[0])
    assert (steps > 0).all() or (steps < 0).all(), "the bend is the slow coordinate, and the path bends one way"
    assert found.features == "distances"
    assert np.nanmin(found.background.values) == 0
    edges = found.background.x_edges
    assert edges[0] < min(found.x.min(), found.x.max()) < edges[-1]


def test_a_simulation_that_is_too_short_for_slow_coordinates_is_refused(beads, tmp_path):
    topology, paths = beads
    density = Density(tmp_path / "md.dcd", (bent(torch.linspace(0, 1, 5)),), torch.full((5,), 0.2), 2.5, biased=False)
    with pytest.raises(RecipeError, match="fewer than 20 frames in a row"):
        slow_map(_Beads(topology, paths), density)
