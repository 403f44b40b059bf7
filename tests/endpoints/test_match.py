"""Matching: names, graph, equivalent atoms, chirality; and the alignment of both ends."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpsctl.endpoints import align, load_structure, match
from tpsctl.endpoints.structure import Structure
from tpsctl.errors import EndpointError
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.symmetry import stereo_centers
from tpsctl.molecule.topology import Atom, Topology


@pytest.fixture(scope="module")
def c7eq(root):
    return load_structure(root / "recipes/alanine_dipeptide/c7eq.pdb")


@pytest.fixture(scope="module")
def c7ax(root):
    """Its methyl groups wind against those of c7eq, as in published files."""
    return load_structure(root / "tests/endpoints/data/c7ax_other_winding.pdb")


@pytest.fixture(scope="module")
def peptide_a(root):
    return load_structure(root / "tests/endpoints/data/peptide_a.pdb")


@pytest.fixture(scope="module")
def peptide_b(root):
    return load_structure(root / "tests/endpoints/data/peptide_b.pdb")


def index(structure, residue, name):
    atoms = structure.topology.atoms
    return next(i for i, a in enumerate(atoms) if (a.residue_name, a.name) == (residue, name))


def reordered(structure, order):
    """The same molecule with its atoms in another order."""
    return replace(structure, topology=structure.topology.select(order), x=structure.x[list(order)])


def exchanged(structure, residue, *pairs):
    """The same molecule with the names of pairs of atoms exchanged."""
    order = list(range(structure.topology.n_atoms))
    for one, other in pairs:
        i, j = index(structure, residue, one), index(structure, residue, other)
        order[i], order[j] = order[j], order[i]
    return replace(structure, x=structure.x[order])


def unnamed(structure):
    """The same molecule with other atom names."""
    atoms = tuple(replace(a, name=f"X{i}") for i, a in enumerate(structure.topology.atoms))
    return replace(structure, topology=Topology(atoms, structure.topology.bonds))


def without(structure, indices):
    return reordered(structure, [i for i in range(structure.topology.n_atoms) if i not in indices])


def rotated(x, seed):
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return x @ (q * torch.sign(torch.linalg.det(q))) + 1.5


def labels(pairs):
    return {(a.split(":")[-1], b.split(":")[-1]) for a, b in pairs}


def test_equal_names_need_no_relabeling(c7eq, root):
    end = load_structure(root / "recipes/alanine_dipeptide/c7ax.pdb")
    found = match(c7eq, end)
    assert found.method == "name"
    assert found.order == tuple(range(22))
    assert found.renamed == ()


def test_methyl_winding_is_made_equal(c7eq, c7ax):
    """The published C7ax winds its methyls against C7eq: by index every path would invert them."""
    centers = stereo_centers(c7eq.topology, torch.stack([c7eq.x, c7ax.x]))
    assert not torch.equal(centers.handedness(c7eq.x), centers.handedness(c7ax.x))
    found = match(c7eq, c7ax)
    assert torch.equal(centers.handedness(c7eq.x), centers.handedness(c7ax.x[list(found.order)]))
    moved = {a.split(":")[-1] for a, _ in found.renamed}
    assert {"HB1", "HB2", "HB3"} & moved
    assert all(name.startswith("H") for name in moved)
    assert found.rmsd_nm < found.rmsd_by_label_nm


def test_no_methyl_turns_by_more_than_half_its_symmetry(c7eq, c7ax):
    """Of three equal labelings the one is chosen that turns the methyl by less than 60 degrees."""
    ends = align(c7eq, c7ax)
    names = {a.name: i for i, a in enumerate(c7eq.topology.atoms) if a.residue_name == "ALA"}
    row = torch.tensor([[names[n] for n in ("C", "CA", "CB", "HB1")]])
    turn = dihedral(ends.x[1], row) - dihedral(ends.x[0], row)
    assert abs(math.remainder(float(turn), 2 * math.pi)) < math.pi / 3


def test_phenyl_flip_is_undone(peptide_a):
    """Exchanged names of the two sides of a ring are one relabeling of six atoms."""
    flipped = exchanged(peptide_a, "PHE", ("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2"))
    found = match(peptide_a, flipped)
    assert labels(found.renamed) >= {("CD1", "CD2"), ("CE2", "CE1"), ("HD1", "HD2"), ("HE2", "HE1")}
    assert found.rmsd_nm < 1e-9  # back on itself
    assert found.rmsd_by_label_nm > 0.05


@pytest.mark.parametrize(
    ("residue", "pairs"),
    [
        ("ASP", [("OD1", "OD2")]),
        ("LYS", [("HZ1", "HZ2")]),
        ("LYS", [("HB2", "HB3")]),
        ("VAL", [("CG1", "CG2"), ("HG11", "HG21"), ("HG12", "HG22"), ("HG13", "HG23")]),
    ],
)
def test_exchanged_equivalent_atoms_are_undone(peptide_a, residue, pairs):
    assert match(peptide_a, exchanged(peptide_a, residue, *pairs)).rmsd_nm < 1e-9


def test_real_conformational_change_keeps_every_center(peptide_a, peptide_b):
    found = match(peptide_a, peptide_b)
    centers = stereo_centers(peptide_a.topology, torch.stack([peptide_a.x, peptide_b.x]))
    assert len(centers.atoms) >= 16
    assert torch.equal(centers.handedness(peptide_a.x), centers.handedness(peptide_b.x[list(found.order)]))
    assert sorted(found.order) == list(range(82))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(22)), seed=st.integers(0, 10**6), by_graph=st.booleans())
def test_relabeling_and_rotation_are_undone(c7eq, order, seed, by_graph):
    """Any order and orientation, with or without common names, comes back onto the start."""
    moved = reordered(replace(c7eq, x=rotated(c7eq.x, seed)), order)
    found = match(c7eq, unnamed(moved) if by_graph else moved)
    assert found.method == ("graph" if by_graph else "name")
    assert found.rmsd_nm < 1e-7  # square root of rounding in the superposition
    elements = [moved.topology.atoms[j].element for j in found.order]
    assert elements == [a.element for a in c7eq.topology.atoms]


def test_other_chain_and_residue_numbers_match(c7eq, c7ax):
    atoms = tuple(replace(a, chain_id="", residue_id=a.residue_id + 10) for a in c7ax.topology.atoms)
    renumbered = replace(c7ax, topology=Topology(atoms, c7ax.topology.bonds))
    found = match(c7eq, renumbered)
    assert found.method == "name"
    assert found.order == match(c7eq, c7ax).order


def test_start_order_is_the_result_order(c7eq, c7ax):
    ends = align(c7eq, reordered(c7ax, list(reversed(range(22)))))
    assert ends.topology == c7eq.topology
    assert torch.equal(ends.x[0], c7eq.x)
    direct = align(c7eq, c7ax)
    assert torch.allclose(ends.x[1], direct.x[1], atol=1e-9)


def test_superposition_is_mass_weighted_or_uniform(c7eq, c7ax):
    for mass_weighted in (True, False):
        ends = align(c7eq, c7ax, mass_weighted=mass_weighted)
        weights = torch.tensor(c7eq.topology.masses_amu) if mass_weighted else torch.ones(22)
        share = (weights / weights.sum()).unsqueeze(-1)
        assert torch.allclose((share * (ends.x[1] - ends.x[0])).sum(0), torch.zeros(3), atol=1e-12)
        by_hand = (share[:, 0] * (ends.x[1] - ends.x[0]).square().sum(-1)).sum().sqrt()
        assert float(by_hand) == pytest.approx(ends.rmsd_nm, abs=1e-9)
        assert ends.rmsd_nm == pytest.approx(float(rmsd(ends.x[1], ends.x[0], weights)), abs=1e-9)


def test_different_atoms(c7eq, peptide_a):
    with pytest.raises(
        EndpointError, match=r"differ: 22 vs 82 atoms \(first mismatch: .* has A:.*\). Use the same topology"
    ):
        match(c7eq, peptide_a)


def test_one_extra_heavy_atom_is_named(peptide_a):
    oxygen = index(peptide_a, "ASP", "OD2")
    with pytest.raises(EndpointError, match=r"82 vs 81 atoms \(first mismatch: .*peptide_a.pdb has A:ASP4:OD2\)"):
        match(peptide_a, without(peptide_a, {oxygen}))


def test_missing_hydrogens(c7eq, c7ax):
    bare = without(c7ax, {i for i, a in enumerate(c7ax.topology.atoms) if a.element == "H"})
    message = r"22 vs 10 atoms; .*other_winding.pdb lacks 12 hydrogens of the other end \(first: A:ACE1:H1\). Add them"
    with pytest.raises(EndpointError, match=message):
        match(c7eq, bare)
    with pytest.raises(EndpointError, match=r"10 vs 22 atoms; .*lacks 12 hydrogens"):
        match(bare, c7eq)


def test_swapped_chirality_names_center_and_files(c7eq, c7ax):
    mirrored = replace(c7ax, x=c7ax.x * torch.tensor([1.0, 1.0, -1.0]), source="mirror.pdb")
    message = r"swapped chirality: center A:ALA2:CA is L in .*c7eq.pdb and D in mirror.pdb; no path connects the two"
    with pytest.raises(EndpointError, match=message):
        match(c7eq, mirrored)


def test_swapped_chirality_of_another_molecule():
    """Bromochlorofluoromethane has no residue name to say L or D."""
    elements = ("C", "F", "Cl", "Br", "H")
    atoms = tuple(Atom(e, e, "LIG", 1, "", 1.0) for e in elements)
    topology = Topology(atoms, tuple((0, k) for k in range(1, 5)))
    corners = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.1
    start = Structure(topology, corners, "r.pdb")
    end = Structure(topology, corners * torch.tensor([1.0, 1.0, -1.0]), "s.pdb")
    with pytest.raises(EndpointError, match=r"center LIG1:C has opposite handedness in r.pdb and s.pdb"):
        match(start, end)


def chain_of_carbons(names, x, bonds):
    atoms = tuple(Atom(name, "C", "LIG", 1, "", 12.011) for name in names)
    return Structure(Topology(atoms, bonds), torch.tensor(x), f"{names[0]}.pdb")


def test_ambiguous_map_is_refused():
    """A symmetric chain without common names may be read forwards or backwards."""
    zigzag = [[0.0, 0, 0], [0.12, 0.09, 0], [0.24, 0, 0], [0.36, 0.09, 0]]
    bonds = ((0, 1), (1, 2), (2, 3))
    start, end = chain_of_carbons("ABCD", zigzag, bonds), chain_of_carbons("WXYZ", zigzag, bonds)
    with pytest.raises(EndpointError, match=r"the map by bonds is ambiguous; LIG1:A has two partners that fit equally"):
        match(start, end)
    assert match(start, chain_of_carbons("ABCD", zigzag, bonds)).order == (0, 1, 2, 3)  # names decide


def test_other_names_without_bonds_are_refused():
    x = [[0.0, 0, 0], [0.15, 0, 0]]
    with pytest.raises(EndpointError, match=r"cannot be matched by bonds because 2 atoms of A.pdb have none"):
        match(chain_of_carbons("AB", x, ()), chain_of_carbons("XY", x, ()))


def test_isomers_are_refused():
    """Butane and isobutane carbons: the same elements, other bonds."""
    x = [[0.0, 0, 0], [0.15, 0, 0], [0.3, 0, 0], [0.15, 0.15, 0]]
    start = chain_of_carbons("ABCD", x, ((0, 1), (1, 2), (2, 3)))
    end = chain_of_carbons("WXYZ", x, ((0, 1), (1, 2), (1, 3)))
    with pytest.raises(EndpointError, match=r"the same elements, but neither names nor bonds agree \(3 vs 3 bonds\)"):
        match(start, end)


def test_too_symmetric_molecules_are_refused():
    """Ten unconnected equal diatomics without common names: 10! 2^10 relabelings."""
    names = [f"A{i}" for i in range(20)]
    x = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).tolist()
    bonds = tuple((2 * i, 2 * i + 1) for i in range(10))
    with pytest.raises(EndpointError, match=r"20 equivalent atoms .* can be relabeled in more than 2000 ways"):
        match(chain_of_carbons(names, x, bonds), chain_of_carbons([n.replace("A", "B") for n in names], x, bonds))


def test_equal_ends_are_refused(c7eq):
    with pytest.raises(EndpointError, match=r"are the same structure \(RMSD .* nm, expected at least 0.0001 nm\)"):
        align(c7eq, replace(c7eq, x=rotated(c7eq.x, 3)))


def test_bonds_of_one_file_only_are_told(c7eq, c7ax):
    fewer = replace(c7ax, topology=Topology(c7ax.topology.atoms, c7ax.topology.bonds[1:]))
    note = match(c7eq, fewer).notes[-1]
    assert "1 bonds are known only from" in note


def test_published_alpha_carbons(root):
    """Real chignolin C-alpha ends of the golden data match by name and superpose."""
    import os
    from pathlib import Path

    import numpy as np

    file = Path(os.environ.get("TPSCTL_SHARED", root.parent / "shared")) / "golden/chignolin_diff/golden.npz"
    if not file.exists():
        pytest.skip("golden data not here")
    data = np.load(file)
    atoms = tuple(Atom("CA", "C", "GLY", i + 1, "A", 12.011) for i in range(10))
    topology = Topology(atoms, tuple((i, i + 1) for i in range(9)))
    start, end = (
        Structure(topology, torch.from_numpy(data[f"endpoint{k}_angstrom"][0]) * 0.1, f"end{k}") for k in (1, 2)
    )
    ends = align(start, end, mass_weighted=False)
    # The published superposition rotates without moving the center: compare centered.
    published = torch.from_numpy(data["endpoint2_kabsch_angstrom"][0]) * 0.1
    ours = ends.x[1] - ends.x[1].mean(0)
    assert torch.allclose(ours, published - published.mean(0), atol=1e-6)


# --- labels of equivalent atoms: relabeled or kept


@pytest.fixture(scope="module")
def chairs(root):
    """A cyclohexane chair and the same molecule after a ring flip: axial hydrogens have become equatorial."""
    folder = root / "tests/endpoints/data"
    return [load_structure(folder / f"cyclohexane_chair{name}.pdb") for name in ("", "_flipped")]


def test_a_ring_flip_vanishes_by_relabeling_and_the_message_says_so(chairs):
    with pytest.raises(EndpointError) as caught:
        align(*chairs)
    assert "are the same structure (RMSD" in str(caught.value)
    assert "equivalent atoms are relabeled; with the labels as given they are 0." in str(caught.value)
    assert "set endpoints.equivalent_atoms: keep" in str(caught.value)


def test_a_ring_flip_is_a_path_where_labels_are_kept(chairs):
    ends = align(*chairs, equivalent_atoms="keep")
    assert ends.atom_map.order == tuple(range(18))
    assert ends.atom_map.renamed == ()
    assert ends.rmsd_nm > 0.05
    ring = torch.tensor([[i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)])
    at_start, at_end = dihedral(ends.x[0], ring), dihedral(ends.x[1], ring)
    assert torch.allclose(at_start, -at_end, atol=0.1)  # every torsion of the ring changes its sign


def test_a_methyl_turned_by_120_degrees_is_a_path_where_labels_are_kept(c7eq):
    x = c7eq.x.clone()
    one, two, three = (index(c7eq, "ALA", f"HB{k}") for k in (1, 2, 3))
    x[[one, two, three]] = c7eq.x[[two, three, one]]
    turned = replace(c7eq, x=x, source="turned.pdb")
    with pytest.raises(EndpointError, match=r"once 3 equivalent atoms are relabeled"):
        align(c7eq, turned)
    ends = align(c7eq, turned, equivalent_atoms="keep")
    assert ends.rmsd_nm > 0.01


def test_a_ring_of_tyrosine_may_flip_where_labels_are_kept(peptide_a):
    pairs = [("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2")]
    flipped = replace(exchanged(peptide_a, "PHE", *pairs), source="flipped.pdb")
    with pytest.raises(EndpointError, match="once 8 equivalent atoms are relabeled"):
        align(peptide_a, flipped)
    assert align(peptide_a, flipped, equivalent_atoms="keep").rmsd_nm > 0.01


def test_kept_labels_must_not_invert_a_methyl(c7eq, c7ax):
    """Opposite windings: no path joins them, and nobody may exchange the labels."""
    with pytest.raises(
        EndpointError, match=r"equivalent_atoms: keep: with the labels as given, center .* has opposite"
    ):
        match(c7eq, c7ax, equivalent_atoms="keep")


def test_what_was_relabeled_is_told(c7eq, c7ax):
    (note,) = [note for note in align(c7eq, c7ax).notes if "relabeled" in note]
    assert "equivalent atoms were relabeled (A:" in note
    assert "endpoints.equivalent_atoms: keep leaves the labels as they are" in note
    assert not [note for note in align(c7eq, replace(c7eq, x=c7eq.x * 1.001)).notes if "relabeled" in note]


def test_other_names_in_the_same_residues_are_matched_within_them(peptide_a, peptide_b):
    found = match(peptide_a, unnamed(peptide_b))
    assert found.method == "order"
    residues = [a.residue_id for a in peptide_a.topology.atoms]
    assert [residues[j] for j in found.order] == residues
