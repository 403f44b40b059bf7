import pytest
import torch

from tpsctl.endpoints import align, load_structure


@pytest.fixture(scope="session")
def alanine_ends(root):
    folder = root / "recipes/alanine_dipeptide"
    return align(load_structure(folder / "c7eq.pdb"), load_structure(folder / "c7ax.pdb"))


@pytest.fixture(scope="session")
def peptide_ends(root):
    folder = root / "tests/endpoints/data"
    return align(load_structure(folder / "peptide_a.pdb"), load_structure(folder / "peptide_b.pdb"))


@pytest.fixture
def generators():
    """Independent generators, one per path."""
    return lambda count, seed=0: [torch.Generator().manual_seed(1000 * seed + k) for k in range(count)]


@pytest.fixture
def closest_approach():
    """Least distance of atoms more than two bonds apart on each path, nm."""

    def closest(paths, topology):
        distance = torch.cdist(paths, paths)
        near = torch.eye(topology.n_atoms, dtype=torch.bool)
        for i, j in (*topology.bonds, *((i, k) for i, _, k in topology.angles)):
            near[i, j] = near[j, i] = True
        return distance.masked_fill(near, torch.inf).flatten(1).amin(1)

    return closest
