"""Both back-ends, really run."""

import random

import numpy as np
import pytest
import torch

from tpsctl.errors import MissingDependencyError, RecipeError, ValidationError
from tpsctl.molecule.reconstruction import BACKENDS, cgback, reconstructor
from tpsctl.molecule.reconstruction.base import AMINO_ACIDS
from tpsctl.molecule.reconstruction.sequence import standard_residues, unbroken_chains
from tpsctl.molecule.topology import Atom, Topology

HEAVY = {"ASN": 8, "LEU": 8, "TYR": 12, "ILE": 8, "GLN": 9, "TRP": 14, "LYS": 9}


def names_of(beads):
    return [atom.residue_name for atom in beads.atoms]


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_back_end_gives_every_heavy_atom_of_l_amino_acids_at_the_beads(name, helix):
    beads, x = helix
    made = reconstructor(name, seed=1).reconstruct(names_of(beads), x.numpy())
    assert [len(set(atoms) - {"OXT"}) for atoms in made] == [HEAVY[residue] for residue in names_of(beads)]
    for atoms, bead in zip(made, x.numpy(), strict=True):
        assert np.abs(atoms["CA"] - bead).max() < 0.05  # nm; PULCHRA moves C-alphas to usual distances
        arms = np.array([atoms[a] - atoms["CA"] for a in ("N", "C", "CB")])
        assert np.linalg.det(arms) > 0
    for before, after in zip(made[:-1], made[1:], strict=True):
        assert 0.12 < np.linalg.norm(before["C"] - after["N"]) < 0.17  # nm, a peptide bond has 0.133


@pytest.mark.parametrize("name", list(BACKENDS))
def test_the_same_seed_gives_the_same_structure(name, helix):
    beads, x = helix
    maker = reconstructor(name, seed=3)
    first = maker.reconstruct(names_of(beads)[:4], x[:4].numpy())
    maker.reconstruct(names_of(beads), x.numpy())
    second = maker.reconstruct(names_of(beads)[:4], x[:4].numpy())
    assert all((a[n] == b[n]).all() for a, b in zip(first, second, strict=True) for n in a)


def test_cgback_leaves_random_numbers_and_precision_alone():
    before = [random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()]  # noqa: NPY002
    with cgback._own_torch_and_random_numbers():
        assert torch.get_default_dtype() == torch.float32
        for seed in (random.seed, np.random.seed, torch.manual_seed):  # noqa: NPY002
            seed(7)
    assert torch.get_default_dtype() == torch.float64
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_structure_far_from_the_origin_is_the_same(name, helix):
    beads, x = helix
    maker, far = reconstructor(name, seed=3), np.array([500.0, -300.0, 200.0])
    near = maker.reconstruct(names_of(beads)[:4], x[:4].numpy())
    away = maker.reconstruct(names_of(beads)[:4], x[:4].numpy() + far)
    for a, b in zip(near, away, strict=True):
        assert all(np.abs(a[n] + far - b[n]).max() < 0.02 for n in a)  # nm; rounding differs by a unit of 1e-4 nm


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch):
    package = BACKENDS[name].package

    def missing(module):
        raise ImportError(f"No module named {module}")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingDependencyError, match=rf'"{name}" needs package {package}.*tpsctl\[{name}\]'):
        reconstructor(name, seed=0)


def test_an_unknown_back_end_is_refused():
    with pytest.raises(RecipeError, match="expected one of cgback, pulchra"):
        reconstructor("scwrl", seed=0)


def chain(*residues, chain_id="A", bonds=None):
    atoms = tuple(Atom("CA", "C", name, k, chain_id, 12.011) for k, name in enumerate(residues, start=1))
    return Topology(atoms, tuple((k, k + 1) for k in range(len(atoms) - 1)) if bonds is None else bonds)


def test_protonation_states_are_read_as_their_residues():
    assert standard_residues(chain("HIE", "CYX", "gly")) == ["HIS", "CYS", "GLY"]
    assert set(standard_residues(chain(*sorted(AMINO_ACIDS)))) == AMINO_ACIDS


@pytest.mark.parametrize(
    ("beads", "words"),
    [
        (chain("ALA", "MSE", "ALA"), "MSE2.*got residue MSE"),
        (chain("ALA", "GLY"), "2 residues, expected at least 3"),
        (chain("ALA", "GLY", "ALA", "GLY", bonds=((0, 1), (2, 3))), "GLY2.*ALA3.*not bonded"),
    ],
)
def test_beads_that_are_no_chain_of_amino_acids_are_refused(beads, words):
    def read():
        return standard_residues(beads), unbroken_chains(beads)

    with pytest.raises(ValidationError, match=words):
        read()


def test_chains_are_told_apart_by_their_identifiers():
    a, b = chain("ALA", "GLY", "ALA"), chain("ALA", "GLY", "ALA", "SER", chain_id="B")
    both = Topology((*a.atoms, *b.atoms), (*a.bonds, *((i + 3, j + 3) for i, j in b.bonds)))
    assert unbroken_chains(both) == [range(3), range(3, 7)]
