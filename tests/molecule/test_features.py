"""Features of a committor: named, smooth, periodic, and the same wherever the molecule is."""

import math

import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.molecule.contacts import find_contacts
from tpsctl.molecule.features import ContactFeatures, InternalFeatures, PointFeatures
from tpsctl.molecule.geometry import dihedral


@pytest.fixture(scope="module")
def alanine(root):
    return load_structure(root / "recipes" / "alanine_dipeptide" / "c7eq.pdb")


@pytest.fixture(scope="module")
def features(alanine):
    return InternalFeatures(alanine.topology, ("phi ALA2", "psi ALA2"))


def test_every_feature_has_a_name_that_says_what_it_is(alanine, features):
    x = alanine.x.double().unsqueeze(0)
    values = dict(zip(features.variables, features.variables_of(x)[0].tolist(), strict=True))
    found = dict(zip(features.names, features(x)[0].tolist(), strict=True))
    assert len(found) == features.count == len(set(features.names)), "no name and no feature comes twice"
    phi, psi, omega = (values[f"{name} ALA2"] for name in ("phi", "psi", "omega"))
    assert found["cos [phi ALA2]"] == pytest.approx(math.cos(phi))
    assert found["sin 2[psi ALA2]"] == pytest.approx(math.sin(2 * psi))
    assert found["cos [phi ALA2] sin 2[psi ALA2]"] == pytest.approx(math.cos(phi) * math.sin(2 * psi))
    mixed = found["sin [omega ALA2] cos [phi ALA2] sin [psi ALA2]"]
    assert mixed == pytest.approx(math.sin(omega) * math.cos(phi) * math.sin(psi))


def test_variables_are_torsions_impropers_and_angles_of_heavy_atoms(alanine, features):
    kinds = [name.split()[0] for name in features.variables]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        **{"phi": 1, "psi": 1, "omega": 2},
        **{
            "improper": 4,
            "angle": 11,
        },  # both carbonyl carbons and both nitrogens; 3 + 1 + 3 + 3 + 1 around heavy atoms
    }
    x = alanine.x.double().unsqueeze(0)
    assert features.variables_of(x)[0, 0].item() == pytest.approx(
        dihedral(x, torch.tensor([alanine.topology.backbone_dihedrals[1][1]])).item()
    )


def test_features_do_not_change_when_the_molecule_moves(alanine, features, generator):
    x = alanine.x.double().unsqueeze(0)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    moved = x @ (q * torch.linalg.det(q).sign()) + 1.7
    torch.testing.assert_close(features(moved), features(x), atol=1e-9, rtol=0)


def test_features_are_differentiable(alanine, features, generator):
    x = alanine.x.double().unsqueeze(0) + 0.01 * torch.randn(1, 22, 3, generator=generator)
    w = torch.randn(features.count, generator=generator)
    assert torch.autograd.gradcheck(lambda y: features(y) @ w, x.requires_grad_(True), eps=1e-6, atol=1e-4)


def test_the_spread_of_an_angle_does_not_know_where_the_circle_is_cut(features):
    away = torch.tensor([-0.2, 0.2]).unsqueeze(1)
    for middle in (0.0, math.pi):
        found = features.spread(middle + away.expand(2, len(features.variables)))
        torch.testing.assert_close(found, torch.full_like(found, 0.2))


def test_features_of_a_point_are_coordinates_and_their_products():
    features = PointFeatures(2)
    found = features(torch.tensor([[[2.0, 3.0]]]))
    assert found.tolist() == [[2, 3, 4, 6, 9]]
    assert features.names[3] == "coordinate 1 coordinate 2"
    assert features.count == 5


def test_contacts_of_a_chain_of_beads_are_those_of_its_ends(root):
    folder = root / "recipes" / "trp_cage"
    native = load_structure(folder / "native.pdb")
    stretched = 1.5 * native.x.double()  # no contact of its own
    features = ContactFeatures(native.topology, torch.stack([stretched, native.x.double()]))
    contacts = find_contacts(native.topology, native.x.double(), cutoff_nm=0.8, separation=4)
    assert features.contacts == contacts
    assert features.count == len(contacts.pairs) == len(set(features.names))
    assert features.names[0] == "contact A:ASN1:CA-A:GLN5:CA"
    x = torch.stack([stretched, native.x.double()])
    assert torch.equal(features(x), contacts.formed(x))
    # a pair that is close in both ends counts once, at its least distance: 1.02 of each native one is still below 0.8
    both = ContactFeatures(native.topology, torch.stack([1.02 * native.x.double(), native.x.double()]))
    assert both.contacts == contacts
